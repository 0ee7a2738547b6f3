"""Many streaming requests at once, each checked to the last event."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp


@dataclass
class Answer:
    """What one request came to. `version` is the X-Adapter-Version."""

    model: str
    status: int
    version: str = ""
    text: str = ""
    tokens: tuple[int, ...] = ()
    whole: bool = False
    started: float = 0.0
    headers: float = 0.0

    def may_be(self, swaps: list[tuple[float, str]], first: str) -> set[str]:
        """The versions it may come from: live when it was asked, or made live before its headers came.

        `swaps` are the times at which a change was known to be done; it took effect somewhat before.
        """
        before = [name for at, name in swaps if at <= self.started] or [first]
        during = [name for at, name in swaps if self.started < at <= self.headers]
        return {before[-1], *during, *[name for at, name in swaps if at > self.headers][:1]}


async def stream(session: aiohttp.ClientSession, url: str, model: str, prompt: str, tokens: int = 24) -> Answer:
    """One streamed chat answer, greedy."""
    request = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
        "return_token_ids": True,
    }
    started = asyncio.get_running_loop().time()
    try:
        async with session.post(f"{url}/v1/chat/completions", json=request) as reply:
            answer = Answer(model, reply.status, reply.headers.get("x-adapter-version", ""), started=started)
            answer.headers = asyncio.get_running_loop().time()
            async for line in reply.content:
                data = line.removeprefix(b"data: ").strip()
                if data == b"[DONE]":
                    answer.whole = True
                elif data.startswith(b"{"):
                    chunk = json.loads(data)
                    if "error" in chunk:
                        answer.status = 503
                        break
                    assert chunk["model"] == model
                    answer.tokens += tuple(t for choice in chunk["choices"] for t in choice.get("token_ids") or ())
                    answer.text += "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
            return answer
    except (aiohttp.ClientError, OSError):
        return Answer(model, 0, started=started)


async def through_a_kill(url: str, models: tuple[str, ...], pid: int, clients: int) -> list[Answer]:
    """Each client asks until it was sent away once and answered again; `pid` is killed as soon as all have begun."""
    answers: list[Answer] = []
    limit = time.monotonic() + 500
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one(number: int) -> None:
            away = False
            while time.monotonic() < limit:
                answers.append(await stream(session, url, models[number % len(models)], "Hello", 24))
                away = away or answers[-1].status != 200
                if away and answers[-1].status == 200:
                    return
                await asyncio.sleep(0.05)
            raise AssertionError(f"client {number}: {answers[-1]}")

        work = [asyncio.create_task(one(number)) for number in range(clients)]
        while len(answers) < clients and time.monotonic() < limit:
            await asyncio.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
        await asyncio.gather(*work)
    return answers


def children(pid: int) -> list[int]:
    """The processes that `pid` started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def until(condition: Callable[[], object], seconds: float = 120) -> bool:
    """Whether the condition comes true within a time that only a server at fault needs."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
