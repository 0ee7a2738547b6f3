"""The same registry in a folder: on a disk, and in a store of objects that fsspec reaches."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from pathlib import Path

import pytest

from factory.cli import main
from factory.errors import InputError
from factory.home import home, write_json
from factory.registry import aliases, store
from factory.registry.exchange import point, pull, push
from factory.registry.folder import Folder
from factory.registry.places import open_remote, parse, remotes
from factory.registry.remote import Pointer, Remote, RemoteError
from factory.registry.store import FACTS, Version
from factory.verbs.hub import push_
from tests.factory.registry.conftest import Make, contents, other_home, stored


def test_push_and_pull_over_a_disk(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = parse(f"file:{tmp_path}/share/mail")
    first, second = make(1), make(2)
    before = contents(second)
    remote = open_remote(place)
    assert [push(v, remote, place).release.tag for v in (first, second)] == ["v1", "v2"]
    assert not push(first, remote, place).new
    point(remote, place, {"prod": Pointer(sha=second.sha)}, lambda sha: True)
    other_home(tmp_path / "elsewhere", monkeypatch)
    assert contents(pull(open_remote(place), place).version) == before
    assert [r.place for r in remotes(parse(f"file:{tmp_path}/share"))] == [f"file:{tmp_path}/share/mail"]


def test_every_byte_is_on_the_disk_before_the_catalogue_names_it(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut right after a push must not leave a version whose files are empty."""
    flushed: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda handle: flushed.append(os.readlink(f"/proc/self/fd/{handle}")))
    link = os.link
    monkeypatch.setattr(os, "link", lambda source, path: (flushed.append(path), link(source, path))[1])
    place = parse(f"file:{tmp_path}/share/mail")
    push(make(1), open_remote(place), place)
    (folder,) = (tmp_path / "share" / "mail" / "versions").iterdir()
    catalogue = flushed.index(f"{tmp_path}/share/mail/registry/00000001.json")
    for file in (path for path in folder.rglob("*") if path.is_file()):
        at = [n for n, name in enumerate(flushed) if Path(name).parent == file.parent and f".{file.name}." in name]
        assert at and at[0] < flushed.index(str(file.parent), at[0]) < catalogue, file
    assert flushed.index(f"{tmp_path}/share/mail/registry", catalogue) > catalogue


@pytest.mark.parametrize(
    ("place", "meant"),
    [("s3:bucket/mail", "did you mean s3://bucket/mail?"), ("s3:///mail", ""), ("file:gs://bucket/mail", ""),
     ("gs://bucket/mail", "is no place"), ("S3://bucket/mail", "is no place"), ("bucket/mail", "is no place")],
)  # fmt: skip
def test_what_is_no_known_place_is_refused(make: Make, tmp_path: Path, place: str, meant: str,
                                           monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match="is no place") as refused:
        push_({"version": make(1).name, "to": place}, {}, True)
    assert meant in str(refused.value)
    assert {path.name for path in set(tmp_path.iterdir()) - set(before)} <= {"mail-1-2"}


def test_push_and_pull_over_objects(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fsspec's memory file system stands for a bucket: whole objects, and creating only what is not there."""
    remote: Remote = Folder("s3://bucket/mail", "memory://bucket/mail")
    place = parse("s3://bucket/mail@v1")
    version = make(1)
    before = contents(version)
    push(version, remote, parse("s3://bucket/mail"))
    other_home(tmp_path / "elsewhere", monkeypatch)
    assert contents(pull(remote, place).version) == before


def test_another_byte_is_found_and_what_is_missing_is_said(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = parse(f"file:{tmp_path}/share/mail@v1")
    version = make(1)
    push(version, open_remote(place), parse(str(place)))
    (path,) = (tmp_path / "share" / "mail" / "versions").glob("*/adapter_model.safetensors")
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    other_home(tmp_path / "elsewhere", monkeypatch)
    with pytest.raises(RemoteError, match="hash differs"):
        pull(open_remote(place), place)
    path.unlink()
    with pytest.raises(RemoteError, match=r"adapter_model.safetensors is gone"):
        pull(open_remote(place), place)
    with pytest.raises(RemoteError, match="is no registry"):
        pull(open_remote(parse(f"file:{tmp_path}/nothing@v1")), parse(f"file:{tmp_path}/nothing@v1"))
    assert not [name for name in stored() if name != version.sha]


@pytest.mark.parametrize(
    ("later", "what"),
    [({"grammar": "sparql"}, "decoding.grammar 'sparql'"), ({"shape": "table"}, "decoding.shape 'table'")],
    ids=str,
)
def test_a_version_of_a_later_release_says_so(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    later: dict[str, str], what: str,
) -> None:  # fmt: skip
    """It is no damage and no other bytes: whoever has that release can pull it. Over a home that both releases share it
    stands in the list as what it is."""
    before = make(1)
    shutil.copytree(before.folder, folder := home("store", "later"))
    facts = json.loads((folder / FACTS).read_text())
    write_json(folder / FACTS, facts | {"decoding": facts["decoding"] | later})
    sha = store.content_hash(folder)
    version = Version(sha, folder.rename(home("store", sha)), before.facts)
    aliases.register(version)
    assert main(["list"]) == 0
    shown = capsys.readouterr()
    assert "of a newer release" in shown.out and "damaged" not in shown.out and f"it has {what}" in shown.err
    assert main(["list", "--json"]) == 0
    assert [one["state"] for one in json.loads(capsys.readouterr().out)["versions"]] == [None, "of a newer release"]
    place = parse(f"file:{tmp_path}/share/mail")
    push(version, open_remote(place), place)
    other_home(tmp_path / "elsewhere", monkeypatch)
    assert main(["pull", f"from={place}@v1"]) == 1 and not stored()
    why = f"needs a newer release of this project: it has {what}, unknown here; nothing was kept"
    assert capsys.readouterr().err.splitlines()[-1] == f"factory: mail@v1 of {place} {why}"


def test_registries_of_a_later_release_say_so(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """This machine's and one elsewhere; neither is written to."""
    place = f"file:{tmp_path}/share/mail"
    assert main(["push", f"version={make(1).name}", f"to={place}"]) == 0
    (there,) = (tmp_path / "share" / "mail" / "registry").glob("*.json")
    for path, later, what in (
        (there, {"format": 2}, f"{place} needs a newer release of this project: it has format '2', unknown here"),
        (there, {"pace": 1}, f"{place} needs a newer release of this project: it has pace '1', unknown here"),
        (home("registry", "mail.json"), {"pace": 1}, "the registry of mail needs a newer release of this project: it"),
    ):
        before = path.read_text()
        path.write_text(after := json.dumps(json.loads(before) | later))
        for words in (["push", "version=mail@v1", f"to={place}"], ["pull", f"from={place}@v1"]):
            capsys.readouterr()
            assert main(words) == 1
            assert what in capsys.readouterr().err.splitlines()[-1]
        assert path.read_text() == after
        path.write_text(before)
    there.write_text('{"task"')
    assert main(["pull", f"from={place}@v1"]) == 1
    assert f"{place}: its catalogue is damaged: Invalid JSON" in capsys.readouterr().err


def test_facts_that_are_not_understood_are_no_other_bytes(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are as they were pushed, by whoever has other limits."""
    before = make(1)
    shutil.copytree(before.folder, folder := home("store", "other"))
    facts = json.loads((folder / FACTS).read_text())
    write_json(folder / FACTS, facts | {"decoding": facts["decoding"] | {"temperature": 3}})
    sha = store.content_hash(folder)
    place = parse(f"file:{tmp_path}/share/mail")
    push(Version(sha, folder.rename(home("store", sha)), before.facts), open_remote(place), place)
    other_home(tmp_path / "elsewhere", monkeypatch)
    assert main(["pull", f"from={place}@v1"]) == 1 and not stored()
    said = capsys.readouterr().err.splitlines()[-1]
    assert "must not be used: it is not understood here (decoding.temperature Input should be less" in said


def test_a_bucket_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    def missing(url: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(InputError, match="pip install s3fs"):
        open_remote(parse("s3://bucket/mail"))


def test_who_comes_second_gets_the_next_number_and_both_can_be_pulled(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of a lost race carry another number than those of the repetition, at the same length."""
    place = parse(f"file:{tmp_path}/share/mail")
    slow, quick = make(1), make(2)
    create = Folder._create

    def overtaken(self: Folder, path: str, data: bytes) -> None:
        monkeypatch.setattr(Folder, "_create", create)
        assert push(quick, open_remote(place), place).release.tag == "v1"
        create(self, path, data)

    monkeypatch.setattr(Folder, "_create", overtaken)
    assert push(slow, open_remote(place), place).release.tag == "v2"
    other_home(tmp_path / "elsewhere", monkeypatch)
    for which, version in (("v1", quick), ("v2", slow)):
        named = parse(f"{place}@{which}")
        assert pull(open_remote(named), named).version.sha == version.sha


def test_ten_at_once_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with multiprocessing.get_context("fork").Pool(5) as pool:
        made = pool.starmap(_push_one, [(tmp_path, seed) for seed in range(10)])
    catalogue = open_remote(parse(f"file:{tmp_path}/share/mail")).read().catalogue
    assert catalogue is not None and {r.sha for r in catalogue.versions} == set(made)
    assert sorted(r.ordinal for r in catalogue.versions) == list(range(1, 11))
    other_home(tmp_path / "elsewhere", monkeypatch)
    for release in catalogue.versions:
        place = parse(f"file:{tmp_path}/share/mail@{release.tag}")
        assert pull(open_remote(place), place).version.sha == release.sha


def _push_one(folder: Path, seed: int) -> str:
    from factory.decoding import Decoding
    from factory.registry import store
    from factory.registry.store import Facts
    from tests.factory.registry.conftest import plain_adapter, small_base

    os.environ["FACTORY_HOME"] = str(folder / f"home-{seed}")
    small_base()
    facts = Facts(
        task="mail", kind="summary", base="team/small", fingerprint="f" * 64, chat_template="t", prompt="Be brief.",
        decoding=Decoding(), labels=[],
    )  # fmt: skip
    place = parse(f"file:{folder}/share/mail")
    version = store.add(plain_adapter(folder / f"adapter-{seed}" / "adapter", seed), facts)
    push(version, open_remote(place), place)
    return version.sha
