"""Processes are killed at the worst moments: nothing is lost, nothing stays behind, nobody has to step in."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import random
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest

from factory.base.build import Base
from factory.errors import FactoryError
from factory.registry import aliases
from serve import remote
from serve.engine import Engine
from tests.fakes.adapters import promote, register
from tests.fakes.serving import Fake, fake_server
from tests.serve.load import children, through_a_kill, until


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie that nobody has reaped yet does not."""
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_an_engine_killed_under_load_comes_back_with_all_aliases(fake: Fake) -> None:
    promote("summary@v2")
    promote("summary@v3", share=0.5)
    before = (remote.state() or {})["tasks"]

    engine = children(fake.process.pid)[0]
    answers = asyncio.run(through_a_kill(fake.url, ("summary", "identity"), engine, 30))
    assert {a.status for a in answers} == {200, 503}
    assert all(a.whole for a in answers if a.status == 200)
    after = remote.state() or {}
    assert after["engines"][0]["restarts"] == 1 and after["leases"] == 0
    keys = ("task", "prod", "previous", "canary", "share")
    assert [[t[k] for k in keys] for t in after["tasks"]] == [[t[k] for k in keys] for t in before]


def test_away_means_503_with_a_time_to_wait(fake: Fake) -> None:
    os.kill(children(fake.process.pid)[0], signal.SIGKILL)
    body = {"model": "summary", "messages": [{"role": "user", "content": "x"}]}
    reply = httpx.post(f"{fake.url}/v1/chat/completions", json=body)
    assert reply.status_code == 503 and int(reply.headers["retry-after"]) > 0
    assert reply.json()["error"]["type"] == "service_unavailable"
    assert until(lambda: httpx.get(f"{fake.url}/health").status_code == 503)
    assert until(lambda: httpx.post(f"{fake.url}/v1/chat/completions", json=body).status_code == 200)


def test_an_engines_folder_that_nobody_came_to_lock_goes_once_it_is_old(
    place: Path, made_up: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another server may be making one right now, and one that took long has locked its own by then."""
    with tempfile.TemporaryDirectory() as temporary:
        monkeypatch.setenv("TMPDIR", temporary)
        left, locked, made = (Path(temporary, f".factory-engine-{name}") for name in ("left", "locked", "made"))
        for folder in (left, locked, made):
            folder.mkdir()
        for folder in (left, locked):
            os.utime(folder, (time.time() - 7200,) * 2)
        handle = os.open(locked, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
        with fake_server(place):
            assert (left.exists(), locked.exists(), made.exists()) == (False, True, True)
        os.close(handle)


@pytest.mark.slow
def test_everything_killed_50_times_during_promotions(place: Path, made_up: Base) -> None:
    """After each kill the alias means the old or the new version, the server starts and serves just that."""
    versions = [register(made_up, "summary", seed) for seed in (1, 2, 3)]
    names = [f"summary@v{number}" for number in (1, 2, 3)]
    expected = {versions[0].sha}
    dice = random.Random(0)
    outcomes = []
    span = 0.05  # seconds: about twice what a promotion takes here, found by what the kills hit
    for _ in range(50):
        with fake_server(place) as running:
            live = aliases.read("summary").aliases["prod"]
            assert live in expected
            (task,) = (remote.state() or {})["tasks"]
            assert task["prod"] == names[[v.sha for v in versions].index(live)]
            wanted = dice.choice([v for v in versions if v.sha != live])
            engines = children(running.process.pid)
            threading.Thread(target=_promote, args=(f"summary@{wanted.sha[:12]}",), daemon=True).start()
            time.sleep(dice.uniform(0, span))
            running.kill()
            assert until(lambda engines=engines: not any(map(alive, engines)))
            expected = {live, wanted.sha}
            outcomes.append(aliases.read("summary").aliases["prod"] == wanted.sha)
            span = min(span * (0.8 if outcomes[-1] else 1.25), 10)
    assert {True, False} == set(outcomes)  # kills hit both before and after the swap


def _promote(name: str) -> None:
    with contextlib.suppress(FactoryError, OSError):
        promote(name)


def test_a_version_that_cannot_be_served_is_told_and_the_rest_is_served(place: Path, made_up: Base) -> None:
    """The base of one version is another build by now: it is named, and the other tasks are there."""
    register(made_up, "old", 1, fingerprint="0" * 64)
    register(made_up, "good", 2)
    with fake_server(place) as running:
        body = {"messages": [{"role": "user", "content": "x"}]}
        assert httpx.post(f"{running.url}/v1/chat/completions", json={"model": "good", **body}).status_code == 200
        assert httpx.post(f"{running.url}/v1/chat/completions", json={"model": "old", **body}).status_code == 404
        told = {task["task"]: task["why_not"] for task in (remote.state() or {})["tasks"]}
        assert told["good"] is None and "another build" in told["old"]


def test_what_asks_an_engine_that_is_being_stopped_is_told_so(tmp_path: Path) -> None:
    """`factory top` looks at all engines, and one may end just then: its connections take a moment to close."""

    class Slow(aiohttp.UnixConnector):
        async def close(self, **others: Any) -> None:  # type: ignore[override]
            await super().close(**others)
            await asyncio.sleep(0.2)

    class Ending:
        name, size, url, key = "tiny", None, "http://engine", "k"

        def connector(self) -> aiohttp.BaseConnector:
            return Slow(str(tmp_path / "nobody.sock"))

        async def stop(self) -> None: ...

    async def asked() -> tuple[int | None, bool]:
        engine = Engine(Ending())  # type: ignore[arg-type]
        assert await engine.resident() is None
        stopping = asyncio.create_task(engine.stop())
        await asyncio.sleep(0.05)
        held = await engine.resident()
        await stopping
        return held, engine._session is None

    assert asyncio.run(asked()) == (None, True)
