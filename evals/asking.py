"""Getting a reply to one question, from an OpenAI-compatible endpoint or from a function, whatever goes wrong.

What the endpoint's state explains is tried again with growing pauses: too many requests, server errors, dropped
connections, up to RETRIES times; a stall until the time limit twice at most. What no retry mends (a wrong key, an
unknown model) ends the run with one line. `Silent` is raised when nothing came: the caller abstains.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from evals.judges import Judge
from evals.prompt import Messages
from factory.errors import FactoryError

RETRIES = 6
STALLS = 2
FIRST_PAUSE = 0.25  # seconds, doubled each time, with jitter
LONGEST_PAUSE = 15.0
GIVE_UP_AFTER = 30  # calls in a row without any reply: the endpoint is down


class Silent(Exception):
    """No reply came; the message says why."""


@dataclass(frozen=True)
class Reply:
    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


Generate = Callable[[Sequence[Messages]], Sequence[str]]


class Endpoint:
    """An OpenAI-compatible chat endpoint. Calls beyond the first attempt at a question are asked less greedily."""

    def __init__(self, judge: Judge, name: str) -> None:
        self.judge, self.name = judge, name
        key = judge.key()
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=aiohttp.ClientTimeout(total=judge.timeout),
            proxy=_proxy(judge.url),
        )
        self.failed_in_a_row = 0

    async def close(self) -> None:
        await self.session.close()

    async def __call__(self, messages: Messages, schema: dict[str, Any] | None, attempt: int) -> Reply:
        body: dict[str, Any] = {
            "model": self.judge.asked,
            "messages": messages,
            "max_tokens": self.judge.max_tokens,
            "temperature": 0.5 if attempt else 0,
            "seed": attempt,
        }
        if schema:
            body["response_format"] = schema
        why, stalls, pause = "", 0, FIRST_PAUSE
        for tried in range(RETRIES + 1):
            if self.failed_in_a_row >= GIVE_UP_AFTER:
                raise Silent("the endpoint has not replied for a long time")
            if tried:
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, LONGEST_PAUSE)
            started = time.monotonic()
            try:
                async with self.session.post(
                    f"{self.judge.url}/chat/completions", json=body, allow_redirects=False
                ) as response:
                    status, text = response.status, (await response.read()).decode(errors="replace")
            except TimeoutError:
                why, stalls = f"no reply within {self.judge.timeout:g} s", stalls + 1
                if stalls >= STALLS:
                    break
                continue
            except aiohttp.ClientError as error:
                why = f"{type(error).__name__}: {error}"
                continue
            if status in (408, 409, 425, 429) or status >= 500:
                why = f"HTTP {status}"
                pause = max(pause, _retry_after(response.headers.get("retry-after", "")))
                continue
            self.failed_in_a_row = 0
            return self._read(status, text, time.monotonic() - started)
        self.failed_in_a_row += 1
        raise Silent(why)

    def _read(self, status: int, text: str, seconds: float) -> Reply:
        if status in (401, 403, 404):
            raise FactoryError(
                f"judge {self.name} at {self.judge.url} refuses: HTTP {status} {' '.join(text.split())[:200]}"
            )
        if status != 200:
            raise Silent(f"HTTP {status} {' '.join(text.split())[:120]}")
        try:
            data = json.loads(text)
            said = data["choices"][0]["message"]["content"] or ""
            usage = data.get("usage") or {}
            tokens = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
            return Reply(str(said).encode(errors="replace").decode(), *tokens, seconds)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            return Reply("", seconds=seconds)  # it was answered and may be billed, but says nothing


class Local:
    """A function that answers many questions at once, such as generation in this process: calls form batches."""

    def __init__(self, generate: Generate, size: int = 64) -> None:
        self.generate, self.size = generate, size
        self.waiting: list[tuple[Messages, asyncio.Future[Reply]]] = []
        self.busy = False

    async def close(self) -> None:
        """Nothing is held open."""

    async def __call__(self, messages: Messages, schema: dict[str, Any] | None, attempt: int) -> Reply:
        if attempt:
            raise Silent("asked again it would say the same")
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.waiting.append((messages, future))
        if not self.busy:
            self.busy = True
            asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(self._work()))
        return await future

    async def _work(self) -> None:
        while self.waiting:
            batch, self.waiting = self.waiting[: self.size], self.waiting[self.size :]
            started = time.monotonic()
            try:
                texts = await asyncio.to_thread(self.generate, [messages for messages, _ in batch])
            except Exception as error:
                for _, future in batch:
                    future.set_exception(error)
                continue
            each = (time.monotonic() - started) / len(batch)
            for (_, future), text in zip(batch, texts, strict=True):
                future.set_result(Reply(text, seconds=each))
        self.busy = False


def _proxy(url: str) -> str | None:
    """The environment's proxy for this endpoint, looked up once: aiohttp's `trust_env` asks a thread at every call."""
    address = urlsplit(url)
    if proxy_bypass(address.hostname or ""):
        return None
    return getproxies().get(address.scheme)


def _retry_after(header: str) -> float:
    try:
        return min(float(header or 0), LONGEST_PAUSE)
    except ValueError:
        return 0.0
