"""A newcomer's task with a check of its own, as the README's "Your own task" has it: its files, its commands."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from evals import rubric as rubrics
from evals.scorecard import grade_answers
from factory.base.build import Base
from factory.cli import main
from factory.data.rows import Row
from factory.errors import InputError
from factory.registry import aliases, store

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## Your own task\n")[1].split("\n## ")[0]
FILES = dict(re.findall(r"^`([\w./]+)`[^\n]*\n\n```\w*\n(.*?)^```$", SECTION, re.M | re.S))
COMMANDS = [line for block in re.findall(r"^```sh\n(.*?)^```$", SECTION, re.M | re.S) for line in block.splitlines()]
CHECK, RUBRIC = "adapters/dates/check.py", "rubrics/dates.yaml"


@pytest.fixture
def project(home: Path, base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without tasks over the tests' base, with the guard against forgetting cut down to one request."""
    for folder in ("adapters", "rubrics"):
        (tmp_path / folder).mkdir()
    (tmp_path / "adapters" / "defaults.yaml").write_text(f"base: {base.name}\n")
    (tmp_path / "rubrics" / "general.yaml").write_text((ROOT / "rubrics" / "general.yaml").read_text())
    (tmp_path / "rubrics" / "general.jsonl").write_text('{"prompt": "What do bees make?", "kind": "fact"}\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


@pytest.fixture
def dates(project: Path) -> Path:
    (project / "adapters" / "dates").mkdir()
    for name in (CHECK, RUBRIC):
        (project / name).write_text(FILES[name])
    return project


def test_it_takes_at_most_forty_lines() -> None:
    assert {Path(name).name for name in FILES} == {"recipe.yaml", "prompt.md", "make.py", "check.py", "dates.yaml"}
    assert sum(text.count("\n") for text in FILES.values()) <= 40


@pytest.mark.slow
def test_followed_word_by_word_it_is_trained_and_graded_by_its_check(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, *others = COMMANDS
    run(made)
    for name, text in FILES.items():
        (project / name).write_text(text)
    for command in others:
        run(command)
    assert "60 to grade on" in " ".join(capsys.readouterr().out.split())
    version = aliases.resolve("dates@v1")
    report = store.noted(version.sha, "report")
    assert report and report["rows"] == 60 and report["against_label"] == "tiny"
    assert report["scorecard"]["dimensions"].keys() == {"day"}
    assert report["scorecard"]["good"] + report["scorecard"]["poor"] == 1
    assert all(worst["faults"]["day"]["why"].startswith("it is 20") for worst in report["scorecard"]["worst"])


def run(command: str) -> None:
    name, *words = shlex.split(command, comments=True)
    if name == "factory":
        assert main(words) == 0, command
    else:
        assert name == "python"
        subprocess.run([sys.executable, *words], check=True)


def test_it_grades_and_another_check_is_another_rubric(dates: Path) -> None:
    rows = [Row(({"role": "user", "content": day},)) for day in ("09 March 2026", "31 May 2024", "01 June 2027")]
    rubric = rubrics.load("dates")
    before = rubric.hash()
    card = grade_answers(rubric, rows, ["2026-03-09", "2024-05-30", " 2027-06-01\n"])
    assert (card.good, card.poor) == (pytest.approx(2 / 3, abs=1e-3), pytest.approx(1 / 3, abs=1e-3))
    assert "it is 2024-05-31" in str(card.to_json())
    (dates / CHECK).write_text(FILES[CHECK].replace("output.strip() == day", "output.strip() > day"))
    assert rubrics.load("dates").hash() != before
    assert grade_answers(rubrics.load("dates"), rows, ["2026-03-10", "2024-05-31", ""]).good == pytest.approx(
        1 / 3, abs=1e-3
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("adapters/dates/chek.py:right_day", "has no file adapters/dates/chek.py"),
        ("adapters/dates/check.py:rigt_day", "has no function rigt_day"),
        ("../../etc/check.py:right_day", "has no file"),
        ("right_day", "your own: adapters/<task>/check.py:<function>"),
    ],
)
def test_what_is_wrong_with_its_name_is_told_with_the_line(dates: Path, name: str, why: str) -> None:
    (dates / RUBRIC).write_text(FILES[RUBRIC].replace("adapters/dates/check.py:right_day", name))
    with pytest.raises(InputError) as told:
        rubrics.load("dates")
    assert why in str(told.value) and "dates.yaml" in str(told.value)


def test_a_check_that_cannot_be_imported_says_so(dates: Path) -> None:
    (dates / CHECK).write_text("import nothing_of_that_name\n")
    with pytest.raises(InputError, match="cannot be imported"):
        rubrics.load("dates")
