"""What a query may do, what its special values stand for, and how it is written for other databases."""

from __future__ import annotations

import datetime
import sqlite3
from pathlib import Path

import pytest

from factory.sql.ask import Source, source
from factory.sql.execute import run
from factory.sql.guard import DIALECTS, Access, Refused, checked
from factory.sql.special import span

TODAY = datetime.date(2026, 11, 29)  # a Sunday
MINE = "SELECT count(*) FROM orders WHERE ordered = 'last month' AND seller_id = '<current_user>'"


@pytest.fixture(scope="module")
def shop(home: Path) -> Source:
    return source("sql", "shop")


@pytest.mark.parametrize(
    ("said", "first", "after"),
    [
        ("today", "2026-11-29", "2026-11-30"),
        ("Yesterday", "2026-11-28", "2026-11-29"),
        ("this week", "2026-11-23", "2026-11-30"),
        ("last week", "2026-11-16", "2026-11-23"),
        ("last month", "2026-10-01", "2026-11-01"),
        ("next month", "2026-12-01", "2027-01-01"),
        ("last quarter", "2026-07-01", "2026-10-01"),
        ("this year", "2026-01-01", "2027-01-01"),
        ("last 7 days", "2026-11-22", "2026-11-30"),
        ("last 3 months", "2026-08-29", "2026-11-30"),
        ("next 2 weeks", "2026-11-30", "2026-12-14"),
        ("last fortnight", "", ""),
    ],
)
def test_special_values_are_spans_of_days(said: str, first: str, after: str) -> None:
    found = span(said, TODAY)
    assert ([str(day) for day in found] if found else ["", ""]) == [first, after]


def test_special_values_become_the_callers(shop: Source) -> None:
    found = shop.run(MINE).result
    assert found and "orders.ordered >= '2026-10-01' AND orders.ordered < '2026-11-01'" in found.sql
    assert "orders.seller_id = 3" in found.sql
    expected = sqlite3.connect(shop.file).execute(
        "SELECT count(*) FROM orders WHERE ordered BETWEEN '2026-10-01' AND '2026-10-31' AND seller_id = 3"
    )
    assert found.rows == expected.fetchall() != [(0,)]


@pytest.mark.parametrize("sign", ["=", "!=", "<", "<=", ">", ">="])
def test_comparisons_with_a_span_part_the_days_without_gap_or_overlap(shop: Source, sign: str) -> None:
    def days(test: str) -> set[str]:
        found = shop.run(f"SELECT ordered FROM orders WHERE ordered {test}").result
        assert found
        return {row[0] for row in found.rows}

    every = days("IS NOT NULL")
    inside = {day for day in every if "2026-10-01" <= day <= "2026-10-31"}
    wanted = {"=": inside, "!=": every - inside, "<": {d for d in every if d < "2026-10-01"},
              "<=": {d for d in every if d <= "2026-10-31"}, ">": {d for d in every if d > "2026-10-31"},
              ">=": {d for d in every if d >= "2026-10-01"}}[sign]  # fmt: skip
    assert days(f"{sign} 'last month'") == wanted


def test_the_caller_s_context_must_know_who_asks(shop: Source) -> None:
    with pytest.raises(Refused, match="does not say who"):
        checked(MINE, shop.schema, Access(today=TODAY))


def test_who_asks_is_their_team_and_company_too(home: Path) -> None:
    mine = "SELECT name FROM customers WHERE level = '<current_team>' AND city = '<current_company>'"
    assert "does not say who <current_team> is" in source("sql", "shop", user="7").run(mine).refused
    asked = source("sql", "shop", team="2", company="Oslo").run(mine).result
    assert asked and "level = 2 AND customers.city = 'Oslo'" in asked.sql


@pytest.mark.parametrize("dialect", DIALECTS)
def test_it_is_written_for_every_dialect(shop: Source, dialect: str) -> None:
    sql = shop.written("SELECT name FROM customers WHERE joined = 'last month' ORDER BY points DESC LIMIT 3", dialect)
    assert "2026-10-01" in sql and "LIMIT 3" in sql
    assert ("CAST" in sql) == (dialect != "sqlite")  # dates are text in SQLite alone


def test_only_allowed_tables_and_columns_can_be_read(shop: Source) -> None:
    few = Access(columns={"customers": ["id", "city"]})
    assert run("SELECT count(*) FROM customers WHERE city = 'Oslo'", shop.schema, shop.file, few).rows
    star = run("SELECT * FROM customers", shop.schema, shop.file, few)
    assert star.columns == ["id", "city"]
    for query in ("SELECT name FROM customers", "SELECT customers.points FROM customers", "SELECT * FROM orders"):
        with pytest.raises(Refused):
            run(query, shop.schema, shop.file, few)


def test_row_filters_hold_wherever_the_table_stands(shop: Source) -> None:
    mine = Access(filters={"orders": "customer_id <= 10"}, most=1000)
    for query in (
        "SELECT customer_id FROM orders",
        "SELECT o.customer_id FROM customers c JOIN orders o ON o.customer_id = c.id",
        "SELECT id FROM customers WHERE id IN (SELECT customer_id FROM orders)",
        "WITH all_orders AS (SELECT * FROM orders) SELECT customer_id FROM all_orders",
        "SELECT customer_id FROM orders UNION SELECT customer_id FROM orders",
    ):
        rows = run(query, shop.schema, shop.file, mine).rows
        assert rows and max(row[0] for row in rows) <= 10, query


def test_a_limit_is_added_and_held(shop: Source) -> None:
    ten = Access(most=10)
    for query in ("SELECT id FROM orders", "SELECT id FROM orders LIMIT 5000"):
        found = run(query, shop.schema, shop.file, ten)
        assert len(found.rows) == 10 and found.cut and found.sql.endswith("LIMIT 10")
    assert len(run("SELECT id FROM orders LIMIT 3", shop.schema, shop.file, ten).rows) == 3


def test_what_questions_need_is_allowed(shop: Source) -> None:
    for query in (
        "SELECT c.name, count(*) AS n FROM customers c JOIN orders o ON o.customer_id = c.id GROUP BY 1 HAVING n > 2",
        "SELECT strftime('%Y', ordered), sum(total) FROM orders GROUP BY 1 ORDER BY 2 DESC",
        "SELECT CASE WHEN total > 100 THEN 'big' ELSE 'small' END, avg(total) FROM orders GROUP BY 1",
        "SELECT name FROM products WHERE price > (SELECT avg(price) FROM products) AND name LIKE '%lamp%'",
        "SELECT DISTINCT city FROM customers WHERE id NOT IN (SELECT customer_id FROM orders) EXCEPT SELECT 'Oslo'",
        'SELECT count(*) FROM customers WHERE city = "Oslo"',
        "SELECT count(*) FROM orders WHERE strftime('%Y-%m', ordered) = '2026-10' AND ordered LIKE '2026-%'",
        "SELECT count(*) FROM orders WHERE CASE WHEN ordered > '2026-01-01' THEN 'new' ELSE 'old' END = 'new'",
        "SELECT count(*) FROM customers WHERE name LIKE 'today'",
    ):
        found = shop.run(query)
        assert found.result is not None, (query, found.refused)


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("SELECT count(*) FROM customers", ["COUNT(*)"]),
        ("SELECT city, sum(points) FROM customers GROUP BY 1 ORDER BY sum(points)", ["city", "SUM(points)"]),
        ("SELECT count(*) AS n, points * 2, 'x' FROM customers", ["n", "points * 2", "'x'"]),
        (
            "SELECT (SELECT max(points) FROM customers), id FROM customers",
            ["(SELECT MAX(points) FROM customers)", "id"],
        ),
        ("SELECT count(*) FROM customers UNION SELECT sum(total) FROM orders", ["COUNT(*)"]),
        ("SELECT * FROM (SELECT avg(total) FROM orders) AS a", ["AVG(total)"]),
        ("SELECT * FROM (SELECT 1 + 1) AS a, (SELECT 2 + 2) AS b", ["_col_0", "_col_0"]),
    ],
)
def test_a_column_without_a_name_is_called_as_it_was_written(shop: Source, query: str, titles: list[str]) -> None:
    found = shop.run(query)
    assert found.result and found.result.columns == titles, found.refused


def test_the_second_lock_holds_without_the_first(shop: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's own authorizer and read-only mode refuse what the guard would not have let through."""
    from factory.sql import execute

    monkeypatch.setattr(execute, "checked", lambda text, schema, access: text)
    monkeypatch.setattr(execute, "written", lambda text: text)
    for query in ("DELETE FROM customers", "SELECT * FROM sqlite_master", "PRAGMA table_info(customers)",
                  "ATTACH '/tmp/x' AS y", "SELECT hex(randomblob(9))", "CREATE TEMP TABLE x (a)"):  # fmt: skip
        with pytest.raises(Refused):
            execute.run(query, shop.schema, shop.file, Access())
