"""Nested labels: fields of an object, lists without an order, and what the scorecard says of each path."""

from __future__ import annotations

import json
from typing import Any

import pytest

from evals import rubric as rubrics
from evals.scorecard import grade_answers
from factory.data.load import load
from factory.data.rows import Row
from factory.recipe import load as recipe

GOLD = {"topic": "damaged", "items": [{"name": "lamp", "n": 2}, {"name": "rug"}], "want": ["refund"]}


def card(*said: Any) -> Any:
    turns = ({"role": "user", "content": "?"}, {"role": "assistant", "content": json.dumps(GOLD)})
    outputs = [one if isinstance(one, str) else json.dumps(one) for one in said]
    return grade_answers(rubrics.load("triage"), [Row(turns)] * len(said), outputs)


def test_fields_are_counted_one_by_one() -> None:
    turned = GOLD | {"items": GOLD["items"][::-1]}
    other = {"topic": "late", "items": [{"name": "lamp", "n": 3}, {"name": "rug"}], "reply": {"by": "phone"}}
    found = card(turned, other, "two lamps")
    assert (found.good, found.average, found.poor) == pytest.approx((1 / 3, 0, 2 / 3), abs=1e-4)
    assert found.fields["objects"] == pytest.approx(1 / 3, abs=1e-4)
    assert found.fields["paths"]["topic"] == {"n": 3, "precision": 0.5, "recall": 0.3333, "f1": 0.4}
    assert found.fields["paths"]["reply.by"] == {"n": 0, "precision": 0.0, "recall": None, "f1": 0.0}
    assert ["topic", "damaged", "late", 1] in found.fields["confusion"]
    assert ["items[].n", "2", "3", 1] in found.fields["confusion"]
    assert ["reply.by", "(none)", "phone", 1] in found.fields["confusion"]


def test_numbers_belong_to_their_entry() -> None:
    assert card(GOLD | {"items": [{"name": "lamp"}, {"name": "rug", "n": 2}]}).good == 0


@pytest.mark.parametrize(("task", "rows"), [("triage", 125), ("sums", 122)])
def test_every_right_answer_grades_itself_right(task: str, rows: int) -> None:
    of = recipe(task)
    graded = [*load("eval.jsonl", of.data, of.folder, "data.eval", [], [])]
    assert grade_answers(rubrics.load(task), graded, [row.answer for row in graded]).good == 1.0
    assert len(graded) == rows


def test_a_sum_is_right_however_it_is_written_and_only_in_its_form() -> None:
    turns = ({"role": "user", "content": "Half of it?"}, {"role": "assistant", "content": form("1 / 2", "0.5")})
    said = [form("1 / 2", "1/2"), form("1 / 2", "0.50"), form("1 / 2", "2"), "0.5", form("1 / 2", "0.5") + " ok",
            form("<think>", "0.5"), form("Das ist die Hälfte und nicht mehr", "0.5"), form("1", "5/0")]  # fmt: skip
    found = grade_answers(rubrics.load("sums"), [Row(turns)] * len(said), said)
    assert found.dimensions["form"].good == pytest.approx(5 / 8)
    assert found.dimensions["answer"].good == pytest.approx(3 / 8)


def form(thought: str, answer: str) -> str:
    return f"<think>{thought}</think><answer>{answer}</answer>"
