"""What users of the demo think of an answer: kept among the ratings, apart from the raters' grades.

A line of feedback has no assignment, so no verdict, agreement figure or gate ever counts it. Whoever gave it is a
stranger: an export of preferences has only what a lead has accepted, which is a line of its own.
"""

from typing import Any, Literal

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.engine import Engine

from evals import answers, ratings
from evals import tables as t
from factory.data.rows import Row
from factory.errors import InputError

WHO = "demo"
SHOWN = 50  # that a lead is shown at once


class Feedback(BaseModel):
    """A vote on an answer, and what the user would have written instead (empty: nothing)."""

    vote: Literal["up", "down"]
    wrote: str = ""
    by: str = ""
    """Who signed in to say so; empty on a demo without a sign-in."""
    consent: Literal[True]
    eval: bool = False
    """The text is an eval row: nothing must ever learn from it."""


def give(engine: Engine, task: str, version: str, source: str, answer: str, feedback: Feedback) -> str:
    """Store a vote; returns the output's id. The item is marked as the demo's, so that no batch picks it up."""
    row = Row(({"role": "user", "content": source},), {"from": WHO, **({"eval": True} if feedback.eval else {})})
    [output] = answers.record(engine, task, version, [row], [answer])
    ratings.add_rater(engine, WHO)
    grades = {WHO: feedback.model_dump()}
    t.add(engine, t.ratings, output=output, rater=WHO, rubric="", action="feedback", grades=grades)
    return output


def given(engine: Engine, task: str) -> list[dict[str, Any]]:
    """All feedback on a task, oldest first: source, answer, version, vote, what they would have written."""
    return [said for said in _all(engine) if said["task"] == task]


def waiting(engine: Engine) -> list[dict[str, Any]]:
    """What users would have written and no lead has settled yet, the oldest first; at most SHOWN."""
    return [said for said in _all(engine) if said["wrote"] and said["accepted"] is None][:SHOWN]


def settle(engine: Engine, id_: Any, lead: str, accept: bool) -> None:
    """Let a line of feedback be learned from, or not. InputError if there is none of this id."""
    r = t.ratings.c
    ratings.add_rater(engine, lead)
    query, known = sa.select(r.output).where(r.id == id_, r.action == "feedback"), type(id_) is int and 0 < id_ < 2**63
    found = t.rows(engine, query) if known else ()
    if not found:
        raise InputError("there is no such feedback")
    grades = {"feedback": id_, "accept": accept}
    t.add(engine, t.ratings, output=found[0].output, rater=lead, rubric="", action="settle", grades=grades)


def _all(engine: Engine) -> list[dict[str, Any]]:
    """All feedback with what the last lead said of it: `accepted` is None where nobody has settled it."""
    r, o, i, a = t.ratings.c, t.outputs.c, t.items.c, t.answers.c
    query = (
        sa.select(r.id, i.task, i.source, o.text, a.version, r.grades)
        .join(t.outputs, o.id == r.output)
        .join(t.items, i.id == o.item)
        .join(t.answers, a.output == o.id)
        .where(r.action == "feedback")
        .order_by(r.id)
    )
    settled = sa.select(r.grades).where(r.action == "settle").order_by(r.id)
    accepted = {said["feedback"]: said["accept"] for (said,) in t.rows(engine, settled)}
    found = {row.id: row for row in t.rows(engine, query)}  # an answer that two versions gave is one line all the same
    return [
        {"id": id_, "task": row.task, "source": row.source, "answer": row.text, "version": row.version,
         **row.grades[WHO], "accepted": accepted.get(id_)}
        for id_, row in found.items()
    ]  # fmt: skip
