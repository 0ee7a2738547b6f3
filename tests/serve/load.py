"""Many streaming requests at once, each checked to the last event."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

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
