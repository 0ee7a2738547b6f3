"""`factory bench only=gain`: each way is held against its start by the checks alone; no base is asked beside them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from factory.cli import main
from tests.fakes.project import inside, write


def test_a_way_is_held_against_its_start_and_nothing_else_is_graded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path, train=32, evaluation=6)
    with inside(folder, FACTORY_HOME=str(folder / "home")):
        words = ["task=summary", "part=grpo", "steps=1", "train.epochs=1", "train.max_length=256"]
        assert main(["bench", "only=gain", *words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["gain"]
    [seed] = found["seeds"].values()
    assert found["task"] == "summary" and [*found["median"]] == ["supervised", "grpo"]
    way = seed["grpo"]
    assert way["n"] == 6 and way["low"] <= way["gain"] <= way["high"]
    assert way["good"] - seed["supervised"]["good"] == pytest.approx(way["gain"], abs=1e-3)
    notes = [path.name for path in (folder / "home" / "gain").glob("notes/*/*.json")]
    assert "run.json" in notes and not {"base_scorecard.json", "report.json", "gate.json"} & {*notes}
