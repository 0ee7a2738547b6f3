"""Trackers: each adapter a run of its own while they train together, and a tracker that breaks costs no training.

The real packages are taken where they are installed; they are no part of the environment that `make` builds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from factory.base.build import Base
from factory.errors import FactoryError
from factory.train import trackers
from factory.train.fused import train_many
from factory.train.trackers import TRACKERS, Reporter, Tracker, Tracking
from factory.train.trained import Trained
from tests.factory.train.fused_support import losses, make_job

pytestmark = pytest.mark.usefixtures("one_thread")


class FakeTracker:
    """Keeps what it is given; from `breaks` records on it fails."""

    def __init__(self, breaks: int = 10**9) -> None:
        self.runs: dict[str, list[Any]] = {}
        self.ended: list[str] = []
        self.facts: dict[str, Any] = {}
        self.breaks = breaks

    def start(self, name: str, folder: Path, facts: dict[str, Any]) -> Tracking:
        self.facts[name] = facts
        kept = self.runs.setdefault(name, [])

        def log(values: dict[str, float], step: int) -> None:
            if len(kept) >= self.breaks:
                raise ConnectionError("no route to host")
            kept.append((step, values))

        return Tracking(log, lambda: self.ended.append(name))


def test_adapters_that_train_together_are_runs_of_their_own(
    model: Any, base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeTracker()
    monkeypatch.setitem(TRACKERS, "wandb", Tracker("json", fake.start))
    jobs = [make_job(tmp_path, name, report_to="wandb", held_out=3, evals=2, seed=at) for at, name in enumerate("ab")]
    train_many(jobs, base, model, until=0.5)
    train_many(jobs, base, model)
    for job in jobs:
        said = fake.runs[job.name]
        assert [step for step, values in said if "loss" in values] == [1, 2, 3, 4, 5, 6]
        assert [values["loss"] for _, values in said if "loss" in values] == losses(job)
        assert sum("eval_loss" in values for _, values in said) == 2
        assert fake.facts[job.name]["lora.r"] == "8" and fake.facts[job.name]["base"] == "small"
    assert sorted(fake.ended) == ["a", "a", "b", "b"]


def test_one_that_breaks_is_told_of_and_left_out(
    model: Any, base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, told = FakeTracker(breaks=2), []
    monkeypatch.setitem(TRACKERS, "comet", Tracker("json", fake.start))
    (result,) = train_many(
        [make_job(tmp_path, report_to="comet")], base, model, progress=lambda name, record: told.append(record)
    )
    assert isinstance(result, Trained) and result.steps == 6 and len(fake.runs["one"]) == 2
    assert [r["remark"] for r in told if "remark" in r] == ["the tracker stopped: no route to host"]


def test_one_that_cannot_be_started_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, folder: Path, facts: dict[str, Any]) -> Tracking:
        raise RuntimeError("no API key")

    monkeypatch.setitem(TRACKERS, "wandb", Tracker("json", refuse))
    with pytest.raises(FactoryError, match="report_to=wandb cannot be started: no API key"):
        Reporter("wandb", "summary", tmp_path, {})


@pytest.mark.parametrize("name", [*TRACKERS])
def test_the_real_one(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(TRACKERS[name].package)
    offline = {"WANDB_MODE": "offline", "COMET_START_ONLINE": "0", "COMET_OFFLINE_DIRECTORY": str(tmp_path / "comet")}
    offline |= {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db", "TRACKIO_DIR": str(tmp_path / "trackio")}
    for key, value in offline.items():
        monkeypatch.setenv(key, value)
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    reporters = [Reporter(name, folder.name, folder, {"lora.r": "8"}) for folder in folders]
    for step in (1, 2):
        for reporter in reporters:
            reporter.log({"step": step, "loss": 1 / step})
    for reporter in reporters:
        reporter.end()
    again = Reporter(name, "one", folders[0], {"lora.r": "8"})
    again.log({"step": 3, "loss": 0.1})
    again.end()
    assert [reporter.said for reporter in (*reporters, again)] == ["", "", ""]


def test_what_is_missing_is_named() -> None:
    assert trackers.missing("none") == ""
    assert trackers.missing("comet") in ("", "comet_ml")
