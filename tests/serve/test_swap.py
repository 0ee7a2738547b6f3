"""Versions change under load and nobody notices: no request fails, mixes two versions or gets a stale one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import httpx
import pytest

from factory.base.build import Base
from factory.errors import FactoryError, InputError
from factory.registry import aliases
from serve import remote
from tests.fakes.adapters import promote, register
from tests.fakes.serving import Fake, fake_base, fake_server
from tests.serve.load import Answer, stream, until

USER = [{"role": "user", "content": "x"}]
MODELS = ("summary", "identity", "classification")


async def under_load(url: str, changes: int) -> tuple[list[Answer], list[tuple[float, str]]]:
    """200 requests always in flight while `summary` is promoted and rolled back; the answers, and each swap's end."""
    answers: list[Answer] = []
    swaps: list[tuple[float, str]] = []
    running = True

    async def client(session: aiohttp.ClientSession, number: int) -> None:
        while running:
            answers.append(await stream(session, url, MODELS[number % 3], f"question {number}"))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        clients = [asyncio.create_task(client(session, number)) for number in range(200)]
        for change in range(changes):
            await asyncio.sleep(0.1)
            order = ("summary@v2", "summary@v3")[change // 2 % 2]
            done = await asyncio.to_thread(remote.rollback, "summary") if change % 2 else None
            done = done or await asyncio.to_thread(promote, order)
            assert done
            swaps.append((asyncio.get_running_loop().time(), done["prod"]))
        await asyncio.sleep(0.3)
        running = False
        await asyncio.gather(*clients)
    return answers, swaps


def test_200_streams_while_versions_change_20_times(fake: Fake) -> None:
    answers, swaps = asyncio.run(under_load(fake.url, 20))
    assert len(answers) > 400
    assert [a for a in answers if a.status != 200 or not a.whole] == []
    names = {f"summary@v{e.ordinal}": f"summary@{e.sha}" for e in aliases.read("summary").versions}
    for answer in answers:
        words = answer.text.split()
        if answer.model != "classification":
            assert {word.rpartition(":")[0] for word in words} == {answer.version}
            assert [int(word.rpartition(":")[2]) for word in words] == list(range(24))
        if answer.model == "summary":
            assert answer.version in {names[name] for name in answer.may_be(swaps, "summary@v1")}
    assert len({a.version for a in answers if a.model == "summary"}) == 3
    state = remote.state()
    assert state and state["leases"] == 0


def test_what_is_no_longer_needed_is_unloaded_and_what_was_before_stays(fake: Fake) -> None:
    loaded = lambda: (remote.state() or {})["engines"][0]["adapters"]  # noqa: E731
    assert loaded() == 3
    assert (promote("summary@v2") or {})["previous"] == "summary@v1"
    assert (promote("summary@v3") or {})["previous"] == "summary@v2"
    assert until(lambda: loaded() == 4)  # v3 live, v2 for the way back, and the two other tasks
    assert (remote.rollback("summary") or {})["prod"] == "summary@v2"


def test_a_promotion_decided_on_an_old_state_changes_nothing(fake: Fake) -> None:
    generation = aliases.read("summary").generation
    promote("summary@v2", expected=generation)
    with pytest.raises(FactoryError, match="someone else"):
        promote("summary@v3", expected=generation)
    assert (remote.state() or {})["tasks"][2]["prod"] == "summary@v2"
    with pytest.raises(InputError, match="no version 'v9'"):
        promote("summary@v9")


def test_a_promotion_made_elsewhere_is_followed(fake: Fake) -> None:
    aliases.point(aliases.resolve("summary@v2"))
    assert until(lambda: (remote.state() or {})["tasks"][2]["prod"] == "summary@v2")


def test_a_canary_gets_its_share_of_callers_and_each_caller_always_the_same(fake: Fake) -> None:
    promote("summary@v2", share=0.25)

    async def versions() -> list[tuple[str, str]]:
        async with aiohttp.ClientSession() as session:
            found = []
            for caller in [*map(str, range(120)), *map(str, range(120))]:
                request = {"model": "summary", "messages": USER, "user": caller, "max_tokens": 1}
                async with session.post(f"{fake.url}/v1/chat/completions", json=request) as reply:
                    found.append((caller, reply.headers["x-adapter-version"]))
            return found

    found = asyncio.run(versions())
    canary = next(e.sha for e in aliases.read("summary").versions if e.ordinal == 2)
    assert len(set(found)) == 120
    assert 0.1 < sum(version.endswith(canary) for _, version in found) / len(found) < 0.4
    assert (promote("summary@v2") or {})["share"] == 0.0


def test_a_promotion_to_another_base_starts_its_engine_and_ends_the_old_one(place: Path, made_up: Base) -> None:
    register(made_up, "summary", 1)
    register(fake_base("small"), "summary", 2)
    register(fake_base("small"), "summary", 3)
    with fake_server(place) as running:
        assert [e["base"] for e in (remote.state() or {})["engines"]] == ["tiny"]

        async def promoted() -> list[Answer]:
            async with aiohttp.ClientSession() as session:
                slow = [asyncio.create_task(stream(session, running.url, "summary", "x", 400)) for _ in range(20)]
                await asyncio.sleep(0.1)
                await asyncio.to_thread(promote, "summary@v2")
                new = [await stream(session, running.url, "summary", "x") for _ in range(5)]
                return [*await asyncio.gather(*slow), *new]

        answers = asyncio.run(promoted())
        assert all(a.status == 200 and a.whole for a in answers)
        assert len({a.version for a in answers[:20]}) == len({a.version for a in answers[20:]}) == 1
        assert answers[0].version != answers[-1].version
        assert sorted(e["base"] for e in (remote.state() or {})["engines"]) == ["small", "tiny"]
        promote("summary@v3")
        assert until(lambda: [e["base"] for e in (remote.state() or {})["engines"]] == ["small"])


def test_the_shadow_answers_for_the_record_only(fake: Fake, place: Path) -> None:
    remote.shadow("summary", "summary@v3")

    async def ask() -> Answer:
        async with aiohttp.ClientSession() as session:
            return await stream(session, fake.url, "summary", "secret question")

    answer = asyncio.run(ask())
    record = place / "serve" / "shadow" / "summary.jsonl"
    assert until(record.exists)
    sha = aliases.read("summary").versions[2].sha
    assert f'"shadow": "summary@{sha}"' in record.read_text() and sha not in answer.version
    remote.shadow("summary", "")
    assert "secret question" not in "".join(p.read_text() for p in (place / "runs").rglob("*.jsonl"))


def test_a_retired_task_is_gone_for_its_callers_also_after_a_restart(fake: Fake) -> None:
    def status(url: str, model: str) -> int:
        asked = {"model": model, "messages": [{"role": "user", "content": "x"}]}
        return httpx.post(f"{url}/v1/chat/completions", json=asked, timeout=30).status_code

    promote("summary@v2", share=0.5)
    aliases.retire("summary")
    assert until(lambda: status(fake.url, "summary") == 404)
    assert status(fake.url, "summary@v1") == status(fake.url, "identity") == 200
    fake.kill()
    with fake_server(fake.home) as again:
        names = {model["id"] for model in httpx.get(f"{again.url}/v1/models").json()["data"]}
        assert "summary" not in names and {"summary@v1", "identity"} <= names
        assert status(again.url, "summary") == 404
        assert (remote.rollback("summary") or {})["prod"] == "summary@v1"
        assert status(again.url, "summary") == 200
