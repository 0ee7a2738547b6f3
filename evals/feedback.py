"""What users of the demo think of an answer: kept among the ratings, apart from the raters' grades.

A line of feedback has no assignment, so no verdict, agreement figure or gate ever counts it; an export of preferences
may.
"""

from __future__ import annotations

import time
from typing import Any, Literal

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.engine import Engine

from evals import answers, ratings
from evals import tables as t
from factory.data.rows import Row

WHO = "demo"


class Feedback(BaseModel):
    """A vote on an answer, and what the user would have written instead (empty: nothing)."""

    vote: Literal["up", "down"]
    wrote: str = ""
    consent: Literal[True]
    eval: bool = False
    """The text is an eval row: nothing must ever learn from it."""


def give(engine: Engine, task: str, version: str, source: str, answer: str, feedback: Feedback) -> str:
    """Store a vote; returns the output's id. The item is marked as the demo's, so that no batch picks it up."""
    row = Row(({"role": "user", "content": source},), {"from": WHO, **({"eval": True} if feedback.eval else {})})
    [output] = answers.record(engine, task, version, [row], [answer])
    ratings.add_rater(engine, WHO)
    with t.writing(engine) as c:
        grades: dict[str, Any] = {WHO: feedback.model_dump()}
        values = {"output": output, "rater": WHO, "rubric": "", "action": "feedback", "grades": grades}
        c.execute(sa.insert(t.ratings).values(**values, created=time.time()))
    return output


def given(engine: Engine, task: str) -> list[dict[str, Any]]:
    """All feedback on a task, oldest first: source, answer, version, vote, what they would have written."""
    r, o, i, a = t.ratings.c, t.outputs.c, t.items.c, t.answers.c
    query = (
        sa.select(i.source, o.text, a.version, r.grades)
        .join(t.outputs, o.id == r.output)
        .join(t.items, i.id == o.item)
        .join(t.answers, a.output == o.id)
        .where(r.action == "feedback", i.task == task)
        .order_by(r.id)
    )
    with t.reading(engine) as c:
        return [
            {"source": row.source, "answer": row.text, "version": row.version, **row.grades[WHO]}
            for row in c.execute(query)
        ]
