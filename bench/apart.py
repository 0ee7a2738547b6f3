"""The naive way, measured: one vLLM server per adapter, against one server of ours for the same adapters.

SERVERS of them are started, which is as many as a small machine holds; what one more adapter costs in memory shows with
two. Throughput is compared under the same load, half of it for each server.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Sequence
from typing import Any

from bench.load import CLIENTS, Place, Run, load, throughput
from bench.measure import in_turn, memory
from factory.base.build import Base
from factory.home import home
from factory.registry.store import Version
from serve import remote
from serve.engine import Engine
from serve.process import Process, Size

SERVERS, REQUESTS, ROUNDS = 2, 48, 3


async def run(ours: Place, base: Base, versions: Sequence[Version]) -> dict[str, Any]:
    """Megabytes of one server of an adapter's own and of ours with all of its adapters, and ours' throughput."""
    servers = [Process(base, Size(slots=1, held=1), v.facts.task, home("runs", "apart.log")) for v in versions]
    async with contextlib.AsyncExitStack() as stack:
        for server, version in zip(servers, versions, strict=True):
            engine = await stack.enter_async_context(Engine(server))
            await engine.start()
            await engine.load(version.name, version.folder)
        places = [Place("http://engine", str(server.socket), server.key) for server in servers]

        async def apart() -> Run:
            each, clients = REQUESTS // len(versions), CLIENTS // len(versions)

            def own(place: Place, name: str) -> Awaitable[Run]:
                return load(place, lambda n: name, each, clients)

            runs = await asyncio.gather(*(own(p, v.name) for p, v in zip(places, versions, strict=True)))
            return Run(
                min(r.per_second for r in runs) * len(runs),  # until the last of them is done
                [first for r in runs for first in r.first],
                [whole for r in runs for whole in r.whole],
                sum(r.failed for r in runs),
            )

        async def together() -> Run:
            return await load(ours, lambda n: versions[n % len(versions)].facts.task, REQUESTS)

        pairs = await in_turn(apart, together, ROUNDS)
        each = [memory(server.pid) for server in servers]
    return {
        "servers": len(versions),
        "throughput_ratio": throughput(pairs),
        "memory_mb_each": round(sum(each) / len(each) / 2**20),
        "memory_mb_ours": round(memory((remote.address() or {})["pid"]) / 2**20),
        "failed": sum(r.failed for pair in pairs for r in pair),
    }
