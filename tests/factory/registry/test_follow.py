"""A server that follows a registry elsewhere: proven versions come, others do not, a Hub that is away harms nobody."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from evals import decisions, tables
from evals.gate import Verdict
from factory.base import build
from factory.errors import FactoryError, InputError
from factory.home import digest, home
from factory.registry import aliases
from factory.registry.exchange import point, push
from factory.registry.follow import WRONG, Follower, following
from factory.registry.places import open_remote, parse
from factory.registry.remote import Pointer
from factory.registry.store import Version
from factory.registry.trust import NAMESPACE, Named, Trust, trusted
from factory.verbs.hub import _take_over_decision, own_gate, push_
from factory.verbs.serve import serve
from tests.factory.registry.conftest import Make, Signer, other_home
from tests.fakes.fake_hub import FakeHub

PLACE = parse("hub:team/mail")
PROVEN, UNPROVEN = {"decision": "PROMOTE", "why": "better"}, {"decision": "REJECT", "why": "worse"}


def live() -> str | None:
    return aliases.read("mail").aliases.get("prod")


Move = Callable[..., None]


@pytest.fixture
def trust(lee: Signer) -> Trust:
    return Trust(tasks={"mail": str(PLACE)}, signers=(lee.line,))


@pytest.fixture
def move(lee: Signer) -> Move:
    """Let prod mean a version there, as lee, who signs it, or as `by` (None: nobody signs)."""

    def moved(version: Version, gate: dict[str, str] | None, by: Signer | None = lee) -> None:
        pointer = Pointer(sha=version.sha, gate=gate)
        point(open_remote(PLACE), PLACE, {"prod": by.signed(pointer) if by else pointer}, lambda sha: True)

    return moved


@pytest.fixture
def versions(hub: FakeHub, make: Make, move: Move, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Version]:
    """Three versions made on another machine; the first is live there. Here nothing is yet."""
    made = [make(seed) for seed in (1, 2, 3)]
    for version in made:
        push(version, open_remote(PLACE), PLACE)
    move(made[0], PROVEN)
    other_home(tmp_path / "server", monkeypatch)
    return made


def test_it_takes_over_what_was_proven_and_nothing_else(
    hub: FakeHub, versions: list[Version], move: Move, trust: Trust
) -> None:
    said: list[str] = []
    follower = Follower(trust, said.append)
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
    follower = Follower(Named(place=PLACE), said.append, own_gate)
    for _ in range(2):
        assert not follower.look() and live() is None
    assert sum("was never graded: factory grade version=" in text for text in said) == 1
    _take_over_decision(versions[0], PLACE)
    assert not follower.look() and "graded elsewhere only: factory grade version=" in said[-1]
    decide(versions[0], "REJECT")
    assert not follower.look() and "REJECT: prod of hub:team/mail is not taken over: for the test" in said[-1]
    decide(versions[0], "PROMOTE")
    assert [v.sha for v in follower.look()] == [versions[0].sha] == [live()]


def decide(version: Version, decision: Literal["PROMOTE", "REJECT"], against: str = "") -> None:
    verdict = Verdict(decision=decision, why="for the test", labels=0, plan={}, plan_hash="a plan")
    decisions.log(tables.open_database(), version.task, version.name, against, "", "", verdict)


@pytest.mark.parametrize("fault", ["drop", 503, 429])
def test_a_hub_that_is_away_is_said_once_and_harms_nobody(
    hub: FakeHub, versions: list[Version], move: Move, trust: Trust, fault: str | int
) -> None:
    said: list[str] = []
    follower = Follower(trust, said.append)
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


def test_wrong_bytes_leave_the_version_before(hub: FakeHub, versions: list[Version], move: Move, trust: Trust) -> None:
    said: list[str] = []
    follower = Follower(trust, said.append)
    follower.look()
    move(versions[1], PROVEN)
    hub.fault("GET .*safetensors", "wrong", times=99)
    for _ in range(2):
        assert not follower.look() and live() == versions[0].sha
    assert sum("the hash differs" in text for text in said) == 1
    hub.faults.clear()
    assert [v.sha for v in follower.look()] == [versions[1].sha]


def test_wrong_bytes_are_not_fetched_for_ever(hub: FakeHub, versions: list[Version], move: Move, trust: Trust) -> None:
    follower = Follower(trust, lambda text: None)
    hub.fault("GET .*safetensors", "wrong", times=10**6)
    for _ in range(WRONG):
        assert not follower.look()
    seen = len(hub.requests)
    assert not follower.look() and not any("resolve" in r and "safetensors" in r for r in hub.requests[seen:])


def test_it_follows_a_namespace_in_the_background(hub: FakeHub, versions: list[Version], move: Move) -> None:
    moved = threading.Event()
    decide(versions[0], "PROMOTE")
    decide(versions[1], "PROMOTE", versions[0].name)

    def tell(text: str) -> None:
        if versions[1].sha[:12] in text and "now" in text:
            moved.set()

    with following(trusted("hub:team"), tell, own_gate, every=0.05):
        assert live() == versions[0].sha
        move(versions[1], None)
        assert moved.wait(20)
    assert live() == versions[1].sha
    assert not any(thread.name == "follow" for thread in threading.enumerate())


def test_a_promotion_counts_only_as_somebody_on_the_list_signed_it(
    hub: FakeHub, versions: list[Version], move: Move, trust: Trust, lee: Signer, tmp_path: Path
) -> None:
    """A decision that anybody may have written is none: unsigned, by a stranger, or signed for something else."""
    said: list[str] = []
    follower, stranger = Follower(trust, said.append), Signer.new(tmp_path, "eve")
    for by in (None, stranger):
        move(versions[1], PROVEN, by)
        assert not follower.look() and live() is None and "nobody on the list of signers" in said[-1]
    true = lee.signed(Pointer(sha=versions[1].sha, gate=PROVEN))
    nothing = Pointer(sha=true.sha, signed=true.signed, signature="no signature at all")
    for wrong in (
        lee.signed(Pointer(sha=versions[2].sha, gate=PROVEN)),  # another version
        lee.signed(Pointer(sha=versions[1].sha, gate=UNPROVEN)),  # another decision
        lee.signed(Pointer(sha=versions[1].sha, gate=PROVEN), alias="canary"),
        lee.signed(Pointer(sha=versions[1].sha, gate=PROVEN), task="other"),
        true.model_copy(update={"signed": (true.signed or 0) + 1}),  # another time
        nothing,
    ):
        forged = {"prod": true.model_copy(update={"signature": wrong.signature, "signed": wrong.signed})}
        point(open_remote(PLACE), PLACE, forged, lambda sha: True)
        assert not follower.look() and live() is None
    point(open_remote(PLACE), PLACE, {"prod": true}, lambda sha: True)
    assert [v.sha for v in follower.look()] == [versions[1].sha] == [live()]


def test_an_old_registry_that_is_served_again_takes_nothing_back(
    hub: FakeHub, versions: list[Version], move: Move, trust: Trust, lee: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may write there can serve every signed promotion that ever was; also to a follower that was restarted."""
    said: list[str] = []
    follower = Follower(trust, said.append)
    follower.look()
    old = open_remote(PLACE).read().catalogue
    move(versions[1], PROVEN)
    follower.look()
    assert old and live() == versions[1].sha
    for each in (follower, Follower(trust, said.append)):
        point(open_remote(PLACE), PLACE, old.aliases, lambda sha: True)
        assert not each.look() and live() == versions[1].sha and "an old registry is served again" in said[-1]
    for alias, sha in (("prod", versions[0].sha), ("canary", versions[2].sha)):  # signed before signatures held a time
        body = digest({"format": 1, "task": "mail", "alias": alias, "sha": sha, "gate": PROVEN}).encode()
        command = ["ssh-keygen", "-Y", "sign", "-q", "-f", lee.key, "-n", NAMESPACE]
        made = subprocess.run(command, input=body, capture_output=True, check=True).stdout.decode()
        point(open_remote(PLACE), PLACE, {alias: Pointer(sha=sha, gate=PROVEN, signature=made)}, lambda sha: True)
    assert [v.sha for v in follower.look()] == [versions[2].sha] and live() == versions[1].sha
    move(versions[0], PROVEN)  # signed anew it may go back
    assert [v.sha for v in follower.look()] == [versions[0].sha] == [live()]
    with monkeypatch.context() as ahead:
        ahead.setattr(time, "time_ns", lambda: 2**62)
        move(versions[2], PROVEN)
    assert not follower.look() and "signed in the future" in said[-1] and live() == versions[0].sha


def test_no_repository_gives_another_ones_task(
    hub: FakeHub, make: Make, lee: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may write one repository of a namespace has no say about the tasks of the others."""
    evil, place = make(9, task="mail"), parse("hub:team/notes")
    push(evil, open_remote(place), place)
    point(open_remote(place), place, {"prod": lee.signed(Pointer(sha=evil.sha, gate=PROVEN))}, lambda sha: True)
    other_home(tmp_path / "server", monkeypatch)
    decide(evil, "PROMOTE")
    said: list[str] = []
    for whom in (trusted("hub:team"), Trust(tasks={"notes": str(place)}, signers=(lee.line,))):
        follower = Follower(whom, said.append, own_gate)
        assert not follower.look() and aliases.registered() == []
        assert "says that it holds mail, but here it stands for notes" in said[-1]
    follower = Follower(Trust(tasks={"mail": str(place)}, signers=(lee.line,)), said.append)
    assert [v.sha for v in follower.look()] == [evil.sha]  # the follower's own list may say so


def test_a_publisher_does_not_choose_what_base_is_fetched(
    hub: FakeHub, versions: list[Version], trust: Trust, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []

    def prepare(name: str, revision: str = "") -> None:
        fetched.append(name)
        raise FactoryError("fetched")

    monkeypatch.setattr(build, "prepare", prepare)
    (home("bases", "x").parent / f"small-{'f' * 12}" / "base.json").unlink()
    said: list[str] = []
    assert not Follower(trust, said.append).look()
    assert not fetched and "needs the base team/small, which is not here and not on the list" in said[-1]
    assert not Follower(trust.model_copy(update={"bases": ("team/small",)}), said.append).look()
    assert fetched == ["team/small"]


def test_the_list_is_a_file_that_names_its_faults(tmp_path: Path) -> None:
    file = tmp_path / "follow.yaml"
    file.write_text("tasks: {mail: hub:team/mail}\nsigners: [lee@example.org ssh-ed25519 AAAA]\n")
    found = trusted(str(file))
    assert [(task, remote.place) for task, remote in found.remotes()] == [("mail", "hub:team/mail")]
    for text, fault in (
        ("task: {}\n", "did you mean tasks"), ("tasks: {}\n", "at least 1"), ("tasks: {mail: team}\n", "is no place"),
    ):  # fmt: skip
        file.write_text(text)
        with pytest.raises(InputError, match=fault):
            trusted(str(file))
    with pytest.raises(InputError, match="gate=theirs needs a list of signers"):
        serve({"registry": "hub:team", "gate": "theirs"}, {}, True)


def test_a_push_signs_what_it_lets_prod_mean(
    hub: FakeHub, make: Make, lee: Signer, trust: Trust, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(1, gate=PROVEN)
    aliases.point(made)
    with pytest.raises(InputError, match="there is no such file"):
        push_({"task": "mail", "to": str(PLACE), "sign": str(tmp_path / "none")}, {}, True)
    push_({"task": "mail", "to": str(PLACE), "sign": lee.key}, {}, True)
    other_home(tmp_path / "server", monkeypatch)
    assert [v.sha for v in Follower(trust).look()] == [made.sha]
