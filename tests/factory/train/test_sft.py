"""Training through the command line: the same seed the same version, a killed run goes on, broken runs say why."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
SMALL = ["train.epochs=4", "train.evals=8", "train.patience=0", "data.near=0"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a small cut of the shipped summary task."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "adapters" / "summary", folder / "adapters" / "summary")
    for name in ("defaults.yaml", "general.jsonl"):
        shutil.copy(ROOT / "adapters" / name, folder / "adapters")
    shutil.copytree(ROOT / "rubrics", folder / "rubrics")
    for name, rows in (("train", 96), ("eval", 8)):
        path = folder / "adapters" / "summary" / f"{name}.jsonl"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:rows]))
    return folder


def command(project: Path, home: Path, *changes: str) -> tuple[list[str], dict[str, Any]]:
    words = [sys.executable, "-m", "factory.cli", "train", "task=summary", "base=tiny", *SMALL, *changes, "--json"]
    environment = {**os.environ, "FACTORY_HOME": str(home), "PYTHONPATH": str(ROOT)}
    return words, {
        "cwd": project,
        "env": environment,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
    }


def factory(project: Path, home: Path, *changes: str) -> subprocess.CompletedProcess[str]:
    words, options = command(project, home, *changes)
    return subprocess.run(words, timeout=300, **options)


@pytest.fixture(scope="module")
def undisturbed(project: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    done = factory(project, tmp_path_factory.mktemp("home"))
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout)["versions"][0])


def test_what_a_run_tells(undisturbed: dict[str, Any]) -> None:
    assert undisturbed["task"] == "summary" and undisturbed["base"] == "tiny" and undisturbed["ordinal"] == 1
    assert undisturbed["train_tokens"] > 96 * 4 * 20 and undisturbed["tokens_per_second"] > 0
    assert 0 <= undisturbed["scorecard"]["good"] <= 1 and undisturbed["scorecard"]["n"] == 8
    run = Path(undisturbed["run"])
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [r["loss"] for r in records if "loss" in r]
    assert len(losses) == records[-1]["step"] >= 24 and sum(losses[-5:]) < sum(losses[:5])
    assert sum("eval_loss" in r for r in records) >= 8
    assert (run / "curves.png").stat().st_size > 10_000


def test_the_same_seed_gives_the_same_version(project: Path, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    again = json.loads(factory(project, tmp_path).stdout)["versions"][0]
    assert again["version"] == undisturbed["version"]


def test_a_killed_run_goes_on_to_the_same_version(project: Path, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    words, options = command(project, tmp_path)
    process = subprocess.Popen(words, **options)
    deadline = time.monotonic() + 200
    while len("".join(path.read_text() for path in tmp_path.glob("runs/*/metrics.jsonl")).splitlines()) < 6:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "store").exists()
    resumed = factory(project, tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    made = json.loads(resumed.stdout)["versions"][0]
    assert made["version"] == undisturbed["version"]
    records = [json.loads(line) for line in (Path(made["run"]) / "metrics.jsonl").read_text().splitlines()]
    steps = [record["step"] for record in records if "loss" in record]
    assert steps == list(range(1, len(steps) + 1))


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        (["train.max_length=16"], 2, "train"),
        (["train.report_to=wandb"], 2, "pip install wandb"),
    ],
)
def test_what_cannot_train_says_why(project: Path, tmp_path: Path, changes: list[str], code: int, said: str) -> None:
    done = factory(project, tmp_path, *changes)
    assert done.returncode == code, done.stderr
    assert said in done.stderr and "Traceback" not in done.stderr and done.stdout == ""
    assert not (tmp_path / "store").exists()
