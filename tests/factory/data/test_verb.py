"""`factory new` and `factory data` as people run them: what they print, what they write, how they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fakes.endpoint import FakeEndpoint

from factory import cli
from factory.base.build import Base


@pytest.fixture
def task(base: Base, own_project: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert cli.main(["new", "task=trial", "kind=classification"]) == 0
    assert "factory data task=trial" in capsys.readouterr().out
    return own_project / "adapters" / "trial"


def test_a_new_task_is_built_reported_and_reused(task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "task=trial", "data.replay.share=0.02"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(
        "trial: 84 rows to train on (2 of them general), 5 to tune on, 21 to grade on; 0 dropped of 87 read"
    )
    assert "3 labels" in "".join(told) and told[-2].endswith("report.html")
    assert told[-1].startswith("  next: write more rows, or make some: factory data task=trial synth=from-labels")
    assert cli.main(["data", "task=trial", "data.replay.share=0.02", "--json"]) == 0
    printed = capsys.readouterr().out
    (found,) = json.loads(printed)["data"]
    assert printed.count("\n") == 1
    assert found["rows"] == {"train": 84, "replay": 2, "tune": 5, "eval": 21, "split": 0, "dropped": 0}
    assert {entry["name"] for entry in found["balance"]} == {"order", "complaint", "question"}
    assert {"funnel", "lengths", "sources", "clusters", "samples", "closest", "labels", "tokens"} <= found.keys()
    folder = Path(found["folder"])
    stamps = {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != "report.html"}
    assert cli.main(["data", "task=trial", "data.replay.share=0.02", "--json"]) == 0
    assert stamps == {name: (folder / name).stat().st_mtime_ns for name in stamps}


@pytest.mark.parametrize(
    ("rows", "changes", "message"),
    [
        ("", ["task=trail"], "no task 'trail'; did you mean trial?"),
        ("", ["task=trial", "data.tran=x.csv"], "data.tran: unknown key; did you mean train?"),
        ("", ["task=trial", "data.train=none.csv"], "none.csv: data.train: no such file"),
        (
            '{"instruction": "a", "output": "b", "text": "c"}',
            [],
            "trial/mine.jsonl:1: this row fits the formats alpaca",
        ),
        ('{"text": "I am {{name}}", "label": "b"}', [], "mine.jsonl:1: nothing fills the placeholder {{name}}"),
        ('{"text": "a", "label": null}', ["data.strict=true"], "mine.jsonl:1: label is null, not text"),
    ],
)
def test_mistakes_end_in_one_message_and_store_nothing(
    task: Path, capsys: pytest.CaptureFixture[str], rows: str, changes: list[str], message: str
) -> None:
    (task / "mine.jsonl").write_text(rows)
    words = changes if changes and changes[0].startswith("task=") else ["task=trial", "data.train=mine.jsonl", *changes]
    assert cli.main(["data", *words, "--json"]) == 2
    printed = capsys.readouterr()
    assert message in printed.err and not printed.out and "Traceback" not in printed.err


def test_rows_are_made_through_the_command_line(task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def teacher(form: str, messages: list[dict[str, str]], number: int) -> Any:
        things = ["kites", "oak benches", "brass bells", "six plates", "umbrellas"]
        return {"texts": [f"{thing} {number}" for thing in things]}

    with FakeEndpoint(teacher) as fake:
        endpoint = [f"data.synth.endpoint.url={fake.url}", "data.synth.endpoint.model=m", "data.synth.n=5"]
        endpoint += ["data.synth.endpoint.price_out=1000"]
        assert cli.main(["data", "task=trial", "synth=from-labels", *endpoint]) == 0
    told = capsys.readouterr().out.splitlines()
    assert "made rows kept in adapters/trial/synth/from-labels.jsonl" in told[0]
    assert any("tokens in" in line and "cost" in line for line in told)
    assert told[-1] == "  read them, then train on them: data.train=[train.jsonl,synth/from-labels.jsonl]"
