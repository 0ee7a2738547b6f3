"""One question to an OpenAI-compatible endpoint, whatever goes wrong: the client of judges and of synthetic data.

What the endpoint's state explains is tried again with growing pauses: too many requests, server errors, dropped
connections, up to RETRIES times; a stall until the time limit twice at most. `Unanswered` is raised when nothing came,
`Refused` for what no retry mends (a wrong key, an unknown model).
"""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from factory import stopping

RETRIES = 6
STALLS = 2
FIRST_PAUSE = 0.25  # seconds, doubled each time, with jitter
LONGEST_PAUSE = 15.0

Messages = list[dict[str, str]]
Result = TypeVar("Result")
Item = TypeVar("Item")


class Unanswered(Exception):
    """No reply came; the message says why."""


class Refused(Exception):
    """The endpoint answered with an error that asking again would not mend; the message is what it said."""

    def __init__(self, status: int, said: str) -> None:
        self.status = status
        super().__init__(said)


@dataclass(frozen=True)
class Reply:
    """What was answered, and perhaps billed. `fault` says why `text` cannot be a whole answer, where it cannot."""

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    fault: str = ""


class Chat:
    """`async with Chat(url, key, timeout) as chat`, then `await chat(body)`; all times in seconds.

    `misses` counts the questions in a row that nothing came for, `retried` the tries beyond the first of each.
    """

    def __init__(self, url: str, key: str, timeout: float, pause: float | None = None) -> None:
        self.url, self.timeout = url.rstrip("/"), timeout
        self.pause = FIRST_PAUSE if pause is None else pause
        self.misses = self.retried = 0
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=aiohttp.ClientTimeout(total=timeout),
            proxy=_proxy(url),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    async def __call__(self, body: dict[str, Any]) -> Reply:
        """The reply to a request of the chat completions API. Errors: Unanswered, Refused."""
        why, stalls, pause = "", 0, self.pause
        for tried in range(RETRIES + 1):
            if tried:
                self.retried += 1
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, LONGEST_PAUSE)
            started = time.monotonic()
            try:
                async with self.session.post(
                    f"{self.url}/chat/completions", json=body, allow_redirects=False
                ) as response:
                    status, text = response.status, (await response.read()).decode(errors="replace")
            except TimeoutError:
                why, stalls = f"no answer within {self.timeout:g} s", stalls + 1
                if stalls >= STALLS:
                    break
                continue
            except aiohttp.ClientError:
                why = "the endpoint cannot be reached"
                continue
            if status in (408, 409, 425, 429) or status >= 500:
                why = f"status {status}"
                pause = max(pause, _retry_after(response.headers.get("retry-after", "")))
                continue
            self.misses = 0
            if status != 200:
                raise Refused(status, _error(text))
            return _read(text, time.monotonic() - started)
        self.misses += 1
        raise Unanswered(why)


def run_alone(work: Coroutine[Any, Any, Result], gently: Callable[[], None] | None = None) -> Result:
    """Run a coroutine to its end, whether or not this thread is inside an event loop. `gently`: see `stopping.run`."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return stopping.run(work, gently=gently)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


async def each(items: Iterable[Item], many: int, do: Callable[[Item], Awaitable[None]]) -> None:
    """`do` something with every item, with so many at once. One error ends all, and is raised as it was."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await do(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(many):
                group.create_task(worker())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


def _read(text: str, seconds: float) -> Reply:
    try:
        data = json.loads(text)
        choice, usage = data["choices"][0], data.get("usage") or {}
        message = choice["message"]
        said = str(message["content"] or "").encode(errors="replace").decode()
        tokens = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
        refusal = message.get("refusal")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        return Reply("", seconds=seconds, fault=f"the reply cannot be read ({type(error).__name__})")
    fault = f"refused: {str(refusal)[:100]}" if refusal else ""
    if not fault and choice.get("finish_reason") == "length":
        fault = "the answer was cut off"
    return Reply(said, *tokens, seconds, fault or ("" if said else "the answer is empty"))


def _error(text: str) -> str:
    """What an error of the API says, or the bare text of another one."""
    with suppress(ValueError, KeyError, TypeError):
        text = json.loads(text)["error"]["message"]
    return " ".join(str(text).split())[:200]


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
