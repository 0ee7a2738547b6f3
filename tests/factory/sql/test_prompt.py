"""The schema filter by its own score, the prompt, and the shipped questions."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from factory.home import project
from factory.sql.ask import source
from factory.sql.fill import SEEDS, database
from factory.sql.layouts import opened
from factory.sql.pick import Budget, index_of
from factory.sql.prompt import SMALL
from factory.sql.schema import read

FOLDER = project() / "adapters" / "sql"
ROWS = [json.loads(line) for line in (FOLDER / "eval.jsonl").read_text(encoding="utf-8").splitlines()]


def needed(sql: str) -> set[tuple[str, str]]:
    """The columns of a query, each with its table; the shipped ones name the table where there are two."""
    tree = sqlglot.parse_one(sql, read="sqlite")
    tables = [table.name for table in tree.find_all(exp.Table)]
    return {(c.table or _nearest(c, tables[0]), c.name) for c in tree.find_all(exp.Column)} | {
        (t, "id") for t in tables
    }


def _nearest(column: exp.Column, otherwise: str) -> str:
    select = column.find_ancestor(exp.Select)
    table = select.find(exp.Table) if select else None
    return table.name if table else otherwise


@pytest.mark.parametrize("budget", [SMALL, Budget()])
def test_the_filter_finds_what_held_out_questions_need(home: Path, budget: Budget) -> None:
    found = Counter[str]()
    for row in ROWS:
        schema, paths = opened(f"adapters/sql/schemas/{row['db']}.yaml")
        picked = index_of(schema, paths[0]).pick(row["question"], budget)
        found["all"] += all(column in picked.columns.get(table, ()) for table, column in needed(row["sql"]))
        found["columns"] = max(found["columns"], sum(map(len, picked.columns.values())))
    assert found["all"] / len(ROWS) >= 0.95
    assert found["columns"] <= budget.tables * 20


def test_it_holds_a_hundred_tables_to_the_budget(home: Path) -> None:
    schema = read(FOLDER / "schemas" / "erp.yaml")
    assert len(schema.tables) >= 100 and sum(1 for _ in schema.columns()) >= 1500
    asked = source("sql", "erp").messages("What is the average monthly salary of employees in logistics?")
    assert len(asked[0]["content"]) < 1000 and "salary int" in asked[0]["content"]
    assert "employees.department = 'logistics'" in asked[0]["content"]


def test_the_prompt_speaks_the_language_of_the_question(home: Path) -> None:
    shop = source("sql", "shop")
    english, chinese = (
        shop.messages(q)[0]["content"] for q in ("How many orders were paid by Alipay?", "用支付宝付款的订单有多少?")
    )
    assert "pay_type int: way of payment, 0 = WeChat, 1 = Alipay, 2 = card" in english
    assert "pay_type int: 支付方式, 0 = 微信, 1 = 支付宝, 2 = 银行卡" in chinese
    assert "customer_id int -> customers.id" in english and english.endswith("today: 2026-11-29")
    cards = source("sql", "clinic").messages("Which insurance cards expire next month?")[0]["content"]
    assert "patient_id int one-to-one patients.id" in cards


def test_databases_of_a_schema_are_the_same_for_everybody_and_differ_by_seed(home: Path, tmp_path: Path) -> None:
    schema = read(FOLDER / "schemas" / "shop.yaml")
    one, two = (database(schema, seed).read_bytes() for seed in SEEDS[:2])
    assert one != two
    database(schema, 1).unlink()
    assert database(schema, 1).read_bytes() == one


def test_the_grading_questions_are_what_the_readme_says() -> None:
    assert len(ROWS) == len({row["question"] + row["db"] for row in ROWS}) == 200
    assert sum(row["language"] == "zh" for row in ROWS) >= 50
    assert sum(row["about"] in ("omitted", "special") for row in ROWS) >= 50
    schemas = {path.stem: read(path) for path in (FOLDER / "schemas").glob("*.yaml")}
    assert len(schemas) >= 8 and sum(len(s.tables) > 60 for s in schemas.values()) >= 2
    assert {row["db"] for row in ROWS} == {*schemas}


@pytest.mark.parametrize("fault", ["price: reel; price", "price: int -> nowhere.id", "price: int of 3"])
def test_a_fault_of_a_schema_is_told_with_its_place(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(f"tables:\n  goods:\n    is: goods\n    columns:\n      id: int key\n      {fault}\n")
    with pytest.raises(Exception, match=r"bad\.yaml.*tables\.goods\.columns\.price"):
        read(path)
