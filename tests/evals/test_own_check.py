"""A newcomer's task with a check of its own: a folder and a rubric, at most forty lines, nothing else touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals import rubric as rubrics
from evals.scorecard import grade_answers
from factory.base.build import Base
from factory.cli import main
from factory.data.rows import Row
from factory.errors import InputError

RECIPE = """kind: general
data: {near: 0, replay: {share: 0}}
decoding: {max_tokens: 16}
"""
CHECK = '''"""Is the answer the sum of the numbers in the question?"""

import re

from evals.grades import Grade


def total(row, output, limits):
    right = sum(map(int, re.findall(r"\\d+", row.source)))
    said = output.strip()
    return Grade("good") if said == str(right) else Grade("poor", f"the sum is {right}", [said[:40]])
'''
RUBRIC = """title: Sums
guidelines: The sum, as digits, and nothing else.
sample_source: What is 2 and 3?
dimensions:
  - name: sum
    question: Is it the right sum?
    graders: [checks]
    checks: [adapters/adding/check.py:total]
    levels:
      - {name: wrong, anchor: Another number., example: {output: "6", reason: It is 5.}}
      - {name: right, anchor: The sum., example: {output: "5", reason: Two and three.}}
"""


@pytest.fixture
def adding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "adapters" / "adding"
    folder.mkdir(parents=True)
    (tmp_path / "rubrics").mkdir()
    (tmp_path / "adapters" / "defaults.yaml").write_text("base: auto\n")
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "check.py").write_text(CHECK)
    (tmp_path / "rubrics" / "adding.yaml").write_text(RUBRIC)
    monkeypatch.chdir(tmp_path)
    return folder


def test_it_takes_at_most_forty_lines() -> None:
    assert sum(text.count("\n") for text in (RECIPE, CHECK, RUBRIC)) <= 40


def test_it_grades(adding: Path) -> None:
    rubric = rubrics.load("adding")
    rows = [Row(({"role": "user", "content": f"What is {a} and {b}?"},)) for a, b in ((1, 2), (10, 5), (7, 7))]
    card = grade_answers(rubric, rows, ["3", "14", " 14 "])
    assert (card.good, card.poor) == (pytest.approx(2 / 3, abs=1e-3), pytest.approx(1 / 3, abs=1e-3))
    assert "the sum is 15" in str(card.to_json())


def test_another_check_is_another_rubric(adding: Path) -> None:
    before = rubrics.load("adding").hash()
    (adding / "check.py").write_text(CHECK.replace("sum(", "max("))
    rubric = rubrics.load("adding")
    assert rubric.hash() != before
    card = grade_answers(rubric, [Row(({"role": "user", "content": "What is 1 and 2?"},))], ["2"])
    assert card.good == 1.0


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("adapters/adding/chek.py:total", "has no file adapters/adding/chek.py"),
        ("adapters/adding/check.py:totl", "has no function totl"),
        ("../../etc/check.py:total", "has no file"),
        ("total", "your own: adapters/<task>/check.py:<function>"),
    ],
)
def test_what_is_wrong_with_its_name_is_told_with_the_line(adding: Path, name: str, why: str) -> None:
    (adding.parents[1] / "rubrics" / "adding.yaml").write_text(RUBRIC.replace("adapters/adding/check.py:total", name))
    with pytest.raises(InputError) as told:
        rubrics.load("adding")
    assert why in str(told.value) and "adding.yaml" in str(told.value)


def test_a_check_that_cannot_be_imported_says_so(adding: Path) -> None:
    (adding / "check.py").write_text("import nothing_of_that_name\n")
    with pytest.raises(InputError, match="cannot be imported"):
        rubrics.load("adding")


def test_its_data_set_is_built(adding: Path, base: Base) -> None:
    lines = [f'{{"prompt": "What is {a} and {b}?", "completion": "{a + b}"}}\n' for a in range(9) for b in range(9)]
    (adding / "train.jsonl").write_text("".join(lines[:60]))
    (adding / "eval.jsonl").write_text("".join(lines[60:]))
    assert main(["data", "task=adding", f"base={base.name}"]) == 0
