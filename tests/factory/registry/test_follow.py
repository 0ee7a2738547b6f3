"""A server that follows a registry elsewhere: proven versions come, others do not, a Hub that is away harms nobody."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Literal

import pytest

from evals import decisions, tables
from evals.gate import Verdict
from factory.registry import aliases
from factory.registry.exchange import point, push
from factory.registry.follow import WRONG, Follower, following
from factory.registry.places import open_remote
from factory.registry.remote import Pointer, parse
from factory.registry.store import Version
from factory.verbs.hub import _take_over_decision, own_gate
from tests.factory.registry.conftest import Make, other_home
from tests.fakes.fake_hub import FakeHub

PLACE = parse("hub:team/mail")
PROVEN, UNPROVEN = {"decision": "PROMOTE", "why": "better"}, {"decision": "REJECT", "why": "worse"}


def release(version: Version, gate: dict[str, str] | None) -> None:
    """Push a version and let prod mean it there."""
    remote = open_remote(PLACE)
    push(version, remote, PLACE)
    point(remote, PLACE, {"prod": Pointer(sha=version.sha, gate=gate)}, lambda sha: True)


def live() -> str | None:
    return aliases.read("mail").aliases.get("prod")


@pytest.fixture
def versions(hub: FakeHub, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Version]:
    """Three versions made on another machine; the first is live there. Here nothing is yet."""
    made = [make(seed) for seed in (1, 2, 3)]
    release(made[0], PROVEN)
    for version in made[1:]:
        push(version, open_remote(PLACE), PLACE)
    other_home(tmp_path / "server", monkeypatch)
    return made


def move(version: Version, gate: dict[str, str] | None) -> None:
    point(open_remote(PLACE), PLACE, {"prod": Pointer(sha=version.sha, gate=gate)}, lambda sha: True)


def test_it_takes_over_what_was_proven_and_nothing_else(hub: FakeHub, versions: list[Version]) -> None:
    said: list[str] = []
    follower = Follower(PLACE, said.append)
    assert [v.sha for v in follower.look()] == [versions[0].sha] == [live()]
    move(versions[1], UNPROVEN)
    for _ in range(3):
        assert not follower.look() and live() == versions[0].sha
    assert sum("REJECT" in text for text in said) == 1
    move(versions[2], None)
    assert not follower.look() and "no gate's decision" in said[-1]
    move(versions[2], PROVEN)
    assert [v.sha for v in follower.look()] == [versions[2].sha] == [live()]
    move(versions[1], PROVEN)
    assert [v.sha for v in follower.look()] == [versions[1].sha] == [live()]
    assert aliases.rollback("mail").sha == versions[2].sha
    assert not follower.look() and live() == versions[2].sha  # an operator's rollback here is left alone


def test_a_policy_of_ones_own_decides_whenever_it_can(hub: FakeHub, versions: list[Version]) -> None:
    """Their PROMOTE is not enough for `gate=own`: the version comes, and is taken once this machine's gate says so."""
    said: list[str] = []
    follower = Follower(PLACE, said.append, own_gate)
    for _ in range(2):
        assert not follower.look() and live() is None
    assert sum("was never graded: factory grade version=" in text for text in said) == 1
    _take_over_decision(versions[0], PLACE)
    assert not follower.look() and "graded elsewhere only: factory grade version=" in said[-1]
    decide(versions[0], "REJECT")
    assert not follower.look() and "REJECT: prod of hub:team/mail is not taken over: for the test" in said[-1]
    decide(versions[0], "PROMOTE")
    assert [v.sha for v in follower.look()] == [versions[0].sha] == [live()]


def decide(version: Version, decision: Literal["PROMOTE", "REJECT"]) -> None:
    verdict = Verdict(decision=decision, why="for the test", labels=0, plan={}, plan_hash="a plan")
    decisions.log(tables.open_database(), version.task, version.name, "", "", "", verdict)


@pytest.mark.parametrize("fault", ["drop", 503, 429])
def test_a_hub_that_is_away_is_said_once_and_harms_nobody(
    hub: FakeHub, versions: list[Version], fault: str | int
) -> None:
    said: list[str] = []
    follower = Follower(PLACE, said.append)
    follower.look()
    move(versions[1], PROVEN)
    del said[:]
    hub.fault(".*", fault, times=10**6)
    for _ in range(3):
        assert not follower.look() and live() == versions[0].sha
    assert len(said) == 1 and "is away, serving what is here" in said[0]
    hub.faults.clear()
    assert [v.sha for v in follower.look()] == [versions[1].sha]
    assert "hub:team/mail is back" in said


def test_wrong_bytes_leave_the_version_before(hub: FakeHub, versions: list[Version]) -> None:
    said: list[str] = []
    follower = Follower(PLACE, said.append)
    follower.look()
    move(versions[1], PROVEN)
    hub.fault("GET .*safetensors", "wrong", times=99)
    for _ in range(2):
        assert not follower.look() and live() == versions[0].sha
    assert sum("the hash differs" in text for text in said) == 1
    hub.faults.clear()
    assert [v.sha for v in follower.look()] == [versions[1].sha]


def test_wrong_bytes_are_not_fetched_for_ever(hub: FakeHub, versions: list[Version]) -> None:
    follower = Follower(PLACE, lambda text: None)
    hub.fault("GET .*safetensors", "wrong", times=10**6)
    for _ in range(WRONG):
        assert not follower.look()
    seen = len(hub.requests)
    assert not follower.look() and not any("resolve" in r and "safetensors" in r for r in hub.requests[seen:])


def test_it_follows_a_namespace_in_the_background(hub: FakeHub, versions: list[Version]) -> None:
    moved = threading.Event()

    def tell(text: str) -> None:
        if versions[1].sha[:12] in text and "now" in text:
            moved.set()

    with following("hub:team", tell, every=0.05):
        assert live() == versions[0].sha
        move(versions[1], PROVEN)
        assert moved.wait(20)
    assert live() == versions[1].sha
    assert not any(thread.name == "follow" for thread in threading.enumerate())
