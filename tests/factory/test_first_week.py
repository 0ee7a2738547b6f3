"""What a first week brings, through the command line: odd labels, long answers, several tasks at once, and Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from factory import cli
from factory.answers import answer
from factory.base.build import Base, load_model, load_tokenizer
from factory.data.rows import Row
from factory.decoding import Decoding
from tests.fakes import project as projects

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path: Path, base: Base, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = projects.write(tmp_path / "project", 30, 6)
    monkeypatch.chdir(folder)
    return folder


def task(project: Path, name: str, rows: list[dict[str, Any]], kind: str = "classification", **recipe: Any) -> None:
    folder = project / "adapters" / name
    folder.mkdir()
    recipe = {"kind": kind, "data": {"replay": {"share": 0}}, **recipe}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (folder / "train.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def labelled(labels: list[str], each: int = 3) -> list[dict[str, Any]]:
    return [
        {"text": f"row {i} of {n} about {label[:20]}", "label": label}
        for n, label in enumerate(labels)
        for i in range(each)
    ]


def data(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any], str]:
    code = cli.main(["data", *words, "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else {}, err


def test_labels_that_are_prefixes_of_each_other_300_of_them_and_long_ones(
    project: Path, base: Base, capsys: pytest.CaptureFixture[str]
) -> None:
    prefixes = ["order", "order status", "order status change"]
    long = "a label of eighty characters that somebody has written out in full to be very clear"[:80]
    many = [f"class {i}" for i in range(300)]
    task(project, "odd", labelled([*prefixes, long, "🎉 party", 'said "no"', "a\\b", "C++", "订单", *many]))
    code, told, err = data(capsys, "task=odd", "decoding.max_tokens=16")
    assert code == 2 and "could never be answered: set decoding.max_tokens=" in err
    needed = err.split("set decoding.max_tokens=")[1].split()[0]
    code, told, err = data(capsys, "task=odd", f"decoding.max_tokens={needed}")
    (found,) = told["data"]
    assert code == 0 and len(found["labels"]) == 309 and found["rows"]["eval"] + found["rows"]["train"] > 800
    asked = [Row(({"role": "user", "content": f"row of {label}"},)) for label in (*prefixes, long)]
    labels = [*prefixes, long, *many[:20]]
    said = answer(load_model(base), load_tokenizer(base), asked, Decoding(max_tokens=int(needed)), labels)
    assert set(said) <= {*labels}


def test_answers_longer_than_max_length_are_told_with_the_setting_that_keeps_them(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"prompt": f"Say it {i}", "completion": " ".join(f"word{i}x{n}" for n in range(5 + 90 * (i % 4 == 3)))}
        for i in range(40)
    ]
    task(project, "long", rows, kind="general")
    code, told, _ = data(capsys, "task=long", "train.max_length=128")
    (found,) = told["data"]
    assert code == 0 and found["rows"]["dropped"] >= 1 and "keeps every answer whole" in found["next"]
    code, told, _ = data(capsys, "task=long", found["next"].split()[0])
    assert told["data"][0]["rows"]["dropped"] == 0 and "max_length" not in told["data"][0]["next"]


def test_every_bad_task_is_named_with_its_own_reason_before_anything_is_trained(
    project: Path, tmp_path: Path, base: Base, capsys: pytest.CaptureFixture[str]
) -> None:
    task(project, "single", labelled([f"label {i}" for i in range(8)], each=1), rubric="classification")
    task(project, "alike", labelled(["Paid", "paid"]), rubric="classification")
    task(project, "nothing", [], kind="general", rubric="general")
    reasons = [
        "single: data.eval: each label has one row",
        "alike: adapters/alike/train.jsonl: data.train: labels that look alike: 'Paid' (3 rows), 'paid' (3 rows)",
        "nothing: adapters/nothing/train.jsonl: holds no rows",
    ]
    code, told, err = data(capsys, "task=single,alike,summary,nothing")
    assert code == 2 and [found["task"] for found in told["data"]] == ["summary"]
    assert all(reason in err for reason in reasons)
    runs = Path(os.environ["FACTORY_HOME"]) / "runs"
    before = {*runs.glob("*")}
    assert cli.main(["train", "task=summary,single,alike,nothing"]) == 2
    err = capsys.readouterr().err
    assert all(reason in err for reason in reasons) and {*runs.glob("*")} == before


STOP = """
import os, signal
from pathlib import Path
from factory import cli
from factory.data import build as module
from factory.pipeline import data as pipeline

store = Path(os.environ["FACTORY_HOME"]) / "data"
whole, written = pipeline.build, module._write_lines

def build(*arguments, progress, **named):
    def tell(step, rows):
        os.kill(os.getpid(), number) if step == stage else progress(step, rows)
    return whole(*arguments, progress=tell, **named)

def write(path, values):
    written(path, values)
    if path.stem == stage:
        os.kill(os.getpid(), number)

pipeline.build, module._write_lines = build, write
before = {*store.glob("[!.]*/")}
for number, stage in [(n, s) for n in (signal.SIGINT, signal.SIGTERM) for s in STAGES] + [(0, "nowhere")]:
    code = cli.main(["data", "task=many", "--json"])
    made, left = len({*store.glob("[!.]*/")} - before), len([*store.glob(".*")])
    print(f"{stage} {code} {made} {left}", file=__import__("sys").stderr)
"""
STAGES = ["read", "exact", "decontaminate", "train", "dropped"]


def test_stopped_at_any_stage_nothing_is_half_there(project: Path) -> None:
    rows = [{"prompt": f"w{i} of row {i * i}", "completion": f"answer {i}"} for i in range(1300)]
    task(project, "many", rows, kind="general")
    words = [sys.executable, "-c", f"STAGES = {STAGES}{STOP}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(words, capture_output=True, text=True, timeout=300, env=environment)
    told = [line for line in ended.stderr.splitlines() if line.startswith((*STAGES, "nowhere"))]
    assert told == [*(f"{s} 130 0 0" for s in STAGES), *(f"{s} 143 0 0" for s in STAGES), "nowhere 0 1 0"], ended.stderr
    assert ended.stderr.count("factory: interrupted; the same command goes on where it stopped") == 10
    assert "Traceback" not in ended.stderr and ended.stdout.count("\n") == 1


def test_a_shell_scripts_background_job_hears_ctrl_c(project: Path) -> None:
    """A script's `&` has its job ignore SIGINT: the work stops all the same."""
    rows = [{"prompt": f"w{i} " * 30 + f"of row {i * i}", "completion": f"answer {i}"} for i in range(20000)]
    task(project, "many", rows, kind="general")
    script = f'"{sys.executable}" -m factory.cli data task=many & echo $!; wait $!; echo $?'
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    shell = subprocess.Popen(
        ["sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert shell.stdout and shell.stderr
    job = int(shell.stdout.readline())
    assert shell.stderr.readline() == "factory data task=many\n"  # it is at work
    time.sleep(1)
    os.kill(job, signal.SIGINT)
    out, err = shell.communicate(timeout=120)
    assert out == "130\n" and "factory: interrupted" in err and "Traceback" not in err
