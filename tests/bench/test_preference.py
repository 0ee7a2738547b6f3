"""`factory bench only=preference`: both sides learn as many steps, and are held to the same held-out accuracy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import gain, preference
from bench.training import ours
from tests.fakes.project import ROOT, inside, write
from tests.tiny_base import TINY


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # as the verb has it
    return write(tmp_path / "project", train=16, evaluation=4)


def test_the_time_to_the_same_accuracy_is_that_of_the_first_mark_there(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gain, "HELD", 40)
    with inside(project, FACTORY_HOME=str(project / "home")):
        found = preference.run(2, "accuracy", base=TINY)["accuracy"]
    assert [[point["step"] for point in found[side]] for side in ("trl", "ours")] == [[1, 2], [1, 2]]
    assert found["steps"] == 2 and found["held_out"] == 40
    for side, seconds in (("trl", found["trl_seconds"]), ("ours", found["our_seconds"])):
        assert 0 < found[side][0]["seconds"] < found[side][1]["seconds"]
        there = [point["seconds"] for point in found[side] if point["right"] >= found["same_accuracy"]]
        assert there and seconds == min(there)
    if found["same_accuracy"] > found["right_before"]:
        assert found["ratio"] == pytest.approx(found["our_seconds"] / found["trl_seconds"], abs=1e-3)
    else:
        assert found["ratio"] == "nothing learned yet"


def test_a_dpo_run_goes_through_all_its_pairs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many steps as TRL is told to make."""
    steps: list[int] = []

    def noted(base: object, tasks: list[object], out: Path, settings: dict[str, object]) -> object:
        made = ours(base, tasks, out, settings)  # type: ignore[arg-type]
        steps.extend(len(json.loads(path.read_text())) for path in out.glob("*/steps.json"))
        return made

    monkeypatch.setattr(preference, "ours", noted)
    monkeypatch.setattr(preference, "TASKS", 1)
    with inside(project, FACTORY_HOME=str(project / "home")):
        preference.run(part="dpo", base=TINY)
    assert steps == [preference.PAIRS // 4]
