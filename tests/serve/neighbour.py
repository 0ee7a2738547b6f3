"""What a hostile tenant costs the other one, measured on the real vLLM: `python -m tests.serve.neighbour`.

The other tenant has mails of about 250 tokens summed up, one every `every` seconds on the average, whether those before
are answered or not. First alone, then beside a tenant with a key of default limits that at the same time keeps 8 of the
longest answers running on 8 versions, asks for 16 answers at once, hangs up, sends prompts as long as the context and
bodies of 4 MB, sends bodies a byte at a time, and sends 2,000 bad requests; then alone again. Told are the first
tokens, the ratio of their p99 (aim: at most 1.5), requests of the other tenant that failed (aim: none), and the tokens
that vLLM wrote against those that were booked (aim: all).

    python -m tests.serve.neighbour base=smollm2-135m requests=120 every=1.5        # ten minutes, two quiet cores
    python -m tests.serve.neighbour base=tests/tiny_base/tiny requests=200 every=0.3
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import numpy as np

from bench.measure import own_home
from factory.base.build import Base, prepare
from factory.home import home
from serve import auth
from serve.process import context_length
from serve.server import Options, running
from tests.fakes.adapters import register
from tests.serve.hostile import CHAT, bad

WORDS = (
    "the meeting moves to friday at noon because anna is away and the room on floor four is taken please send".split()
)
AIM = 1.5
FAILED: list[str] = []


def mail(dice: random.Random, words: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": " ".join(dice.choices(WORDS, k=words))}]


async def ask(session: aiohttp.ClientSession, body: dict[str, Any]) -> float:
    """Seconds to the first token of a streamed answer that came whole; what failed is noted in `FAILED`."""
    began, first, last = time.perf_counter(), 0.0, b""
    async with session.post(CHAT, json={**body, "stream": True}) as reply:
        async for line in reply.content:
            if line.startswith(b"data: {") and not first:
                first = time.perf_counter() - began
            last = line if line.strip() else last
    if reply.status != 200 or not last.startswith(b"data: [DONE]"):
        FAILED.append(f"{reply.status} {last[:200]!r}")
    return first


async def other_tenant(session: aiohttp.ClientSession, requests: int, every: float, seed: int) -> list[float]:
    """First tokens of `requests` mails, asked at random times."""
    dice, asked = random.Random(seed), []
    for _ in range(requests):
        body = {"model": "mail", "messages": mail(dice, 230), "max_tokens": 24, "temperature": 0, "ignore_eos": True}
        asked.append(asyncio.create_task(ask(session, body)))
        await asyncio.sleep(dice.expovariate(1 / every))
    return list(await asyncio.gather(*asked))


def attacks(session: aiohttp.ClientSession, base: Base, host: str, port: int) -> list[Coroutine[Any, Any, None]]:
    """What the hostile tenant does, each for ever."""
    dice, room = random.Random(0), context_length(base)

    async def again(what: Callable[[], Coroutine[Any, Any, Any]], pause: float = 0.0) -> None:
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                await what()
            await asyncio.sleep(pause + 0.01)

    async def post(limit: float = 600, **body: Any) -> None:
        body = {"model": "greedy@v1", "messages": mail(dice, 20), "ignore_eos": True, "stream": True} | body
        timeout = aiohttp.ClientTimeout(total=limit)
        async with session.post(CHAT, json=body, timeout=timeout) as reply:
            async for _ in reply.content.iter_any():
                pass
            if reply.status == 429:
                await asyncio.sleep(0.5)

    async def slow_body() -> None:
        _, writer = await asyncio.open_connection(host, port)
        key = session.headers["authorization"].encode()
        head = b"POST %s HTTP/1.1\r\nhost: x\r\nauthorization: %s\r\ncontent-length: 4000000\r\n\r\n"
        writer.write(head % (CHAT.encode(), key))
        for _ in range(60):
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(1)
        writer.close()

    async def huge_body() -> None:
        async with session.post(CHAT, data=b'{"model": "greedy", "messages": "' + b"x" * (5 * 2**20)) as reply:
            await reply.read()

    async def wrong(count: int) -> None:
        limit = aiohttp.ClientTimeout(total=2)  # some are sound and would wait for the tenant's own long answers
        for number in range(count):
            body = bad(dice, number, ["greedy", "greedy@v2", "mail"])
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.post(CHAT, data=body, timeout=limit) as reply:
                    await reply.read()

    long = [again(lambda n=n: post(model=f"greedy@v{n}", max_tokens=room - 100)) for n in range(1, 9)]  # type: ignore[misc]
    return [
        *long,
        again(lambda: post(n=16, temperature=1, max_tokens=room - 100, model="greedy@v3")),
        *(again(lambda n=n: post(limit=0.7, max_tokens=500, model=f"greedy@v{n}"), 0.2) for n in range(1, 4)),  # type: ignore[misc]
        *(again(lambda: post(messages=mail(dice, room - 200), max_tokens=8), 0.5) for _ in range(2)),
        again(lambda: post(messages=mail(dice, 900_000), max_tokens=8), 1),
        again(huge_body, 1),
        *(again(slow_body) for _ in range(20)),
        *(wrong(250) for _ in range(8)),
    ]


async def measure(url: str, base: Base, keys: dict[str, str], requests: int, every: float) -> dict[str, Any]:
    async with contextlib.AsyncExitStack() as stack:

        async def session(key: str) -> aiohttp.ClientSession:
            headers = {"authorization": f"Bearer {keys[key]}"}
            connector = aiohttp.TCPConnector(limit=0)
            return await stack.enter_async_context(aiohttp.ClientSession(url, headers=headers, connector=connector))

        mine, theirs, ops = await session("mail"), await session("greedy"), await session("ops")

        async def written() -> float:
            async with ops.get("/metrics") as reply:
                lines = (await reply.text()).splitlines()
            return sum(float(n.rpartition(" ")[2]) for n in lines if n.startswith("vllm:generation_tokens_total{"))

        for version in range(1, 9):  # loaded and warm from here on
            await ask(theirs, {"model": f"greedy@v{version}", "messages": mail(random.Random(), 20), "max_tokens": 2})
        await other_tenant(mine, max(5, requests // 20), every, 0)
        before, paid = await written(), booked()
        alone = await other_tenant(mine, requests, every, 1)
        host, _, port = url.removeprefix("http://").partition(":")
        attackers = [asyncio.create_task(each) for each in attacks(theirs, base, host, int(port))]
        await asyncio.sleep(5)
        beside = await other_tenant(mine, requests, every, 2)
        for attacker in attackers:
            attacker.cancel()
        ended = await asyncio.gather(*attackers, return_exceptions=True)
        if faults := [e for e in ended if isinstance(e, Exception)]:
            raise faults[0]
        await asyncio.sleep(3)
        alone += await other_tenant(mine, requests, every, 3)
        wrote, paid = await written() - before, booked() - paid
    one, two = (np.percentile(times, [50, 99]) for times in (alone, beside))
    return {
        "alone_ms": {"p50": round(1000 * one[0]), "p99": round(1000 * one[1])},
        "beside_ms": {"p50": round(1000 * two[0]), "p99": round(1000 * two[1])},
        "ratio_p99": round(two[1] / one[1], 2),
        "aim": AIM,
        "failed": len(FAILED),
        "fault": FAILED[:3],
        "written": int(wrote),
        "booked": paid,
    }


def booked() -> int:
    """Tokens of answers that the server has booked until now."""
    (log,) = home("runs", "x").parent.glob("serve-*/access.jsonl")
    return sum(json.loads(line)["completion"] for line in log.read_text().splitlines())


def main(base: str = "smollm2-135m", requests: int = 120, every: float = 1.5) -> dict[str, Any]:
    found = prepare(base)
    with own_home(found):
        for seed in range(8):
            register(found, "greedy", seed)
        register(found, "mail", 8, prompt="Sum the mail up in one sentence. Keep names, days and amounts.")
        keys = {
            "greedy": auth.new_key("greedy", tasks=["greedy", "greedy@*"]),
            "mail": auth.new_key("mail", tasks=["mail"], tpm=None),
            "ops": auth.new_key("ops", tasks=[], admin=["read"]),
        }
        with running(Options(port=0), lambda line: None) as url:
            result = asyncio.run(measure(url, found, keys, requests, every))
    return {"base": base, "requests": requests, "every": every} | result


if __name__ == "__main__":
    given = dict(word.split("=", 1) for word in sys.argv[1:])
    told = main(given.get("base", "smollm2-135m"), int(given.get("requests", 120)), float(given.get("every", 1.5)))
    print(json.dumps(told, indent=1))
