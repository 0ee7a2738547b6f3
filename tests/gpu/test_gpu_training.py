"""Training on one GPU as on the CPU: the weights, company, memory, checkpoints, and a real shape."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from factory.base.build import Base, load_model
from factory.environment import DEFAULTS
from factory.train.fused import ALL, Failed, Job, train_many
from factory.train.fused.layers import Layers
from factory.train.memory import ADAPTER, Shape
from factory.train.trained import Trained
from tests.factory.train.fused_support import final_weights, largest, losses, make_job
from tests.gpu import WITHOUT

ROUNDED = 0.15  # of a matrix's length: what NF4 leaves out
WEIGHT = {"cpu": 1e-4, "cuda": 1e-3}  # how far apart weights in fp32 may be at the end of two ways to the same


def test_a_base_is_the_same_weights_wherever_it_is_loaded(base: Base, model: Any, device: torch.device) -> None:
    full = load_file(base.folder.parent / "full" / "model.safetensors")
    on_cpu = Layers(load_model(base, device="cpu"))
    there = Layers(model)
    for name in (name for name in there.modules if name != "lm_head"):
        ours, theirs = there.weight(name).float().cpu(), on_cpu.weight(name).float()
        assert (ours - theirs).norm() <= 1e-2 * theirs.norm(), name  # kernels may round to bf16 once more
        assert (ours - full[f"{name}.weight"].float()).norm() < ROUNDED * ours.norm(), name


def jobs(folder: Path) -> list[Job]:
    return [make_job(folder, "a", rows=16, r=4), make_job(folder, "b", rows=16, r=8, seed=1, batch=2)]


@pytest.fixture(scope="module")
def together(base: Base, model: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    return final_weights(model, base, jobs(tmp_path_factory.mktemp("together")))


def test_together_is_alone(base: Base, model: Any, together: dict[str, torch.Tensor], tmp_path: Path) -> None:
    for job in jobs(tmp_path):
        alone = final_weights(model, base, [job])[job.name]
        assert largest(alone, together[job.name]) < WEIGHT[model.device.type]


def test_from_a_checkpoint_it_goes_on_as_if_nothing_had_happened(
    base: Base, model: Any, together: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    halves = train_many(jobs(tmp_path), base, model, until=0.5)
    assert all(isinstance(half, Trained) and half.stopped == "paused" for half in halves)
    ends = final_weights(model, base, jobs(tmp_path))
    assert all(largest(ends[name], together[name]) < WEIGHT[model.device.type] for name in together)


def test_two_adapters_learn_at_a_real_shape_in_the_memory_that_was_planned(
    shaped: Any, tmp_path: Path, device: torch.device
) -> None:
    """On the CPU a toy's shape, and nothing of memory: its peak is the process's."""
    cuda = device.type == "cuda"
    rows = {"rows": 12, "low": 100, "high": 240} if cuda else {"rows": 8, "low": 10, "high": 20}
    made = [
        make_job(tmp_path, name, r=16, alpha=32, epochs=3, seed=seed, precision="bf16", **rows)
        for seed, name in enumerate("ab")
    ]
    told: list[dict[str, Any]] = []
    gc.collect()
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    outcome = train_many(
        made, known(tmp_path), shaped, progress=lambda name, record: told.append(record) if name == ALL else None
    )
    assert not [one for one in outcome if isinstance(one, Failed)]
    for job in made:
        steps = losses(job)
        assert sum(steps[-2:]) < sum(steps[:2]), steps
    if cuda:
        shape, longest = Shape.of(shaped.config.to_dict()), max(record.get("row", 0) for record in told)
        weights = shape.layers * max(i * o for i, o in shape.linears) * 2  # bf16 copies, where those are kept
        planned = longest * shape.kept(2) + 2 * shape.lora(16) * ADAPTER + 2**26 * 4 * 3
        measured = torch.cuda.max_memory_allocated() - before
        print(f"planned {planned / 1e9:.2f} GB, measured {measured / 1e9:.2f} GB for rows of {longest} tokens")
        assert planned / 2 < measured < 1.5 * planned + weights


def known(folder: Path) -> Base:
    return Base("random", "random", "", "0" * 64, folder, 1e-3)


@pytest.mark.gpu
def test_the_allocator_gives_segments_that_grow() -> None:
    """What `factory` sets for its own process, in a fresh one; `serve.process.environment` keeps it from an engine."""
    if not torch.cuda.is_available():
        pytest.skip(WITHOUT)
    code = (
        "import json, os; from factory.environment import DEFAULTS; os.environ.update(DEFAULTS | os.environ); "
        "import torch; x = torch.zeros(2**20, device='cuda'); "
        "print(json.dumps([segment['is_expandable'] for segment in torch.cuda.memory_snapshot()]))"
    )
    environment = {key: value for key, value in os.environ.items() if key not in DEFAULTS}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    segments = json.loads(done.stdout.splitlines()[-1])
    assert segments and all(segments)
