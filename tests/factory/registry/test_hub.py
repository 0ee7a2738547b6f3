"""Versions leave for a Hub and come back the same: over real HTTP, with huggingface_hub itself in between."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from factory.errors import FactoryError, InputError
from factory.home import home
from factory.registry import aliases, store
from factory.registry.exchange import point, pull, push
from factory.registry.faults import explained
from factory.registry.hub import Hub
from factory.registry.places import open_remote, parse, remotes
from factory.registry.remote import Place, Pointer, RemoteError
from factory.registry.store import CONFIG, Version
from tests.factory.registry.conftest import Make, contents, other_home
from tests.fakes.fake_hub import READER, WRITER, FakeHub

PLACE = parse("hub:team/mail")
CARD = {"n": 50, "good": 0.8, "average": 0.1, "poor": 0.1, "rubric": "mail", "rubric_hash": "c" * 64, "rows": 50,
        "intervals": {"good": [0.67, 0.89]}, "worst": [{"source": "a private message"}]}  # fmt: skip


def send(version: Version, place: Place = PLACE) -> Hub:
    remote = open_remote(place)
    push(version, remote, place)
    assert isinstance(remote, Hub)
    return remote


def test_push_and_pull_on_another_machine_gives_the_same_bytes(
    hub: FakeHub, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make(1, scorecard=CARD, gate={"decision": "PROMOTE", "why": "better"})
    second = make(2)
    remote = send(first)
    assert push(second, remote, PLACE).release.tag == "v2"
    before = {version.sha: contents(version) for version in (first, second)}
    repo = hub.repos["team/mail"]
    assert repo.private and set(repo.tags) == {"v1", "v2"}
    assert repo.at("v1").files.keys() >= {"README.md", "factory/scorecard.json", "factory/gate.json", "version.json"}  # type: ignore[union-attr]
    assert "factory/scorecard.json" not in repo.at("v2").files  # type: ignore[union-attr]  # of v1, not of v2

    other_home(tmp_path / "elsewhere", monkeypatch)
    for which, sha in (("v2", second.sha), (first.sha[:12], first.sha)):
        place = parse(f"hub:team/mail@{which}")
        pulled = pull(open_remote(place), place)
        assert pulled.new and pulled.version.sha == sha and contents(pulled.version) == before[sha]
        assert str(tmp_path / "elsewhere") in str(pulled.version.folder)
    assert [e.sha for e in aliases.read("mail").versions] == [second.sha, first.sha]
    assert store.noted(store.get(first.sha), "gate") == {"decision": "PROMOTE", "why": "better"}
    assert not pull(open_remote(place), place).new


def test_what_stands_there_is_for_strangers_and_holds_no_rows(hub: FakeHub, make: Make, tmp_path: Path) -> None:
    rows = {"train": 1, "eval": 1, "dropped": 0}
    data = {
        "hash": "d" * 64,
        "rows": rows,
        "files": [{"file": "/home/me/mails.jsonl"}],
        "closest": ["a private message"],
    }
    built = home("data", "d" * 64)
    built.mkdir()
    for name in ("train.jsonl", "eval.jsonl"):
        (built / name).write_text('{"prompt": "a private message"}\n')
    recipe = {"card": {"data_license": "cc-by-4.0", "datasets": ["team/mails"]}}
    (tmp_path / "curves.png").write_bytes(b"\x89PNG of the losses")
    version = make(1, scorecard=CARD, data=data, recipe=recipe, run={"folder": str(tmp_path)})
    remote = send(version)
    files = {name: blob.data for name, blob in hub.repos["team/mail"].at("main").files.items()}  # type: ignore[union-attr]
    config = json.loads(files[CONFIG])
    assert (config["base_model_name_or_path"], config["revision"]) == ("team/small", "a" * 40)
    manifest = json.loads(files["factory/manifest.json"])
    assert manifest["base"] == {"id": "team/small", "revision": "a" * 40, "fingerprint": "f" * 64}
    assert files["factory/curves.png"] == b"\x89PNG of the losses" and b"](factory/curves.png)" in files["README.md"]
    about = json.loads(files["factory/data.json"])
    assert (about["hash"], about["rows"], about["license"], about["datasets"]) == (
        "d" * 64,
        rows,
        "cc-by-4.0",
        ["team/mails"],
    )
    assert about["sha256"]["train.jsonl"] == hashlib.sha256((built / "train.jsonl").read_bytes()).hexdigest()
    everything = b"".join(files.values())
    assert b"private message" not in everything and b"/home/me" not in everything and b"mails.jsonl" in everything
    push(make(2, data=data), remote, PLACE, with_data=True)
    assert (
        hub.repos["team/mail"].at("v2").files["factory/data/train.jsonl"].data == (built / "train.jsonl").read_bytes()
    )  # type: ignore[union-attr]


def test_pushing_again_does_nothing(hub: FakeHub, make: Make) -> None:
    version = make(1)
    remote = send(version)
    commits, written = len(hub.repos["team/mail"].commits), len(hub.requests)
    again = push(version, remote, PLACE)
    assert not again.new and again.release.tag == "v1"
    assert len(hub.repos["team/mail"].commits) == commits
    assert not [r for r in hub.requests[written:] if not r.startswith("GET")]


def test_a_push_that_was_cut_before_its_tag_is_finished_by_the_next(hub: FakeHub, make: Make) -> None:
    version = make(1)
    hub.fault("POST .*/tag/", 403)
    with pytest.raises(RemoteError):
        send(version)
    repo = hub.repos["team/mail"]
    assert not repo.tags
    assert pull(open_remote(PLACE), parse("hub:team/mail@v1")).version == version  # found by its title
    assert not push(version, open_remote(PLACE), PLACE).new
    assert repo.at("v1").title.endswith(version.sha)  # type: ignore[union-attr]


def test_aliases_move_only_from_what_is_known(
    hub: FakeHub, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make(1), make(2)
    remote = send(first)
    push(second, remote, PLACE)
    mine = {first.sha, second.sha}.__contains__
    gate = {"decision": "PROMOTE", "why": "better"}
    assert point(remote, PLACE, {"prod": Pointer(sha=first.sha, gate=gate)}, mine)
    assert not point(remote, PLACE, {"prod": Pointer(sha=first.sha, gate=gate)}, mine)
    assert pull(remote, parse("hub:team/mail@prod")).gate == gate
    other_home(tmp_path / "elsewhere", monkeypatch)
    with pytest.raises(FactoryError, match="someone else moved it"):
        point(remote, PLACE, {"prod": Pointer(sha=second.sha)}, lambda sha: False)
    assert remote.read().catalogue.aliases["prod"].sha == first.sha  # type: ignore[union-attr]


def test_a_namespace_is_listed(hub: FakeHub, make: Make) -> None:
    send(make(1))
    send(make(1, task="chat"), parse("hub:team/chat"))
    send(make(1, task="chat"), parse("hub:others/chat"))
    assert [remote.place for remote in remotes(parse("hub:team"))] == ["hub:team/chat", "hub:team/mail"]
    with pytest.raises(InputError, match="name the repository too"):
        open_remote(parse("hub:team"))


def test_another_task_or_base_is_refused(
    hub: FakeHub, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = send(make(1))
    with pytest.raises(InputError, match="holds the versions of mail"):
        push(make(1, task="chat"), remote, PLACE)
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path / "elsewhere"))
    from factory.base import build
    from tests.factory.registry.conftest import small_base

    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(build, "prepare", lambda *words: asked.append(words) or small_base("e" * 64))
    with pytest.raises(FactoryError, match=r"mail@v1 of team/small: it was trained on another build of small"):
        pull(remote, parse("hub:team/mail@v1"))
    assert asked == [("team/small", "a" * 40)], "at the commit that it was trained on"


def test_errors_are_told_apart(hub: FakeHub, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    version = make(1)
    remote = send(version)
    shutil.rmtree(version.folder)

    def kind(place: str = "hub:team/mail@v1") -> str:
        with pytest.raises(FactoryError) as caught:
            pull(open_remote(parse(place)), parse(place))
        assert "\n" not in str(caught.value) and WRITER not in str(caught.value)
        return caught.value.kind if isinstance(caught.value, RemoteError) else type(caught.value).__name__

    def sent() -> str:
        with pytest.raises(RemoteError) as caught:
            push(make(7), open_remote(PLACE), PLACE)
        return caught.value.kind

    assert kind("hub:team/nothing@v1") == "no repo"
    assert kind("hub:team/mail@v9") == "InputError"
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 34)
    assert kind() == "token"
    monkeypatch.setenv("HF_TOKEN", READER)
    assert sent() == "no access"
    monkeypatch.setenv("HF_TOKEN", WRITER)
    hub.full = True
    assert sent() == "quota"
    hub.full = False
    hub.repos["team/mail"].gated = True
    monkeypatch.setenv("HF_TOKEN", READER)
    assert kind() == "gated"
    hub.repos["team/mail"].gated = False
    monkeypatch.setenv("HF_TOKEN", WRITER)
    hub.fault("GET ", 429, 99)
    assert kind() == "quota"
    hub.faults.clear()
    hub.fault("GET ", 503, 99)
    assert kind() == "server"
    hub.faults.clear()
    del hub.repos["team/mail"].tags["v1"]
    hub.repos["team/mail"].commits[hub.repos["team/mail"].branches["main"]].title = "rewritten"
    assert kind() == "no revision"
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert kind() == "offline"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert kind() == "network"
    assert remote.place == "hub:team/mail"


@pytest.mark.parametrize("secret", ["hf_" + "w" * 34, "sk-" + "a1" * 20, "https://me:hunter2hunter2@host/x"])
def test_secrets_never_leave(hub: FakeHub, make: Make, secret: str) -> None:
    version = make(1, recipe={"task": "mail", "description": f"see {secret}"})
    with pytest.raises(InputError) as caught:
        push(version, open_remote(PLACE), PLACE)
    assert secret not in str(caught.value) and "README.md" in str(caught.value)
    assert not any(secret.encode() in body for body in hub.bodies)
    assert hub.repos["team/mail"].commits.keys() == {hub.repos["team/mail"].branches["main"]}


def test_what_the_hub_says_of_a_secret_is_not_repeated(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers echo headers and URLs in their errors, and these end in terminals and logs."""
    monkeypatch.setenv("MY_PASSWORD", "correct horse battery")
    echoed = f"no: Bearer {WRITER}, https://me:hunter2@host/x, correct horse battery"
    with pytest.raises(RemoteError) as caught, explained("hub:team/mail", "read"):
        raise ValueError(echoed)
    text = str(caught.value)
    assert text.count("***") == 3 and not any(s in text for s in (WRITER, "hunter2", "horse"))
    with pytest.raises(InputError) as refused:
        parse("s3://AKIA:hunter2@bucket/mail")
    assert "AWS_SECRET_ACCESS_KEY" in str(refused.value) and "hunter2" not in str(refused.value)


@pytest.mark.parametrize("text", ["mail", "hub:", "hub:a/b/c", "ftp://x/y", "hub:a b/c"])
def test_a_wrong_place_says_how_one_is_written(text: str) -> None:
    with pytest.raises(InputError, match="hub:<namespace>"):
        parse(text)
