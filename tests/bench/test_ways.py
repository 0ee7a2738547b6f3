"""`factory bench only=ways`: each way is trained over the same base, and held against it on ordinary requests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from factory.cli import main
from tests.fakes.project import inside, write


def test_the_usual_ways_are_held_against_the_base(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path, train=32, evaluation=4)
    requests = (folder / "rubrics" / "general.jsonl").read_text().splitlines()[::6]
    (folder / "rubrics" / "general.jsonl").write_text("\n".join(requests))
    with inside(folder, FACTORY_HOME=str(folder / "home")):
        assert main(["bench", "only=ways", "train.epochs=1", "train.max_length=256", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)["ways"]
        noted = [json.loads(path.read_text()) for path in (folder / "home" / "ways").glob("notes/*/run.json")]
    assert sorted(one["stage"] for one in noted) == [*["pretrain"] * 2, "recover", *["sft"] * 4]
    assert found.pop("task") == "summary" and found.pop("base")
    assert [*found] == ["rows", "texts, rows", "texts with general rows, rows", "recovery, rows"]
    for way in found.values():
        assert way["n"] == len(requests) and way["low"] <= way["change"] <= way["high"]
        assert way["general_good"] == pytest.approx(way["base_good"] + way["change"], abs=1e-3)
