"""What a key must not be able to do, and what the server must live through. Over fake engines with a home each."""

from __future__ import annotations

import asyncio
import json
import os
import zlib
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest

from evals import decisions, tables
from evals.gate import Verdict
from factory import probe
from factory.base.build import Base
from factory.errors import FactoryError, GateRefused
from factory.registry import aliases, store
from serve import auth, remote
from tests.fakes.adapters import promote, register
from tests.fakes.serving import Fake, fake_base, fake_server
from tests.serve.hostile import CHAT
from tests.serve.load import children, until

USER = [{"role": "user", "content": "x"}]


def ask(fake: Fake, key: str = "", model: str = "summary", **more: Any) -> httpx.Response:
    body = {"model": model, "messages": USER, "max_tokens": 2} | more
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx.post(f"{fake.url}{CHAT}", json=body, headers=headers, timeout=60)


def decided(version: store.Version, decision: str, against: str = "") -> None:
    """A gate run in the ratings database."""
    verdict = Verdict(decision=decision, why="because", labels=0, plan={}, plan_hash="x")  # type: ignore[arg-type]
    decisions.log(tables.open_database(), version.task, version.name, against, "", "", verdict)


def task(name: str) -> dict[str, Any]:
    return next(t for t in (remote.state() or {})["tasks"] if t["task"] == name)


def test_a_key_asks_only_versions_that_were_promoted_or_granted(place: Path, made_up: Base) -> None:
    for seed in (1, 2, 3):
        register(made_up, "summary", seed)
    plain, third, all_ = (
        auth.new_key(f"k{n}", tasks=tasks)
        for n, tasks in enumerate((["summary"], ["summary", "summary@v3"], ["summary@*"]))
    )
    with fake_server(place) as fake:
        names = ["summary", "summary@v1", "summary@v2", "summary@v3", aliases.resolve("summary@v3").name]
        assert [ask(fake, plain, name).status_code for name in names] == [200, 200, 403, 403, 403]
        assert [ask(fake, third, name).status_code for name in names] == [200, 200, 403, 200, 200]
        assert [ask(fake, all_, name).status_code for name in names] == [200] * 5
        listed = httpx.get(f"{fake.url}/v1/models", headers={"authorization": f"Bearer {plain}"}).json()["data"]
        assert [m["id"] for m in listed] == ["summary", "summary@v1"]
        promote("summary@v2")
        assert ask(fake, plain, "summary@v2").status_code == ask(fake, plain, "summary@v1").status_code == 200


def test_new_keys_have_limits() -> None:
    assert set(auth.LIMITS) == {"rpm", "tpm", "concurrent"} and all(auth.LIMITS.values())


@pytest.mark.parametrize("stream", [True, False])
def test_a_caller_that_hangs_up_pays_for_what_was_generated(
    place: Path, made_up: Base, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    monkeypatch.setenv("FAKE_TOKEN_SECONDS", "0.01")
    register(made_up, "summary", 1)
    key = auth.new_key("few", tpm=20)
    with fake_server(place) as fake:

        async def hang_up() -> None:
            headers = {"authorization": f"Bearer {key}"}
            async with aiohttp.ClientSession(headers=headers) as session:
                body = {"model": "summary", "messages": USER, "stream": stream, "max_tokens": 5000}
                request = asyncio.create_task(session.post(f"{fake.url}{CHAT}", json=body))
                await asyncio.sleep(1)
                if request.done():
                    (await request).close()
                else:
                    request.cancel()

        asyncio.run(hang_up())
        assert until(lambda: (remote.state() or {})["leases"] == 0, 10)
        (log,) = place.rglob("access.jsonl")
        assert until(lambda: '"status": 499' in log.read_text(), 10)
        line = next(found for found in map(json.loads, log.read_text().splitlines()) if found["status"] == 499)
        assert line["prompt"] == 5 and 40 <= line["completion"] <= 200
        assert ask(fake, key).status_code == 429


def test_the_gate_is_asked_whoever_promotes(place: Path, made_up: Base) -> None:
    first, second, third = (register(made_up, "summary", seed) for seed in (1, 2, 3))
    ops = auth.new_key("ops", admin=["promote"], tasks=[])
    with fake_server(place):
        admin = (remote.address() or {})["admin"]

        def order(name: str, **more: Any) -> httpx.Response:
            headers = {"authorization": f"Bearer {ops}"}
            return httpx.post(f"{admin}/admin/promote", json={"version": name} | more, headers=headers)

        decided(second, "REJECT", first.name)
        decided(third, "PROMOTE", first.name)
        refused = order("summary@v2")
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "GateRefused")
        assert order("summary@v2", share=0.1).status_code == 422
        assert order("summary@v2", force="because I say so").status_code == 403
        with pytest.raises(GateRefused, match="REJECT: because"):
            remote.promote("summary@v2")
        assert aliases.read("summary").aliases == {"prod": first.sha}
        assert order("summary@v3").status_code == 200
        assert aliases.read("summary").aliases == {"prod": third.sha}


def test_a_promotion_to_another_base_outlasts_a_slow_preflight(
    place: Path, made_up: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new base's engine has nothing loaded yet and no caller: it stays all the same."""
    monkeypatch.setenv("FAKE_PREFLIGHT_SECONDS", "2")
    register(made_up, "summary", 1)
    register(fake_base("small"), "summary", 2)
    with fake_server(place) as fake:
        assert (promote("summary@v2") or {})["prod"] == "summary@v2"
        assert ask(fake).status_code == 200
        assert sorted(e["base"] for e in (remote.state() or {})["engines"]) == ["small", "tiny"]


def test_a_canary_set_elsewhere_is_served_with_its_share(place: Path, made_up: Base) -> None:
    """By a command while no server ran, and by whoever follows a registry: the registry's file is the truth."""
    for seed in (1, 2, 3):
        register(made_up, "summary", seed)
    aliases.point(aliases.resolve("summary@v2"), "canary", share=1 / 2)
    with fake_server(place) as fake:
        assert (task("summary")["canary"], task("summary")["share"]) == ("summary@v2", 0.5)
        second = aliases.resolve("summary@v2").name
        assert ask(fake, model="summary@canary").headers["x-adapter-version"] == second
        # no user, one caller: each request for itself
        sides = [ask(fake).headers["x-adapter-version"] for _ in range(40)]
        assert 5 <= sides.count(second) <= 35
        aliases.point(aliases.resolve("summary@v3"), "canary")
        assert until(lambda: task("summary")["canary"] == "summary@v3", 10) and task("summary")["share"] == 0.5
        aliases.point(aliases.resolve("summary@v3"))
        assert until(lambda: task("summary")["prod"] == "summary@v3", 10)
        assert until(lambda: task("summary")["canary"] is None, 10) and "canary" not in aliases.read("summary").aliases
        said = ask(fake, model="summary@canary").json()["error"]["message"]
        assert "summary has no canary" in said and "did you mean" not in said


def test_what_an_older_journal_alone_knew_goes_into_the_registry(place: Path, made_up: Base) -> None:
    one, two, three = (register(made_up, "summary", seed).sha for seed in (1, 2, 3))
    aliases.point(aliases.resolve("summary@v2"), "canary")
    state = {"task": "summary", "generation": 4, "prod": one, "previous": None, "canary": two, "share": 0.5}
    lines = [json.dumps(state | {"share": share, "shadow": three}).encode() for share in (0.5, 0.25, 0.75)]
    written = b"".join(b"%08x %s\n" % (zlib.crc32(line), line) for line in lines)
    (place / "serve").mkdir(exist_ok=True)
    (place / "serve" / "journal").write_bytes(written[:-9])  # a power cut tore the last line
    with fake_server(place):
        assert task("summary")["share"] == 0.25 and task("summary")["shadow"] == "summary@v3"
    assert aliases.read("summary").share == 0.25 and not (place / "serve" / "journal").exists()


def test_what_is_live_stands_in_the_registry_alone(place: Path, made_up: Base) -> None:
    """Whatever a server knew is there again after a restart, from the registry's file and nothing else."""
    for seed in (1, 2, 3):
        register(made_up, "summary", seed)
    roles = ("prod", "previous", "canary", "share", "shadow")
    with fake_server(place) as fake:
        promote("summary@v2")
        promote("summary@v3", share=0.25)
        remote.shadow("summary", "summary@v1")
        before = task("summary")
        assert [before[role] for role in roles] == ["summary@v2", "summary@v1", "summary@v3", 0.25, "summary@v1"]
        fake.kill()
    assert sorted(p.name for p in (place / "serve").iterdir()) == ["audit.jsonl", "lock", "server.json"]
    with fake_server(place):
        assert task("summary") == before | {"per_second": 0.0}
        aliases.drop("summary", "shadow")
        aliases.rollback("summary")
        wanted = ["summary@v1", None, "summary@v3", 0.25, None]
        assert until(lambda: [task("summary")[role] for role in roles] == wanted, 10)


def test_what_prod_meant_before_answers_where_the_new_one_cannot(place: Path, made_up: Base) -> None:
    """Also after a restart, and also when it is the way back that was damaged meanwhile."""
    for seed in (1, 2):
        register(made_up, "summary", seed)
    aliases.point(aliases.resolve("summary@v2"))
    old = register(made_up, "summary", 3, fingerprint="0" * 64)
    with fake_server(place) as fake:
        aliases.point(old)
        assert until(lambda: "another build" in (task("summary")["why_not"] or ""), 10)
        assert task("summary")["prod"] == "summary@v2" and ask(fake).status_code == 200
    with fake_server(place) as fake:
        assert task("summary")["prod"] == "summary@v2" and ask(fake).status_code == 200


def test_a_keys_file_that_cannot_be_read_ends_nothing(place: Path, made_up: Base) -> None:
    register(made_up, "summary", 1)
    key = auth.new_key("app")
    file = auth.keys_file()
    with fake_server(place) as fake:
        assert ask(fake, key).status_code == 200
        held = file.read_text()
        file.unlink()
        file.mkdir()  # also for root this is no file that can be read
        (log,) = place.rglob("server.jsonl")
        assert until(lambda: "the keys stay as they were" in log.read_text(), 10)
        assert ask(fake, key).status_code == 200 and fake.process.poll() is None
        file.rmdir()
        file.write_text(held)
        auth.revoke_key("app")
        assert until(lambda: ask(fake, key).status_code == 401, 10)


def test_health_tells_server_and_bases_apart(place: Path, made_up: Base) -> None:
    register(made_up, "summary", 1)
    register(fake_base("small"), "other", 2)
    with fake_server(place) as fake:

        def status(path: str) -> int:
            return httpx.get(f"{fake.url}/health{path}").status_code

        assert [status(p) for p in ("", "/live", "/ready", "/base/tiny", "/base/small")] == [200] * 5
        assert status("/base/nobody") == status("/nothing") == 404
        os.kill(children(fake.process.pid)[0], 9)
        assert until(lambda: 503 in (status("/base/tiny"), status("/base/small")), 10)
        assert [status(p) for p in ("", "/live", "/ready")] == [200] * 3
        assert until(lambda: [status("/base/tiny"), status("/base/small")] == [200, 200], 30)


def test_what_the_engine_fails_at_is_not_tried_twice_a_second(
    place: Path, made_up: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_REFUSES", "summary@")
    register(made_up, "other", 1)
    register(made_up, "summary", 2)
    with fake_server(place) as fake:
        assert ask(fake, model="other").status_code == 200
        (log,) = place.rglob("server.jsonl")
        assert until(lambda: log.read_text().count("summary@") >= 2, 20)
        before = log.read_text().count("cannot be served")
        assert not until(lambda: log.read_text().count("cannot be served") > before + 2, 4)
        assert [ask(fake, model="summary@v1").status_code for _ in range(3)] == [503] * 3


@pytest.mark.parametrize(
    ("name", "why"),
    [("does-nothing", "as the base does alone"), ("spoils", "the base itself answers otherwise")],
)
def test_an_adapter_that_does_not_do_what_it_should_is_refused(place: Path, made_up: Base, name: str, why: str) -> None:
    register(made_up, "good", 1)
    register(made_up, name, 2)
    with fake_server(place) as fake:
        assert why in task(name)["why_not"]
        assert ask(fake, model=name).status_code == ask(fake, model=f"{name}@v1").status_code == 404
        assert ask(fake, model="good").status_code == 200
        with pytest.raises(FactoryError, match=why):
            promote(f"{name}@v1")
        assert (remote.state() or {})["engines"][0]["adapters"] == 1


def test_an_adapter_that_a_restarted_engine_forgot_is_refused_and_the_one_before_answers(
    place: Path, made_up: Base
) -> None:
    first, second = register(made_up, "good", 1), register(made_up, "forgets", 2)
    with fake_server(place) as fake:
        assert ask(fake, model="forgets").headers["x-adapter-version"] == second.name
        os.kill(children(fake.process.pid)[0], 9)
        assert until(lambda: ask(fake, model="good").status_code == 200, 30)
        assert ask(fake, model="good").headers["x-adapter-version"] == first.name
        assert "since the engine was restarted" in task("forgets")["why_not"]
        assert ask(fake, model="forgets@v1").status_code == 404
        assert until(lambda: ask(fake, model="forgets").status_code == 404, 10)


def test_an_adapter_that_is_not_as_it_was_made_is_refused(place: Path, made_up: Base) -> None:
    """Some of its modules ignored: it does something, but not what training saw."""
    for name in ("good", "half"):
        register(made_up, name, 1)
    scores = [[-1.0 - 1 - zlib_share(aliases.resolve("good").name)] * 4]
    store.note(aliases.resolve("good"), probe.NOTE, {"logprobs": scores})
    store.note(aliases.resolve("half"), probe.NOTE, {"logprobs": [[-90.0] * 4]})
    with fake_server(place) as fake:
        assert ask(fake, model="good").status_code == 200
        assert "as it did when it was made" in task("half")["why_not"]


def zlib_share(name: str) -> float:
    """How the fake engine scores an adapter's tokens."""
    return zlib.crc32(name.encode()) % 1000 / 100
