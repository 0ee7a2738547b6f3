"""From a push on one machine to an answer on another: a running server follows the Hub, and outlives it."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from factory.home import write_json
from factory.registry import aliases
from factory.registry.exchange import point, push
from factory.registry.follow import following
from factory.registry.places import open_remote, parse
from factory.registry.remote import Pointer
from factory.registry.trust import Trust
from tests.factory.registry.conftest import Signer
from tests.fakes.adapters import register
from tests.fakes.fake_hub import FakeHub
from tests.fakes.serving import fake_base, fake_server

PLACE = parse("hub:team/summary")
PROVEN = {"decision": "PROMOTE", "why": "better"}


def machine(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_HOME", str(path))
    base = fake_base()
    facts = {"name": base.name, "source": base.name, "revision": "a" * 40, "fingerprint": base.fingerprint}
    write_json(base.folder / "base.json", facts)


def answering(url: str) -> str:
    """The version that answers for `summary` now, or the status if none does."""
    asked = {"model": "summary", "messages": [{"role": "user", "content": "Hello"}]}
    reply = httpx.post(f"{url}/v1/chat/completions", json=asked, timeout=20)
    return reply.headers.get("x-adapter-version", "") if reply.status_code == 200 else str(reply.status_code)


def test_a_server_follows_the_hub(hub: FakeHub, lee: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(tmp_path / "maker", monkeypatch)
    base = fake_base()
    first, second = (register(base, "summary", seed, kind="summary") for seed in (1, 2))
    remote = open_remote(PLACE)
    for version in (first, second):
        push(version, remote, PLACE)
    point(remote, PLACE, {"prod": lee.signed(Pointer(sha=first.sha, gate=PROVEN), "summary")}, lambda sha: True)

    machine(tmp_path / "server", monkeypatch)
    said: list[str] = []
    trust = Trust(tasks={"summary": "hub:team/summary"}, signers=(lee.line,))
    with following(trust, said.append, every=0.1), fake_server(tmp_path / "server") as server:
        assert answering(server.url) == first.name
        point(remote, PLACE, {"prod": lee.signed(Pointer(sha=second.sha, gate=PROVEN), "summary")}, lambda sha: True)
        limit = time.monotonic() + 60
        while (now := answering(server.url)) != second.name:
            assert now == first.name and time.monotonic() < limit  # never without an answer
        hub.fault(".*", "drop", times=10**6)
        while not any("is away" in text for text in said):
            assert time.monotonic() < limit
            time.sleep(0.05)
        assert answering(server.url) == second.name
    assert aliases.resolve("summary").sha == second.sha
