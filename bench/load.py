"""The load of the serving benchmark: streamed chat answers of TOKENS tokens each, and what is noted of them."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp

from bench.measure import ratio

CLIENTS, TOKENS = 16, 32


@dataclass
class Run:
    """One measurement. Times in seconds."""

    per_second: float  # tokens
    first: list[float]
    whole: list[float]
    failed: int


@dataclass(frozen=True)
class Place:
    """Where to ask: a URL, over TCP or over a unix socket with a key."""

    url: str
    socket: str = ""
    key: str = ""

    def session(self) -> aiohttp.ClientSession:
        connector = aiohttp.UnixConnector(self.socket, limit=0) if self.socket else aiohttp.TCPConnector(limit=0)
        return aiohttp.ClientSession(self.url, connector=connector, headers={"authorization": f"Bearer {self.key}"})


async def load(place: Place, model: Callable[[int], str], requests: int, clients: int = CLIENTS) -> Run:
    """`requests` streamed answers, `clients` at a time; `model` names the one to ask for each number."""
    first: list[float] = []
    whole: list[float] = []
    failed, numbers = 0, iter(range(requests))

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal failed
        for number in numbers:
            body = {
                "model": model(number),
                "messages": [  # with a system message the gateway adds none, so the engine gets the same either way
                    {"role": "system", "content": "Answer briefly."},
                    {"role": "user", "content": f"Message {number}: the meeting moves to Friday at noon."},
                ],
                "max_tokens": TOKENS,
                "temperature": 0,
                "ignore_eos": True,
                "stream": True,
            }
            began = time.perf_counter()
            seen, text = 0.0, b""
            async with session.post("/v1/chat/completions", json=body) as reply:
                async for chunk in reply.content.iter_any():
                    seen = seen or time.perf_counter() - began
                    text = chunk
            failed += reply.status != 200 or not text.rstrip().endswith(b"[DONE]")
            first.append(seen)
            whole.append(time.perf_counter() - began)

    async with place.session() as session:
        began = time.perf_counter()
        await asyncio.gather(*(client(session) for _ in range(clients)))
        return Run(requests * TOKENS / (time.perf_counter() - began), first, whole, failed)


def throughput(pairs: list[tuple[Run, Run]]) -> float:
    """The second's tokens a second as a share of the first's."""
    return ratio(((reference.per_second, ours.per_second) for reference, ours in pairs), 4)
