"""Versions and their names: the same content is the same version, names move only whole, nothing is lost in a race."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from factory.decoding import Decoding
from factory.errors import FactoryError, InputError
from factory.registry import aliases, store


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def make(folder: Path, seed: int = 0, prompt: str = "Be brief.", task: str = "mail") -> store.Version:
    """A version with random weights, added to the store."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {"x.lora_A.weight": torch.randn(2, 4, generator=torch.Generator().manual_seed(seed))}
    save_file(weights, folder / store.WEIGHTS)
    config = {"r": 2, "base_model_name_or_path": str(folder), "target_modules": ["v", "q"], "peft_version": "1"}
    (folder / store.CONFIG).write_text(json.dumps(config))
    facts = store.Facts(
        task=task, kind="summary", base="tiny", fingerprint="f" * 64, chat_template="t", prompt=prompt,
        decoding=Decoding(), labels=[],
    )  # fmt: skip
    return store.add(folder, facts)


def test_the_hash_covers_what_changes_answers_and_not_where_it_was_made(tmp_path: Path) -> None:
    one, two = make(tmp_path / "a" / "adapter"), make(tmp_path / "b" / "adapter")
    assert one == two
    assert make(tmp_path / "c" / "adapter", seed=1).sha != one.sha
    assert make(tmp_path / "d" / "adapter", prompt="Be long.").sha != one.sha
    store.verify(one)


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    version = make(tmp_path / "adapter")
    path = version.folder / store.WEIGHTS
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(FactoryError, match="damaged"):
        store.verify(version)


@pytest.mark.parametrize("harm", ["a byte", "a missing file", "facts that are no JSON"])
def test_what_is_damaged_is_replaced_when_it_comes_again(tmp_path: Path, own_home: Path, harm: str) -> None:
    """Trained or pulled again: the same content under the same name, whole, with the number and the names it had."""
    version = make(tmp_path / "adapter")
    aliases.register(version)
    aliases.point(version)
    path = version.folder / (store.FACTS if "facts" in harm else store.WEIGHTS)
    data = path.read_bytes()
    path.chmod(0o644)
    if harm == "a missing file":
        path.unlink()
    else:
        path.write_bytes(data[:-1] + b"!")
    assert "damaged" in store.fault(version.sha)
    assert make(tmp_path / "adapter") == version and path.read_bytes() == data
    store.verify(aliases.resolve("mail"))
    assert store.fault(version.sha) == "" and [p.name for p in (own_home / "store").iterdir()] == [version.sha]
    assert aliases.register(version).ordinal == 1


def test_nothing_half_written_stays(tmp_path: Path, own_home: Path) -> None:
    (tmp_path / "adapter").mkdir()
    with pytest.raises(FileNotFoundError):
        store.add(tmp_path / "adapter", make(tmp_path / "x" / "adapter").facts)
    assert [len(p.name) for p in (own_home / "store").iterdir()] == [64]


def test_names(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a" / "adapter"), make(tmp_path / "b" / "adapter", seed=1)
    with pytest.raises(InputError, match="has no version yet"):
        aliases.resolve("mail")
    assert [aliases.register(v).ordinal for v in (first, second, first)] == [1, 2, 1]
    with pytest.raises(InputError, match="factory promote version=mail@v2"):
        aliases.resolve("mail")
    aliases.point(first)
    assert aliases.resolve("mail") == aliases.resolve("mail@prod") == aliases.resolve("mail@v1") == first
    assert aliases.resolve(second.name) == second
    assert aliases.label(second) == f"mail@v2 ({second.sha[:12]})"
    for wrong in ("mail@v3", "mail@canary", "mail@123456", "mail@../x"):
        with pytest.raises(InputError, match="has no version"):
            aliases.resolve(wrong)
    with pytest.raises(InputError, match="did you mean mail"):
        aliases.resolve("mial")


def test_promote_and_rollback(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a" / "adapter"), make(tmp_path / "b" / "adapter", seed=1)
    for version in (first, second):
        aliases.register(version)
        aliases.point(version)
    assert aliases.rollback("mail") == first == aliases.resolve("mail")
    with pytest.raises(InputError, match="no earlier version"):
        aliases.rollback("mail")


def test_a_way_back_that_is_damaged_moves_nothing(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a" / "adapter"), make(tmp_path / "b" / "adapter", seed=1)
    for version in (first, second):
        aliases.register(version)
        aliases.point(version)
    before = aliases.read("mail")
    path = first.folder / store.WEIGHTS
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(FactoryError, match="is damaged"):
        aliases.rollback("mail")
    path.unlink()
    with pytest.raises(FactoryError, match="safetensors is gone"):
        aliases.rollback("mail")
    assert aliases.read("mail") == before and aliases.resolve("mail") == second


def test_a_retired_task_means_nothing_until_it_is_brought_back(tmp_path: Path, own_home: Path) -> None:
    first, second = make(tmp_path / "a" / "adapter"), make(tmp_path / "b" / "adapter", seed=1)
    with pytest.raises(InputError, match="has no version yet"):
        aliases.retire("mail")
    assert not [*(own_home / "registry").glob("mail*")]
    aliases.register(first)
    with pytest.raises(InputError, match="nothing to retire"):
        aliases.retire("mail")
    aliases.point(first)
    aliases.register(second)
    aliases.point(second, "canary")
    assert aliases.retire("mail").aliases == {}
    with pytest.raises(InputError, match="no version of mail is promoted"):
        aliases.resolve("mail")
    assert aliases.resolve("mail@v1") == first
    assert aliases.rollback("mail") == first == aliases.resolve("mail")


def test_compare_and_swap(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a" / "adapter"), make(tmp_path / "b" / "adapter", seed=1)
    aliases.register(first)
    aliases.register(second)
    seen = aliases.read("mail").generation
    aliases.point(first, expected=seen)
    with pytest.raises(FactoryError, match="someone else"):
        aliases.point(second, expected=seen)
    assert aliases.resolve("mail") == first


def _add(folder: Path, seed: int) -> None:
    aliases.register(make(folder / str(seed) / "adapter", seed))


def test_ten_processes_register_at_once(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(5) as pool:
        pool.starmap(_add, [(tmp_path, seed) for seed in range(10)])
    registry = aliases.read("mail")
    assert sorted(entry.ordinal for entry in registry.versions) == list(range(1, 11))
    assert len({entry.sha for entry in registry.versions}) == 10 == registry.generation
