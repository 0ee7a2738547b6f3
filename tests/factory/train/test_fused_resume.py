"""Killed at random moments and started again, adapters come out as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from factory.base.build import load_model
from factory.train.fused import Job, train_many
from factory.train.trained import Trained
from tests.factory.train.fused_support import make_base, make_job

ROOT = Path(__file__).parents[3]
PROCESS = """
import sys, torch
from dataclasses import replace
from pathlib import Path
from factory.base.build import load_model
from factory.train.fused import train_many
from tests.factory.train.fused_support import known_base
from {module} import jobs
torch.set_num_threads(1)
base = known_base(Path(sys.argv[1]))
print("started", flush=True)
train_many(jobs(Path(sys.argv[2])), base, load_model(base), checkpoint_seconds=0.0, budget=120)
"""


def jobs(run: Path) -> list[Job]:
    return [
        make_job(run, "a", r=4, rows=80, held_out=6, seed=1),
        make_job(run, "b", r=8, rows=60, batch=2, lr=1e-3, high=20, seed=2),
        make_job(run, "c", r=2, rows=20, batch=1, seed=3),
    ]


def records(job: Job) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (job.run / "metrics.jsonl").read_text().splitlines()]


def test_killed_twice(tmp_path: Path) -> None:
    killed(tmp_path, "tests.factory.train.test_fused_resume", times=2)


def killed(tmp_path: Path, module: str, times: int) -> None:
    """The `jobs` of a module, killed and started again so many times, come out as if nothing had happened."""
    jobs = import_module(module).jobs
    base = make_base(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE"}
    draw = random.Random(time.time_ns())
    for _ in range(times):
        process = subprocess.Popen(
            [sys.executable, "-c", PROCESS.replace("{module}", module), str(tmp_path), str(tmp_path / "killed")],
            env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout and process.stdout.readline() == "started\n"
        before = sum(len(records(job)) for job in jobs(tmp_path / "killed") if (job.run / "metrics.jsonl").is_file())
        wanted = before + draw.randint(1, 15)
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            done = [job for job in jobs(tmp_path / "killed") if (job.run / "metrics.jsonl").is_file()]
            if sum((job.run / "metrics.jsonl").read_text().count("\n") for job in done) >= wanted:
                break
            time.sleep(0.001)
        assert process.poll() is None, "it was done before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model = load_model(base)
    resumed = train_many(jobs(tmp_path / "killed"), base, model, budget=120)
    undisturbed = train_many(jobs(tmp_path / "whole"), base, model, budget=120)
    torch.set_num_threads(threads)
    for one, other in zip(resumed, undisturbed, strict=True):
        assert isinstance(one, Trained) and isinstance(other, Trained)
        assert (one.steps, one.stopped, one.train_tokens) == (other.steps, other.stopped, other.train_tokens)
        assert one.run.name != "a" or abs(one.eval_loss - other.eval_loss) < 1e-5
        saved, expected = (load_file(r.adapter / "adapter_model.safetensors") for r in (one, other))
        assert saved.keys() == expected.keys()
        assert max((saved[k].float() - expected[k].float()).abs().max().item() for k in saved) < 1e-3  # bf16 on disk
    for one, other in zip(jobs(tmp_path / "killed"), jobs(tmp_path / "whole"), strict=True):
        mine, theirs = records(one), records(other)
        assert [r["step"] for r in mine] == [r["step"] for r in theirs]
        for left, right in zip(mine, theirs, strict=True):
            assert left.keys() == right.keys()
            assert all(abs(left[key] - right[key]) < 1e-5 for key in ("loss", "eval_loss") if key in left)
