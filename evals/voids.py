"""Bad rows: the ratings table is append-only, so what should never have been stored is voided by a line of its own."""

import time
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from evals import tables as t
from evals.rubric import Rubric

TAKEN_BACK = ("undo", "void")  # after such a line nothing that was said in the assignment counts


def misfits(engine: Engine, rubric: Rubric) -> list[str]:
    """Void the ratings under this rubric whose grades name what it does not have; gives their assignments.

    The table is append-only, so a line is added that says so, and the output is free to be graded again. Whoever reads
    the ratings of a rubric calls this first: one bad row must not keep everybody from all others.
    """
    r = t.ratings.c
    query = sa.select(t.ratings).where(r.rubric == rubric.hash(), r.assignment.is_not(None)).order_by(r.id)
    last = {row.assignment: row._mapping for row in t.rows(engine, query)}.values()
    wrong = [row for row in last if row["action"] not in TAKEN_BACK and not fits(rubric, row["grades"])]
    for row in wrong:
        with t.writing(engine) as c:
            copy = {k: row[k] for k in ("assignment", "output", "rater", "rubric")}
            c.execute(sa.insert(t.ratings).values(**copy, action="void", grades={}, created=time.time()))
            free = {"rater": None, "opened": None, "leased_until": None, "done": None, "draft": None}
            plain = (t.assignments.c.id == row["assignment"], t.assignments.c.kind == "plain")
            c.execute(sa.update(t.assignments).where(*plain).values(**free))
    return [row["assignment"] for row in wrong]


def fits(rubric: Rubric, grades: Any) -> bool:
    """Whether all that is graded are dimensions and levels of the rubric."""
    known = {d.name: d.names() for d in rubric.dimensions}
    return isinstance(grades, dict) and all(
        isinstance(said, dict) and said.get("level") in known.get(name, ()) for name, said in grades.items()
    )
