"""The page: whole, self-contained, honest about what is not known, and safe with hostile texts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import sqlalchemy as sa

from evals import matrix, report, run, show
from evals import rubric as rubrics
from evals.run import Report, Subject
from factory.data.rows import Row
from factory.recipe import Gate, Recipe

VOID = {"meta", "br", "rect", "path", "circle"}
HOSTILE = '<script>alert(1)</script> </section> [bold]x[/] & "quoted" {{name}}'


class Balanced(HTMLParser):
    """Checks that every tag is closed in order, and collects what a page might load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "action")]
        assert tag not in ("script", "iframe", "link", "img"), tag

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def made(engine: sa.Engine, name: str, wrong: int, label: str, hostile: bool = False) -> Report:
    rows = [
        Row(
            ({"role": "user", "content": f"{HOSTILE if hostile else 'text'} {i}"},),
            {"label": "ab"[i % 2], "kind": "k" + str(i % 3)},
        )
        for i in range(90)
    ]

    def answer(asked: Sequence[Row]) -> list[str]:
        return [HOSTILE if int(r.source.split()[-1]) < wrong else r.meta["label"] for r in asked]

    rubric = rubrics.load("classification")
    cells = matrix.matrix("classification", answer, lambda rs: ["a"] * len(rs), {"classification": (rubric, rows)})
    recipe = Recipe(task="classification", kind="classification", rubric="classification", gate=Gate(), folder=Path())
    old = Subject("c@old", lambda rs: [r.meta["label"] for r in rs], "v1")
    return run.grade(recipe, rows, Subject(name, answer, label), old, engine, matrix=cells)


def check(page: str) -> None:
    parser = Balanced()
    parser.feed(page)
    assert not parser.open and not parser.loads
    assert "url(" not in page and "@import" not in page and "http" not in re.sub(r"\s", "", page)


def test_the_page_is_whole_and_loads_nothing(database: sa.Engine) -> None:
    one, two, three = (made(database, f"c@{n}", n, f"v{n}") for n in (2, 5, 40))
    page = report.html(three, [one, two])
    check(page)
    assert "REJECT" in page and "It must not go into production." in page
    assert "Versions on the same messages" in page and "v2" in page and "decided on 2 other versions" in page
    assert "55.6 %" in page and "macro-F1" in page and "By kind" in page
    assert page.count("<svg") >= 6


def test_hostile_texts_are_shown_as_text(database: sa.Engine) -> None:
    found = made(database, "c@hostile", 60, "v9", hostile=True)
    page = report.html(found)
    check(page)
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert any("REJECT" in line for line in show.lines(found))


def test_only_runs_on_the_same_rows_and_rubric_compare(database: sa.Engine) -> None:
    one, two = made(database, "c@1", 1, "v1"), made(database, "c@2", 2, "v2")
    other = one.model_copy(update={"split": "other rows"})
    assert "Versions on the same messages" not in report.html(two, [other])
    assert "1 earlier runs used other messages" in report.html(two, [one, other])


def test_a_report_survives_json(database: sa.Engine) -> None:
    found = made(database, "c@1", 1, "v1")
    assert report.html(Report.model_validate(found.to_json())) == report.html(found)


def test_what_is_not_measured_is_said(database: sa.Engine) -> None:
    recipe = Recipe(task="x", kind="summary", rubric="assistant", gate=Gate(evidence="people"), folder=Path())
    rows = [Row(({"role": "user", "content": str(i)},)) for i in range(5)]
    found = run.grade(recipe, rows, Subject("x@1", lambda rs: ["a"] * len(rs)), None, database)
    page = report.html(found)
    check(page)
    assert "Nothing was graded by people yet" in page and "INCONCLUSIVE" in page and "Label 5 more" in page
    assert any("not measured" in line for line in show.lines(found))
