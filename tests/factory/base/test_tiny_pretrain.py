"""Making the base: an interrupted build goes on as if nothing had happened, and one below its floors is not written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from factory.base.catalog import TINY
from factory.base.tiny import packing, pretrain, probes
from factory.base.tiny.pretrain import Course
from factory.base.tiny.shape import new_model
from factory.errors import FactoryError

STEPS = 5


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short steps, saved each; nothing is compiled."""
    for module in (packing, pretrain):
        monkeypatch.setattr(module, "TOKENS", 1024)
    monkeypatch.setattr(pretrain, "SAVE_EVERY", 1)
    monkeypatch.setattr(pretrain, "GUIDE_EVERY", 2)
    monkeypatch.setattr(shutil, "which", lambda name: None)


def course(folder: Path) -> Course:
    torch.manual_seed(0)
    model = new_model(AutoTokenizer.from_pretrained(TINY))
    return Course(model, torch.Generator().manual_seed(0), folder / "checkpoint.pt")


def go_on(at: Course, until: int = STEPS) -> dict[str, torch.Tensor]:
    """Train on, killed after step `until`: what is in memory then is lost."""
    encode = packing.encoder(AutoTokenizer.from_pretrained(TINY))
    save = at.save

    def saved() -> None:
        save()
        if at.step == until < STEPS:
            raise KeyboardInterrupt

    at.save = saved  # type: ignore[method-assign]
    pretrain.train(at, encode, 1, STEPS, lambda line: None)
    return at.model.state_dict()


@pytest.mark.slow
def test_an_interrupted_build_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    undisturbed = go_on(course(tmp_path / "one"))
    with pytest.raises(KeyboardInterrupt):
        go_on(course(tmp_path / "other"), until=3)
    second = course(tmp_path / "other")
    assert second.restore() and second.step == 3
    resumed = go_on(second)
    assert all(torch.equal(value, resumed[name]) for name, value in undisturbed.items())


@pytest.mark.slow
def test_a_base_below_its_floors_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(pretrain, "TOKENIZER_ROWS", 3000)
    monkeypatch.setattr(pretrain, "measure", lambda model, encode, n: probes.measure(model, encode, 4))
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "old").touch()
    said: list[str] = []
    with pytest.raises(FactoryError, match=r"below its floors and was not written: .*details 0% < 40%"):
        pretrain.build(tmp_path / "base", steps=1, copy_steps=1, progress=said.append)
    assert [path.name for path in (tmp_path / "base").iterdir()] == ["old"]
    assert any("final: question" in line for line in said)
