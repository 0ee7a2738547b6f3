"""Checkpoints beside the training: seldom if they are dear, whole whenever they are read; and the memory's probe."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from factory.base.build import Base
from factory.errors import FactoryError
from factory.train.fused import memory, run, train_many
from factory.train.fused.packing import probe, size
from factory.train.fused.run import Run
from factory.train.fused.saving import COST, Saver
from factory.train.trained import Trained
from tests.factory.train.fused_support import example, examples, make_job

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_dear_checkpoint_comes_seldom() -> None:
    saver = Saver(30.0)
    assert saver.interval(16) == 30
    saver.cost = 2.0
    assert saver.interval(16) == 16 * 2.0 / COST
    assert Saver(0.0).interval(16) == 0


def test_the_training_goes_on_while_one_is_written(
    model: Any, base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk holds the first one back until three more steps are done; what it holds then is of its own step."""
    (job,) = jobs = [make_job(tmp_path, rows=24)]
    held, seen = threading.Event(), []
    write_file = run.write_file

    def slow(path: Path, content: Any) -> None:
        if path.suffix == ".safetensors" and threading.current_thread() is not threading.main_thread():
            assert held.wait(60)
            write_file(path, content)
            seen.append(json.loads(safe_open(path, "pt").metadata()["place"])["step"])
        else:
            write_file(path, content)

    steps: list[int] = []

    def progress(name: str, record: dict[str, Any]) -> None:
        if "loss" in record:
            steps.append(record["step"])
            if record["step"] == 4:
                held.set()

    monkeypatch.setattr(run, "write_file", slow)
    (result,) = train_many(jobs, base, model, checkpoint_seconds=0.0, progress=progress)
    assert steps == [1, 2, 3, 4, 5, 6] and seen[0] == 1
    assert isinstance(result, Trained) and not job.run.joinpath("checkpoint.safetensors").exists()


def test_a_copy_is_not_touched_by_later_steps(model: Any, base: Base, tmp_path: Path) -> None:
    one = Run(make_job(tmp_path), base, model)
    write = one.snapshot()
    before = one.adapter.weights.detach().clone()
    one.adapter.weights.data.add_(1.0)
    write()
    assert torch.equal(safe_open(one.checkpoint, "pt").get_tensor("weights"), before)


def test_the_end_waits_for_what_is_being_written(
    model: Any, base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file = run.write_file

    def slow(path: Path, content: Any) -> None:
        if path.suffix == ".safetensors" and threading.current_thread() is not threading.main_thread():
            time.sleep(0.3)
        write_file(path, content)

    monkeypatch.setattr(run, "write_file", slow)
    job = make_job(tmp_path, rows=8)
    train_many([job], base, model, checkpoint_seconds=0.0)
    assert not (job.run / "checkpoint.safetensors").exists() and (job.run / "trained.json").is_file()


def test_the_probe_is_as_long_as_is_meant() -> None:
    short = examples(20, 0, 6, 40)
    assert size(probe(short, 256)) <= 256 and len(probe(short, 256)) > 1
    (cut,) = probe([example(8000), example(9000)], 256)
    assert len(cut.input_ids) == len(cut.labels) == 256 and cut.input_ids[-1] == example(8000).input_ids[-1]


def test_a_probe_that_does_not_fit_is_made_shorter(
    model: Any, base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured, asked = memory.kept_bytes, []

    def short_of_memory(model: Any, forward: Any) -> int:
        asked.append(1)
        if len(asked) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return measured(model, forward)

    monkeypatch.setattr(memory, "kept_bytes", short_of_memory)
    (result,) = train_many([make_job(tmp_path, "a", rows=8)], base, model)
    assert isinstance(result, Trained) and len(asked) == 2

    def none_left(model: Any, forward: Any) -> int:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(memory, "kept_bytes", none_left)
    with pytest.raises(FactoryError, match="base small leaves no memory to train in"):
        train_many([make_job(tmp_path, "b", rows=8)], base, model)
