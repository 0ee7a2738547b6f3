"""Bases that stay what they are: an earlier release's, one whose folder was moved, one that its maker changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from factory.base.build import Base, base_of, prepare
from factory.base.fingerprint import fingerprints
from factory.errors import FactoryError
from factory.registry.preflight import Refused, preflight
from tests.fakes.adapters import register
from tests.tiny_base import TINY


@pytest.fixture
def own_home(base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with the tests' base in it, prepared before."""
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path / "home"))
    shutil.copytree(base.folder, tmp_path / "home" / "bases" / base.folder.name)
    return tmp_path / "home"


def changed(path: Path, **values: Any) -> None:
    path.chmod(0o644)
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_the_fingerprint_covers_all_that_changes_answers(base: Base, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(base.folder, folder)
    now, earlier = fingerprints(folder)
    assert (now, earlier) == (base.fingerprint, base.also) and now != earlier
    for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
        changed(folder / name, transformers_version="9.9.9")
    assert fingerprints(folder) == (now, earlier)
    seen = {now}
    changed(folder / "tokenizer_config.json", add_bos_token=True)
    seen.add(fingerprints(folder)[0])
    changed(folder / "generation_config.json", eos_token_id=7)
    seen.add(fingerprints(folder)[0])
    (folder / "tokenizer.model").write_bytes(b"pieces")
    seen.add(fingerprints(folder)[0])
    assert len(seen) == 4 and fingerprints(folder)[1] == earlier


def test_adapters_of_an_earlier_releases_base_go_on_to_fit(base: Base, own_home: Path) -> None:
    """On the machine where it was prepared it keeps its name; where it is prepared now, that name is known."""
    (file,) = own_home.glob("bases/*/base.json")
    known = json.loads(file.read_text())
    file.write_text(json.dumps({key: known[key] for key in known if key != "also"} | {"fingerprint": base.also}))
    old = prepare(base.name)
    assert old.fingerprint == base.also and old.also == base.fingerprint == prepare(base.name).also
    version = register(old, "mail", 1)
    for here in (old, base):
        preflight(version, here, 8)
        assert base_of(base.name, version.facts.fingerprint).owns(here.fingerprint)
    preflight(register(base, "mail", 2), old, 8)
    with pytest.raises(Refused, match="trained on another base"):
        preflight(register(base, "mail", 3, fingerprint="0" * 64), old, 8)
    file.write_text(json.dumps({key: known[key] for key in known if key != "also"} | {"fingerprint": base.also}))
    changed(file.parent / "tokenizer.json", version="2.0")
    with pytest.raises(FactoryError, match=r"base tiny is not what it was when it was prepared.*remove .*bases/"):
        prepare(base.name)


def test_a_folder_that_was_moved_is_the_same_base(own_home: Path, tmp_path: Path) -> None:
    shutil.copytree(TINY, tmp_path / "before" / "mine")
    first = prepare(str(tmp_path / "before" / "mine"))
    (tmp_path / "before").rename(tmp_path / "after")
    second = prepare(str(tmp_path / "after" / "mine"))
    assert (second.folder, second.fingerprint) == (first.folder, first.fingerprint)
    assert second.name == str(tmp_path / "after" / "mine")
    assert base_of(first.name, first.fingerprint) == second, "versions name the old path and find the new one"
    changed(tmp_path / "after" / "mine" / "generation_config.json", eos_token_id=7)
    assert prepare(second.name).folder != first.folder, "another model is another base"


def test_weights_in_another_file_are_other_weights(own_home: Path, tmp_path: Path) -> None:
    shutil.copytree(TINY, tmp_path / "mine")
    first = prepare(str(tmp_path / "mine"))
    (tmp_path / "mine" / "pytorch_model.bin").write_bytes(b"others")
    assert prepare(str(tmp_path / "mine")).folder != first.folder


def test_a_folder_is_read_once_and_again_when_it_changed(own_home: Path, tmp_path: Path) -> None:
    """A command asks for its base several times. What this process reads is counted by Linux."""

    def read() -> int:
        return int(dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())["rchar"])

    shutil.copytree(TINY, tmp_path / "mine")
    weights = max((tmp_path / "mine").glob("*.safetensors"), key=lambda path: path.stat().st_size)
    first, before, size = prepare(str(tmp_path / "mine")), read(), weights.stat().st_size
    assert prepare(str(tmp_path / "mine")) == first and read() - before < size
    weights.chmod(0o644)
    with open(weights, "r+b") as file:  # as long as before, one bit of the last weight another one
        file.seek(-1, 2)
        last = file.read(1)[0]
        file.seek(-1, 2)
        file.write(bytes([last ^ 1]))
    assert prepare(str(tmp_path / "mine")).revision != first.revision and read() - before > size


def test_a_base_of_the_hub_stays_at_its_commit(
    own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str | None] = []
    newest = ["a" * 40]

    def snapshot(source: str, revision: str | None = None, **_: Any) -> str:
        """A Hub whose newest commit moves; each is a model of its own."""
        asked.append(revision)
        folder = tmp_path / (revision or newest[0])
        if not folder.exists():
            shutil.copytree(TINY, folder)
            changed(folder / "generation_config.json", max_length=ord(folder.name[0]))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    first = prepare("team/tiny")
    assert (
        first.revision == "a" * 40
        and "its commit aaaaaaaaaaaa is what adapters are trained on" in capsys.readouterr().err
    )
    newest[0] = "b" * 40
    assert prepare("team/tiny") == first and len(asked) == 1 and not capsys.readouterr().err
    assert base_of("team/tiny", first.fingerprint) == first
    shutil.rmtree(first.folder)
    again = base_of("team/tiny", first.fingerprint, "a" * 40)
    assert again == first and asked[-1] == "a" * 40, "whoever pulls a version gets the base that it was trained on"
    shutil.rmtree(first.folder)
    assert prepare("team/tiny").fingerprint != first.fingerprint
    with pytest.raises(FactoryError, match="trained on another build of tiny"):
        base_of("team/tiny", first.fingerprint)
