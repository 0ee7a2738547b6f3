"""All adapter slots of the real vLLM in use: each answer is its own version's, and what callers leave is booked."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import httpx
import pytest

from bench.serving import engine
from factory.probe import apart
from serve import remote
from serve.process import Size
from tests.conftest import Server
from tests.fakes.adapters import promote, register
from tests.serve.hostile import CHAT
from tests.serve.load import until

pytestmark = pytest.mark.slow
USER: list[Any] = [{"role": "user", "content": "Hello Ana, the parcel will arrive on Friday."}]
SURE = 0.1  # nats between the two best tokens from which on the order of sums does not decide
LENGTH = 240


async def greedy(session: aiohttp.ClientSession, model: str) -> list[str]:
    """The tokens of a streamed answer until the first that was nearly another one."""
    body = {"model": model, "messages": USER, "max_tokens": LENGTH, "temperature": 0, "ignore_eos": True}
    found: list[str] = []
    async with session.post(CHAT, json={**body, "stream": True, "logprobs": True, "top_logprobs": 2}) as reply:
        assert reply.status == 200, await reply.text()
        async for line in reply.content:
            if line.startswith(b"data: {"):
                for choice in json.loads(line[6:])["choices"]:
                    for token in (choice.get("logprobs") or {"content": []})["content"]:
                        best, second = token["top_logprobs"]
                        found.append(token["token"] if best["logprob"] - second["logprob"] > SURE else "")
    assert len(found) == LENGTH
    return found[: found.index("")] if "" in found else found


async def score(session: aiohttp.ClientSession, model: str) -> list[list[float]]:
    """The log-probabilities of a prompt's tokens, asked of vLLM itself."""
    body = {"model": model, "messages": USER, "max_tokens": 1, "prompt_logprobs": 0}
    async with session.post(CHAT, json=body) as reply:
        return [[float(next(iter(t.values()))["logprob"]) for t in (await reply.json())["prompt_logprobs"][1:]]]


def test_with_all_slots_full_and_loads_in_between_each_stream_is_its_own_versions(server: Server) -> None:
    """And the base's is the base's: vLLM's own code for CPUs gave it the adapter in the last slot (vllm#48421)."""
    tasks = [f"full{number}" for number in range(Size.slots)]
    versions = [register(server.base, task, 300 + seed, scale=0.03) for seed, task in enumerate(tasks)]
    for seed in range(3):
        register(server.base, "between", 400 + seed)
    models, inner = [*tasks, server.base.label], [*(v.name for v in versions), server.base.label]
    for model in (*models, "between@v3"):
        assert until(lambda model=model: httpx.get(f"{server.url}/v1/models/{model}").status_code == 200)

    async def main() -> None:
        async with (
            aiohttp.ClientSession(server.url, connector=aiohttp.TCPConnector(limit=0)) as session,
            engine().session() as direct,
        ):
            await asyncio.gather(*(greedy(session, model) for model in models))  # loaded, and the prompt is cached
            alone = [await greedy(session, model) for model in models]
            scores = [await score(direct, model) for model in inner]
            print(f"sure of {[len(answer) for answer in alone]} tokens")
            assert sum(map(len, alone)) > 2 * len(models), "they are unsure: nothing was compared"
            assert all(apart(one, scores[-1]) > 0.1 for one in scores[:-1]), "they do the same as the base"
            for version in ("between@v2", "between@v3"):
                streams = [asyncio.create_task(greedy(session, model)) for model in models]
                await asyncio.sleep(0.5)
                load = asyncio.create_task(asyncio.to_thread(promote, version))  # its probe waits for a slot
                beside = await asyncio.gather(*(score(direct, model) for model in inner))
                assert not any(stream.done() for stream in streams), "it was no longer full"
                for model, known, answer in zip(models, alone, await asyncio.gather(*streams), strict=True):
                    assert answer[: len(known)] == known[: len(answer)], model
                assert (await load or {})["prod"] == version
                off = [apart(one, other) for one, other in zip(scores, beside, strict=True)]
                assert max(off) < 0.05, off

    asyncio.run(main())


def test_a_caller_that_hangs_up_ends_the_generation_and_every_token_is_booked(server: Server) -> None:
    """Told by the tokens that vLLM made, of a stream, of a whole answer and of three at once."""
    (log,) = (server.home / "runs").glob("serve-*/access.jsonl")

    def made() -> float:
        lines = httpx.get(f"{server.url}/metrics", timeout=60).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("vllm:generation_tokens_total{"))

    def booked() -> list[dict[str, Any]]:
        return [line for line in map(json.loads, log.read_text().splitlines()) if line["status"] == 499]

    async def hang_up(**more: Any) -> None:
        body = {"model": "summary", "messages": USER, "max_tokens": 400, "ignore_eos": True} | more
        async with aiohttp.ClientSession(server.url) as session:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.7), session.post(CHAT, json=body) as reply:
                    await reply.read()

    for more in ({"stream": True}, {}, {"n": 3, "temperature": 1}, {"n": 3, "temperature": 1, "stream": True}):
        before, known = made(), len(booked())
        asyncio.run(hang_up(**more))
        assert until(lambda known=known: len(booked()) == known + 1, 20)
        wrote = made() - before
        assert 5 < wrote < 1000 and booked()[-1]["completion"] == wrote and booked()[-1]["prompt"] > 10, more
    assert until(lambda: (remote.state() or {})["leases"] == 0, 10)
