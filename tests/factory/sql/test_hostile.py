"""Sixty hostile questions and sixty hostile answers: none runs, nothing is changed, the process stays up."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import pytest

from factory.sql.ask import Source, source
from tests.factory.sql.hostile import OUTPUTS, QUESTIONS


@pytest.fixture(scope="module")
def shop(home: Path) -> Source:
    return source("sql", "shop")


def fingerprint(asked: Source) -> list[str]:
    """The database's bytes, and what lies beside it."""
    files = sorted(path for path in asked.file.parent.iterdir() if path.is_file())
    return [f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files]


def test_there_are_sixty_of_each() -> None:
    assert len({*OUTPUTS}) == len({*QUESTIONS}) == 60


def test_no_hostile_answer_runs(shop: Source) -> None:
    before, began = fingerprint(shop), time.monotonic()
    for output in OUTPUTS:
        found = shop.run(output)
        assert found.result is None and found.refused.startswith(("refused: ", "invalid: ")), output
    assert fingerprint(shop) == before
    assert time.monotonic() - began < 30
    assert shop.run("SELECT count(*) FROM customers").result is not None


def test_no_hostile_question_does_harm_even_through_a_model_that_obeys(shop: Source) -> None:
    before = fingerprint(shop)
    for question, wanted in QUESTIONS:

        def fake_obedient_model(messages: list[dict[str, Any]], wanted: str = wanted) -> str:
            assert [m["role"] for m in messages] == ["system", "user"]
            return f"```sql\n{wanted}\n```"

        assert shop.ask(question, fake_obedient_model).result is None, question
    assert fingerprint(shop) == before


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("SELECT 1; DROP TABLE customers", "2 statements"),
        ("DROP TABLE customers", "a Drop where a SELECT belongs"),
        ("SELECT * FROM sqlite_master", "no table sqlite_master"),
        ("SELECT readfile('/etc/passwd')", "readfile is not on the list"),
        ("SELECT name FROM customers -- x", "comment"),
        ("SELECT * FROM orders WHERE ordered = 'last fortnight'", "unknown special value 'last fortnight'"),
        ("SELECT * FROM orders WHERE date(ordered) = 'last month'", "beside no column of dates"),
        ("SELECT * FROM orders WHERE ordered LIKE 'last month'", "beside no column of dates"),
        ("SELECT * FROM orders WHERE ordered LIKE 'last fortnight'", "unknown special value 'last fortnight'"),
        ("SELECT * FROM orders WHERE date(ordered) > 'a while ago'", "unknown special value 'a while ago'"),
        ("SELECT * FROM orders WHERE 'last month' < date(ordered)", "beside no column of dates"),
        ("SELECT * FROM orders WHERE seller_id = '<boss>'", "unknown special value <boss>"),
        ("SELECT count(*) FROM orders a, orders b, orders c, orders d, reviews e", "longer than"),
    ],
)
def test_an_answer_that_is_refused_says_why(shop: Source, query: str, why: str) -> None:
    found = shop.run(query)
    assert found.refused.startswith("refused: ") and why in found.refused
