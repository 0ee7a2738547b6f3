"""`factory bench only=serving`: what the gateway costs, what many adapters cost, and what a swap costs.

One server with random adapters over the base, one load for all: streamed chat answers of TOKENS tokens, CLIENTS at a
time. Its vLLM is measured directly too, over its private socket, with the same requests. Measurements that are compared
take turns, and the median over the pairs counts, so that a machine that warms up or slows down does not decide.
Times to a first token scatter by tens of milliseconds with how requests fall together in vLLM's batches; the
gateway's are medians over 5 × ROUNDS × REQUESTS.
"""

import asyncio
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from bench import apart
from bench.adapters import register
from bench.load import CLIENTS, Place, Run, load, throughput
from bench.measure import in_turn, own_home
from factory.base.build import Base, prepare
from factory.registry import aliases
from serve import remote
from serve.private import temporary
from serve.process import Size
from serve.server import Options, running

REQUESTS, ROUNDS = 96, 3
SWAPPED, PAUSE = 4, 1.0  # versions that take turns, and seconds between two swaps
VERSIONS = 200  # of one task, for the test with more adapters than slots
TARGETS = {"throughput_ratio": 0.95, "ttft_added_ms": 5, "mixed8": 0.9, "swap_seconds": 1, "swap_p99": 1.2}


def run(
    base: str = "auto",
    versions: int = VERSIONS,
    soak_minutes: float = 0,
    rounds: int = ROUNDS,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """All measurements, in a home of their own. Ratios are ours over the reference; milliseconds where it says so."""
    found = prepare(base)
    with own_home(found):
        seeds = [(f"t{number}", number) for number in range(8)]
        seeds += [("t0", 100 + number) for number in range(1, SWAPPED)]
        seeds += [("many", 1000 + number) for number in range(versions)]
        for task, seed in seeds:
            register(found, task, seed, scale=0.05, prompt="Answer briefly.")
        with running(Options(port=0), progress) as url:
            return asyncio.run(_measure(Place(url), found, versions, soak_minutes, rounds, progress))


async def _measure(
    ours: Place, found: Base, versions: int, soak_minutes: float, rounds: int, progress: Callable[[str], None]
) -> dict[str, Any]:
    base = found.label
    direct = engine()
    first = aliases.resolve("t0@v1").name
    await load(ours, lambda n: f"t{n % 8}", REQUESTS)  # everything is warm from here on
    direct_load = partial(load, direct, lambda n: first, REQUESTS)
    own_load = partial(load, ours, lambda n: "t0", REQUESTS)
    pairs = await in_turn(direct_load, own_load, 5 * rounds)
    progress("gateway against its vLLM: measured; now 8 adapters against one")
    mixed = await in_turn(own_load, partial(load, ours, lambda n: f"t{n % 8}", REQUESTS), rounds)
    progress("8 adapters: measured; now one adapter against the base alone")
    plain = await in_turn(partial(load, ours, lambda n: base, REQUESTS), own_load, rounds)
    progress("the base alone: measured; now swaps under load")
    swaps: list[float] = []
    turns = await in_turn(partial(load, ours, lambda n: "t0", 2 * REQUESTS), partial(_swapping, ours, swaps), rounds)
    quiet, busy = ([pair[side] for pair in turns] for side in (0, 1))
    progress("swaps: measured; now a server of its own for each adapter")
    own = await apart.run(ours, found, [aliases.resolve(f"t{n}@v1") for n in range(apart.SERVERS)])
    progress(f"one server per adapter: measured; now {versions} versions on {Size.slots} slots")
    many = await load(ours, lambda n: f"many@v{n % versions + 1}", versions) if versions else None
    state = remote.state() or {}
    result: dict[str, Any] = {
        "gateway": {
            "throughput_ratio": throughput(pairs),
            "ttft_added_ms": round(1000 * (_first([o for _, o in pairs]) - _first([d for d, _ in pairs])), 2),
            "tokens_per_second": round(median(o.per_second for _, o in pairs), 1),
            "direct_tokens_per_second": round(median(d.per_second for d, _ in pairs), 1),
            "ttft_ms": round(1000 * _first([o for _, o in pairs]), 2),
        },
        "mixed8": {"throughput_ratio": throughput(mixed)},
        "one_adapter_against_base": {"throughput_ratio": throughput(plain)},
        "swap": {
            "seconds": round(median(swaps), 3),
            "slowest_seconds": round(max(swaps), 3),
            "p99_ratio": round(_p99([w for b in busy for w in b.whole]) / _p99([w for q in quiet for w in q.whole]), 3),
        },
        "one_server_per_adapter": own,
        "failed": sum(r.failed for r in [*(r for p in (*pairs, *mixed, *plain) for r in p), *quiet, *busy]),
        "leases_left": state.get("leases"),
        "engine_restarts": sum(e["restarts"] for e in state.get("engines", [])),
        "base": base,
        "cores": os.cpu_count(),
        "targets": TARGETS,
    }
    if many:
        result["many"] = {
            "versions": versions,
            "slots": Size.slots,
            "failed": many.failed,
            "ttft_p50_ms": round(1000 * median(many.first), 1),
            "ttft_p99_ms": round(1000 * _p99(many.first), 1),
            "tokens_per_second": round(many.per_second, 1),
        }
    if soak_minutes:
        result["soak"] = await _soak(ours, soak_minutes)
    return result


async def _swapping(place: Place, swaps: list[float]) -> Run:
    """The load on t0 while its versions take turns; one that comes back was unloaded, so each swap loads one."""
    load_task = asyncio.create_task(load(place, lambda n: "t0", 2 * REQUESTS))
    while not load_task.done():
        began = time.perf_counter()
        await asyncio.to_thread(remote.promote, f"t0@v{1 + (len(swaps) + 1) % SWAPPED}", force="random adapters here")
        swaps.append(time.perf_counter() - began)
        await asyncio.sleep(PAUSE)
    return await load_task


async def _soak(place: Place, minutes: float) -> dict[str, Any]:
    """Moderate load for a while: the gateway's memory at a tenth of the time and at the end, and leaked leases."""
    began, sizes = time.monotonic(), []
    while time.monotonic() - began < 60 * minutes:
        await load(place, lambda n: f"t{n % 8}", 4 * CLIENTS)
        sizes.append((time.monotonic() - began, _resident()))
        await asyncio.sleep(0.5)
    early = next(size for at, size in sizes if at >= 6 * minutes)
    return {
        "minutes": minutes,
        "memory_mb": round(sizes[-1][1] / 1e6, 1),
        "memory_ratio": round(sizes[-1][1] / early, 4),
        "leases_left": (remote.state() or {}).get("leases"),
    }


def engine() -> Place:
    """The server's own vLLM: its process is the server's child, and its owner may read its key and its socket."""
    server = (remote.address() or {})["pid"]
    child = Path(f"/proc/{server}/task/{server}/children").read_text().split()[0]
    environment = dict(e.split("=", 1) for e in Path(f"/proc/{child}/environ").read_text().split("\0") if "=" in e)
    socket = next(temporary().glob(f"factory-engine-{server}-*/engine.sock"))
    return Place("http://engine", str(socket), environment["VLLM_API_KEY"])


def _resident() -> int:
    """Bytes of memory of the gateway's process."""
    server = (remote.address() or {})["pid"]
    return int(Path(f"/proc/{server}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _first(runs: list[Run]) -> float:
    return median(first for run in runs for first in run.first)


def _p99(values: list[float]) -> float:
    return sorted(values)[int(0.99 * (len(values) - 1))]
