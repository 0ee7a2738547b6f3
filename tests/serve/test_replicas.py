"""Two engines of one base: an adapter keeps to one of them, a promotion reaches both, one may die."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import aiohttp

from factory.base.build import Base
from serve import remote
from tests.fakes.adapters import promote, register
from tests.fakes.serving import fake_server
from tests.serve.load import Answer, children, stream, until


def test_two_replicas_share_the_work_and_one_may_die(place: Path, made_up: Base) -> None:
    for seed in (1, 2):
        register(made_up, "summary", seed)
    for number in range(6):
        register(made_up, f"t{number}", 10 + number)
    with fake_server(place, replicas=2) as running:

        async def load(seconds: float, kill: bool) -> list[Answer]:
            answers: list[Answer] = []
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

                async def client(number: int) -> None:
                    deadline = time.monotonic() + seconds
                    while time.monotonic() < deadline:
                        answers.append(await stream(session, running.url, f"t{number % 6}", "x"))

                clients = [asyncio.create_task(client(number)) for number in range(12)]
                await asyncio.sleep(seconds / 3)
                if kill:
                    os.kill(children(running.process.pid)[0], signal.SIGKILL)
                await asyncio.gather(*clients)
            return answers

        def spread() -> list[int]:
            return [engine["adapters"] for engine in (remote.state() or {})["engines"]]

        assert spread() == [7, 7]
        answers = asyncio.run(load(1, kill=False))
        assert answers and all(a.status == 200 and a.whole for a in answers)
        answers = asyncio.run(load(3, kill=True))
        broken = [a for a in answers if a.status != 200]
        assert len(broken) <= 12  # only streams that had begun on the engine that died; everything later was served
        assert all(a.status == 200 for a in answers[-6:])
        assert (promote("summary@v2") or {})["prod"] == "summary@v2"
        state = lambda: [(e["ready"], e["adapters"]) for e in (remote.state() or {})["engines"]]  # noqa: E731
        assert until(lambda: state() == [(True, 8)] * 2), state()
