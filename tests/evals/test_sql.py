"""Queries are graded by what they give, on databases that differ."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from evals import rubric as rubrics
from evals.scorecard import grade_answers
from evals.sql import alike, outcome
from factory.data.load import load
from factory.data.rows import Row
from factory.home import project
from factory.recipe import load as recipe

META = {"db": "adapters/sql/schemas/shop.yaml", "today": "2026-11-29", "context": {"current_user": 3}}


def row(sql: str) -> Row:
    return Row(({"role": "user", "content": "?"}, {"role": "assistant", "content": sql}), {**META, "sql": sql})


@pytest.mark.parametrize(
    ("right", "said", "kind", "exact"),
    [
        ("SELECT count(*) FROM customers", "select COUNT( * ) from Customers;", "right", True),
        ("SELECT count(*) FROM customers", "```sql\nSELECT count(id) FROM customers\n```", "right", False),
        ("SELECT count(*) FROM customers", "SELECT count(*) FROM products", "wrong", False),
        ("SELECT count(*) FROM customers", "There are 45 customers.", "invalid", False),
        ("SELECT count(*) FROM customers", "SELECT count(*) FROM clients", "invalid", False),
        ("SELECT count(*) FROM customers", "DELETE FROM customers", "refused", False),
        ("SELECT name FROM products ORDER BY price", "SELECT name FROM products ORDER BY price DESC", "wrong", False),
        ("SELECT name FROM products", "SELECT name FROM products ORDER BY price DESC", "right", False),
        ("SELECT id FROM orders WHERE ordered = 'last month'",
         "SELECT id FROM orders WHERE ordered BETWEEN '2026-10-01' AND '2026-10-31'", "right", False),
    ],
)  # fmt: skip
def test_four_outcomes_are_told_apart(home: Path, right: str, said: str, kind: str, exact: bool) -> None:
    found = outcome(row(right).meta, said)
    assert found and (found.kind, found.exact) == (kind, exact)


def test_equal_by_chance_in_one_database_is_found_out_in_another(home: Path) -> None:
    """A constant that is right in the first database."""
    from factory.sql.ask import source

    right = "SELECT count(*) FROM customers WHERE city = 'Oslo'"
    asked = source("sql", "shop").run(right).result
    assert asked is not None
    found = outcome(row(right).meta, f"SELECT {asked.rows[0][0]}")
    assert found and found.kind == "wrong"


def test_rows_are_compared_as_a_bag_and_columns_in_any_order() -> None:
    assert alike([(1, "a"), (1, "a"), (2, "b")], [("b", 2), ("a", 1), ("a", 1.0)], ordered=False)
    assert not alike([(1,), (1,), (2,)], [(1,), (2,), (2,)], ordered=False)
    assert not alike([(1,), (2,)], [(2,), (1,)], ordered=True)


def test_the_scorecard_counts_them(home: Path) -> None:
    right = "SELECT name FROM customers WHERE city = 'Lyon'"
    said = [
        right,
        "SELECT name FROM customers WHERE city IN ('Lyon')",
        "SELECT name FROM customers",
        "no idea",
        "DROP TABLE customers",
    ]
    card = grade_answers(rubrics.load("sql"), [row(right)] * len(said), said)
    assert card.dimensions["result"].good == pytest.approx(0.4)
    assert card.dimensions["match"].good == pytest.approx(0.2)
    assert [getattr(card.dimensions["validity"], band) for band in ("good", "average", "poor")] == pytest.approx(
        [0.6, 0.2, 0.2]
    )
    assert (card.good, card.poor) == (pytest.approx(0.4), pytest.approx(0.6))


def test_the_scorecard_tells_single_tables_languages_databases_and_kinds_apart(home: Path) -> None:
    sql = recipe("sql")
    graded = [*load("eval.jsonl", sql.data, sql.folder, "data.eval", [], [])]
    strata = grade_answers(rubrics.load("sql"), graded, ["SELECT 1"] * len(graded)).strata
    assert {"1", "2"} <= strata["tables"].keys() and {*strata["language"]} == {"en", "zh"}
    assert len(strata["db"]) == 10 and {"omitted", "special"} <= strata["about"].keys()


def test_every_right_query_of_the_grading_questions_grades_itself_right_and_says_something(home: Path) -> None:
    """And none is right for want of rows: in some database the answer is neither empty nor 0."""
    from evals.sql import _gold

    sql = recipe("sql")
    graded = [*load("eval.jsonl", sql.data, sql.folder, "data.eval", [], [])]
    card = grade_answers(rubrics.load("sql"), graded, [one.answer for one in graded])
    assert card.good == 1.0 and len(graded) == 200
    for one in graded:
        asked = {key: one.meta.get(key) for key in ("db", "sql", "today", "context")}
        results = _gold(json.dumps(asked, sort_keys=True)) or []
        assert any(rows not in ([], [(0,)], [(None,)]) for rows in results), one.source


def test_no_training_row_is_of_a_held_out_schema() -> None:
    folder = project() / "adapters" / "sql"
    held_out = runpy.run_path(str(folder / "make.py"))["HELD_OUT"]
    lines = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    assert not {json.loads(line)["db"] for line in lines} & {*held_out}
