"""Every fault of a Hub or of the line to it ends in a finished transfer or a clear error, never in another version."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from factory.registry import aliases, exchange, store
from factory.registry.exchange import pull, push
from factory.registry.places import open_remote, parse
from factory.registry.remote import RemoteError
from factory.registry.store import Version
from tests.factory.registry.conftest import Make, contents, other_home, stored
from tests.fakes.fake_hub import WRITER, FakeHub
from tests.fakes.project import ROOT
from tests.serve.load import until

PLACE, V1 = parse("hub:team/mail"), parse("hub:team/mail@v1")
WEIGHTS = r"GET .*resolve.*safetensors"
DOWNLOADS = [
    WEIGHTS,
    r"GET .*resolve.*version.json",
    r"GET .*resolve.*manifest.json",
    r"GET .*/refs",
    r"HEAD .*safetensors",
]
UPLOADS = ["POST .*/preupload/", "POST .*/batch", "PUT /lfs/", "POST .*/commit/", "POST .*/paths-info/", "POST .*/tag/"]


@pytest.fixture
def pushed(
    hub: FakeHub, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Version, dict[str, bytes]]:
    """Two versions there, of different weights, and a machine that has neither."""
    first = make(1, rank=200)
    for version in (first, make(2, rank=200)):
        push(version, open_remote(PLACE), PLACE)
    before = contents(first)
    other_home(tmp_path / "elsewhere", monkeypatch)
    return first, before


@pytest.mark.parametrize("request_", DOWNLOADS)
@pytest.mark.parametrize("fault", ["cut", "drop", "slow", 429, 503])
def test_a_passing_fault_while_downloading_is_waited_out(
    hub: FakeHub, pushed: tuple[Version, dict[str, bytes]], request_: str, fault: str | int
) -> None:
    hub.fault(request_, fault)
    assert contents(pull(open_remote(V1), V1).version) == pushed[1]
    assert not hub.faults[0][2]


def test_an_interrupted_download_goes_on_where_it_was(
    hub: FakeHub, pushed: tuple[Version, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 4096)  # what came in whole chunks is kept
    hub.fault(WEIGHTS, "cut")
    hub.fault(WEIGHTS, 404, times=9)
    with pytest.raises(RemoteError):
        pull(open_remote(V1), V1)
    assert [r for r in hub.ranges if r], "after the cut it asked for the whole file again"
    assert stored() == [pushed[0].sha]  # what came lies in the quarantine, not in the store
    hub.faults.clear()
    seen = len(hub.requests)
    assert contents(pull(open_remote(V1), V1).version) == pushed[1]
    assert not [r for r in hub.requests[seen:] if "README.md" in r or "manifest.json" in r]


@pytest.mark.parametrize(
    ("request_", "fault"),  # stale: main holds another version; version.json is the same in both
    [*((request, "wrong") for request in DOWNLOADS[:3]), (DOWNLOADS[0], "stale"), (DOWNLOADS[2], "stale")],
)
def test_other_bytes_than_were_pushed_never_enter_the_store(
    hub: FakeHub, pushed: tuple[Version, dict[str, bytes]], request_: str, fault: str
) -> None:
    both = request_.replace("GET", "(GET|HEAD)") if fault == "stale" else request_
    hub.fault(both, fault, times=9)
    with pytest.raises(RemoteError, match="nothing was kept") as caught:
        pull(open_remote(V1), V1)
    assert caught.value.kind == "hash" and not stored()
    assert not aliases.read("mail").versions
    hub.faults.clear()
    assert contents(pull(open_remote(V1), V1).version) == pushed[1]


def test_a_body_that_never_ends_is_given_up(hub: FakeHub, pushed: tuple[Version, dict[str, bytes]]) -> None:
    hub.fault(WEIGHTS, "stuck")
    assert contents(pull(open_remote(V1), V1).version) == pushed[1]


def test_a_hub_that_is_down_is_said_to_be(hub: FakeHub, pushed: tuple[Version, dict[str, bytes]]) -> None:
    hub.fault(WEIGHTS, "drop", times=99)
    with pytest.raises(RemoteError, match="cannot be reached") as caught:
        pull(open_remote(V1), V1)
    assert caught.value.away and "\n" not in str(caught.value) and WRITER not in str(caught.value)


@pytest.mark.parametrize("request_", UPLOADS)
@pytest.mark.parametrize("fault", ["drop", "lost", "cut", 503])
def test_a_passing_fault_while_uploading_leaves_one_version(
    hub: FakeHub, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_: str, fault: str | int
) -> None:
    version = make(1)
    before = contents(version)
    hub.fault(request_, fault)
    push(version, open_remote(PLACE), PLACE)
    assert push(version, open_remote(PLACE), PLACE).release.tag == "v1"
    repo = hub.repos["team/mail"]
    assert list(repo.tags) == ["v1"] and len(repo.commits) == 2
    other_home(tmp_path / "elsewhere", monkeypatch)
    assert contents(pull(open_remote(V1), V1).version) == before


@pytest.mark.parametrize(("number", "request_"), [(signal.SIGINT, "PUT /lfs/"), (signal.SIGTERM, "POST .*/commit/")])
def test_a_hub_that_is_silent_holds_no_signal(
    hub: FakeHub, make: Make, tmp_path: Path, number: int, request_: str
) -> None:
    """Two large files, which the library uploads in threads that it would wait for."""
    version = make(1)
    (tmp_path / "curves.png").write_bytes(b"a picture")
    store.note(version, "run", {"folder": str(tmp_path)})
    hub.fault(request_, "silent", 2)
    words = [sys.executable, "-m", "factory.cli", "push", f"version={version.name}", "to=hub:team/mail"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1"}
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment)
    asked = until(lambda: process.poll() is not None or any(re.search(request_, one) for one in hub.requests))
    assert asked and process.poll() is None, process.communicate()[1]
    process.send_signal(number)
    _, told = process.communicate(timeout=15)
    assert process.returncode == 128 + number and told.splitlines()[-1].startswith("factory: interrupted")
    push(version, open_remote(PLACE), PLACE)
    assert list(hub.repos["team/mail"].tags) == ["v1"]


def test_what_was_uploaded_is_not_uploaded_again(hub: FakeHub, make: Make) -> None:
    version = make(1)
    hub.fault(r"POST .*/commit/", 400)
    with pytest.raises(RemoteError):
        push(version, open_remote(PLACE), PLACE)
    push(version, open_remote(PLACE), PLACE)
    assert sum(r.startswith("PUT /lfs/") for r in hub.requests) == 1


def test_a_hub_that_stores_other_bytes_is_found_out(hub: FakeHub, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.fakes import fake_hub

    monkeypatch.setattr(fake_hub.Blob, "oid", "0" * 40)
    with pytest.raises(RemoteError, match="holds another"):
        push(make(1), open_remote(PLACE), PLACE)


def test_ten_at_once_lose_nothing(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "time", __import__("time"))
    with multiprocessing.get_context("fork").Pool(10) as pool:
        made = pool.starmap(_push_one, [(tmp_path / str(seed), seed) for seed in range(10)])
    catalogue = open_remote(PLACE).read().catalogue
    assert catalogue is not None and {r.sha for r in catalogue.versions} == set(made)
    assert sorted(r.ordinal for r in catalogue.versions) == list(range(1, 11)) and catalogue.generation == 10
    repo = hub.repos["team/mail"]
    assert set(repo.tags) == {f"v{n}" for n in range(1, 11)} and len(repo.commits) == 11
    other_home(tmp_path / "elsewhere", monkeypatch)
    for release in catalogue.versions:
        place = parse(f"hub:team/mail@{release.tag}")
        assert pull(open_remote(place), place).version.sha == release.sha


def _push_one(folder: Path, seed: int) -> str:
    from huggingface_hub import close_session

    from factory.decoding import Decoding
    from factory.registry.store import Facts
    from tests.factory.registry.conftest import plain_adapter, small_base

    close_session()
    os.environ["FACTORY_HOME"] = str(folder / "home")
    small_base()
    facts = Facts(
        task="mail", kind="summary", base="team/small", fingerprint="f" * 64, chat_template="t", prompt="Be brief.",
        decoding=Decoding(), labels=[],
    )  # fmt: skip
    version = store.add(plain_adapter(folder / "adapter", seed), facts)
    aliases.register(version)
    push(version, open_remote(PLACE), PLACE)
    shutil.rmtree(folder / "adapter")
    return version.sha
