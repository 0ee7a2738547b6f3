"""What a key must not be able to do, and what the server must live through. Over fake engines with a home each."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest

from evals import decisions, tables
from evals.gate import Verdict
from factory.base.build import Base
from factory.errors import GateRefused
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


def test_keys_allow_tasks_and_set_limits(place: Path, made_up: Base) -> None:
    register(made_up, "summary", 1)
    register(made_up, "identity", 2)
    free = auth.new_key("free")
    bound = auth.new_key("bound", tasks=["summary"], rpm=1)
    few = auth.new_key("few", tasks=["summary"], tpm=5)
    one = auth.new_key("one", concurrent=1)
    ops = auth.new_key("ops", admin=["read"], tasks=[])
    assert free not in (place / "serve" / "keys.json").read_text()
    with fake_server(place) as running:

        def ask(key: str, model: str = "summary", **more: Any) -> httpx.Response:
            body = {"model": model, "messages": USER} | more
            headers = {"authorization": f"Bearer {key}"}
            return httpx.post(f"{running.url}{CHAT}", json=body, headers=headers, timeout=30)

        assert httpx.post(f"{running.url}{CHAT}", json={}).status_code == 401
        assert ask("fk-wrong").status_code == 401
        assert httpx.get(f"{running.url}/v1/models").status_code == 401
        assert httpx.get(f"{running.url}/health").status_code == 200
        assert ask(free).status_code == ask(free, "identity").status_code == ask(free, "tiny").status_code == 200
        assert ask(bound, "identity").status_code == ask(bound, "tiny").status_code == 403
        assert [ask(bound).status_code for _ in range(2)] == [200, 429]
        assert int(ask(bound).headers["retry-after"]) > 1
        assert [ask(few).status_code for _ in range(2)] == [200, 429]  # 21 tokens a request
        mine = {"authorization": f"Bearer {bound}"}
        models = httpx.get(f"{running.url}/v1/models", headers=mine).json()["data"]
        assert {m["id"] for m in models} == {"summary", "summary@v1"}
        assert [httpx.get(f"{running.url}/metrics", headers=h).status_code for h in ({}, mine)] == [401, 403]
        assert httpx.get(f"{running.url}/metrics", headers={"authorization": f"Bearer {ops}"}).status_code == 200
        hidden, nowhere = (ask(few, name).json()["error"] for name in ("identity", "nowhere"))
        assert hidden["code"] == nowhere["code"] == "task_not_allowed"
        assert "summary" not in json.dumps([hidden, nowhere]), "not even which tasks there are"

        async def at_once() -> list[int]:
            async with aiohttp.ClientSession(headers={"authorization": f"Bearer {one}"}) as session:

                async def go() -> int:
                    body = {"model": "summary", "messages": USER, "max_tokens": 100}
                    async with session.post(f"{running.url}{CHAT}", json=body) as reply:
                        return reply.status

                return sorted(await asyncio.gather(go(), go()))

        assert asyncio.run(at_once()) == [200, 429]

        admin = (remote.address() or {})["admin"]
        headers = {"authorization": f"Bearer {ops}"}
        assert httpx.get(f"{admin}/admin/state", headers=headers).status_code == 200
        assert httpx.get(f"{admin}/admin/state", headers={"authorization": f"Bearer {free}"}).status_code == 403
        assert httpx.get(f"{admin}/admin/state").status_code == 401
        order = {"version": "summary@v1"}
        assert httpx.post(f"{admin}/admin/promote", json=order, headers=headers).status_code == 403
        assert httpx.get(f"{running.url}/admin/state", headers=headers).status_code == 404

        auth.revoke_key("free")
        assert until(lambda: ask(free).status_code == 401)
        promote("summary@v1")
    audit = [json.loads(line) for line in (place / "serve" / "audit.jsonl").read_text().splitlines()]
    assert [(line["who"], line["what"]) for line in audit] == [("(owner)", "/admin/promote")]


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


def test_a_stream_books_what_its_usage_tells(place: Path, made_up: Base) -> None:
    """Not one more for the chunk that ends it, if that comes by itself."""
    register(made_up, "summary", 1)
    with fake_server(place) as fake:
        assert ask(fake, stream=True, max_tokens=7).text.endswith("data: [DONE]\n\n")
        (log,) = place.rglob("access.jsonl")
        assert until(lambda: log.read_text().count("\n") == 1, 10)
        line = json.loads(log.read_text())
        assert (line["status"], line["prompt"], line["completion"]) == (200, 5, 7)


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
