"""The task `rewrite`: its shop, what its checks catch, and what its rows hold."""

from __future__ import annotations

import json
import re
import runpy
import sys
from itertools import islice
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa

from evals import report, run, show
from evals import rubric as rubrics
from evals.checks import named
from evals.grades import Limits
from evals.run import Subject
from evals.scorecard import grade_answers
from factory import recipe as recipes
from factory.data.rows import Row

FOLDER = Path(__file__).parents[2] / "adapters" / "rewrite"
QUERY = "settee in dark grey that pulls out"
WANTS = {"sofa": "settee", "charcoal": "dark grey", "extendable": "pulls out"}


def lines(name: str) -> list[dict]:  # type: ignore[type-arg]
    return [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]


def row(query: str, wants: dict[str, str]) -> Row:
    return Row(
        ({"role": "user", "content": query}, {"role": "assistant", "content": " ".join(wants)}), {"wants": wants}
    )


@pytest.mark.parametrize(
    ("said", "level", "why"),
    [
        ("sofa charcoal extendable", "good", ""),
        ("extendable charcoal sofas", "good", ""),  # order and plural do not count
        (QUERY, "good", ""),  # finds less, means the same
        ("sofa charcoal", "poor", "lost: extendable"),
        ("sofa navy extendable", "poor", "lost: charcoal; instead: navy"),
        ("sofa charcoal navy extendable", "poor", "against what was asked"),
        ("sofa charcoal not extendable", "poor", "denied: not"),
        ("armchair charcoal extendable", "poor", "lost: sofa; instead: armchair"),
        ("sofa charcoal oak extendable", "average", "beside what was asked"),
        ("cast iron sofa charcoal extendable", "average", "beside what was asked"),
        ("", "poor", "lost: sofa, charcoal, extendable"),
    ],
)
def test_a_rewrite_that_means_something_else_is_caught(said: str, level: str, why: str) -> None:
    grade = named("adapters/rewrite/check.py:meaning")(row(QUERY, WANTS), said, Limits())
    assert grade and (grade.level, grade.why) == (level, why)


def test_what_it_finds_is_told_beside_what_the_query_itself_finds() -> None:
    """On all grading rows: their own rewrites find everything and mean the same, the queries find little."""
    rows = [row(found["prompt"], found["wants"]) for found in lines("eval.jsonl")]
    card = grade_answers(rubrics.load("rewrite"), rows, [one.answer for one in rows])
    assert len(rows) >= 120 and card.good == 1.0
    assert (
        card.figures and card.figures["recall@10"] == 1.0 and 0.1 < card.figures["recall@10 of the query itself"] < 0.2
    )
    echo = grade_answers(rubrics.load("rewrite"), rows, [one.source for one in rows])
    assert echo.figures and len({*echo.figures.values()}) == 1 and echo.dimensions["meaning"].poor == 0
    assert grade_answers(rubrics.load("rewrite"), rows, ["sofa"] * len(rows)).poor == 1.0


def test_the_report_shows_recall_of_the_query_of_the_base_and_of_the_version(database: sa.Engine) -> None:
    rows = [row(found["prompt"], found["wants"]) for found in lines("eval.jsonl")][:40]
    base = Subject("tiny", lambda asked: [one.source for one in asked], "base")
    version = Subject("rewrite@new", lambda asked: [one.answer for one in asked], "v1")
    found = run.grade(recipes.load("rewrite"), rows, version, base, database)
    assert found.baseline and found.baseline.figures
    raw = show.percent(found.baseline.figures["recall@10"])
    told = [" ".join(line.split()) for line in show.lines(found)]
    assert {f"recall@10 of the query itself {raw} was {raw}", f"recall@10 100 % was {raw}"} <= {*told}
    page = re.sub(r"<[^>]*>", " ", report.html(found))
    assert f"recall@10 100 % {raw}" in " ".join(page.split())


def test_the_shop_has_5000_items_the_same_each_time_and_at_most_ten_that_a_row_wants() -> None:
    shop = runpy.run_path(str(FOLDER / "check.py"))
    titles = [item["title"] for item in shop["items"]()]
    assert len(titles) == len({*titles}) == 5000
    assert titles[0] == "Elmhurst L533 sofa olive oak extendable for indoors and outdoors"
    assert all(1 <= len(shop["wanted"](tuple(sorted(found["wants"])))) <= 10 for found in lines("eval.jsonl"))


def test_the_log_is_what_its_program_makes_and_wants_nothing_that_a_grading_row_wants(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    made = runpy.run_path(str(FOLDER / "make.py"))
    sys.modules.pop("check")
    graded = [{*found["wants"]} for found in lines("eval.jsonl")]
    for name in ("log", "earlier"):
        assert [*islice(made[name](Random(name), graded), 20)] == lines(f"{name}.jsonl")[:20]
        assert not [found for found in lines(f"{name}.jsonl") if {*made["named"](found["completion"])} in graded]
