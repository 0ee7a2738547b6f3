"""A rater's way through the work: where they are, their tests, their day. Nobody else's answers are ever in it."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.engine import Engine

from evals import ratings, verdicts
from evals import tables as t
from evals.ratings import Grades
from evals.rubric import Rubric
from evals.slots import Plan

PASS = 2 / 3  # share of right levels that each dimension of the qualification test needs
TRIES = 3  # tests a rater may take in TRY_SPAN seconds
TRY_SPAN = 24 * 3600.0
ENOUGH = 5  # dimensions graded twice until one's own consistency is shown


@dataclass(frozen=True)
class OpenBatch:
    """A batch as a rater may know it: nothing of versions."""

    id: str
    rubric: str
    pairs: bool
    qualified_only: bool
    open: int
    created: float


class Part(BaseModel):
    """One dimension of a qualification test."""

    right: int
    of: int
    needed: int

    @property
    def passed(self) -> bool:
        return self.right >= self.needed


class Result(BaseModel):
    """A qualification test: passed if every dimension is."""

    passed: bool
    dimensions: dict[str, Part]


class Day(BaseModel):
    """One's own work: finished since `since`, in all, and the share of grades one gave again on a second look."""

    today: int = 0
    total: int = 0
    consistency: float | None = None


def place(engine: Engine, rater: str, key: str) -> dict[str, Any]:
    """Where the rater is with a rubric (its hash), or with a setting of their own (any other key)."""
    p = t.places.c
    found = t.rows(engine, sa.select(p.state).where(p.rater == rater, p.rubric == key))
    return dict(found[0].state) if found else {}


def move(engine: Engine, rater: str, key: str, state: Mapping[str, Any]) -> None:
    """Remember where the rater is now."""
    p, values = t.places.c, {"state": dict(state), "updated": time.time()}
    ratings.add_rater(engine, rater)
    with t.writing(engine) as c:
        if not c.execute(sa.update(t.places).where(p.rater == rater, p.rubric == key).values(**values)).rowcount:
            c.execute(sa.insert(t.places).values(rater=rater, rubric=key, **values))


def open_batches(engine: Engine, rubrics: Sequence[str], also: str | None = None) -> list[OpenBatch]:
    """The batches of these rubrics (hashes) that still have something open, and the batch `also`; oldest first."""
    b, a = t.batches.c, t.assignments.c
    query = (
        sa.select(b.id, b.rubric, b.plan, b.created, sa.func.count(a.id))
        .outerjoin(t.assignments, (a.batch == b.id) & (a.kind == "plain") & a.done.is_(None))
        .where(b.rubric.in_(rubrics))
        .having((sa.func.count(a.id) > 0) | (b.id == also))
        .group_by(b.id)
        .order_by(b.created, b.id)
    )
    found = []
    for id_, rubric, plan, created, n in t.rows(engine, query):
        plan = Plan.model_validate(plan)
        found.append(OpenBatch(id_, rubric, plan.mode == "pairs", plan.qualified_only, n, created))
    return found


def judge_test(rubric: Rubric, given: Sequence[Mapping[str, Mapping[str, Any]]]) -> Result:
    """Hold a rater's levels against those of the rubric's qualification items, dimension by dimension."""
    parts = {}
    for name in rubric.decided_by("people"):
        pairs = list(zip(rubric.qualification, given, strict=True))
        right = sum(item.grades[name].level == grades.get(name, {}).get("level") for item, grades in pairs)
        parts[name] = Part(right=right, of=len(pairs), needed=math.ceil(PASS * len(pairs) - 1e-9))
    return Result(passed=all(part.passed for part in parts.values()), dimensions=parts)


def tests(engine: Engine, rater: str, rubric_hash: str) -> list[tuple[float, Result]]:
    """The rater's tests for this very rubric with their time, oldest first."""
    q = t.qualifications.c
    query = sa.select(q.created, q.result).where(q.rater == rater, q.rubric == rubric_hash).order_by(q.id)
    return [(created, Result.model_validate(result)) for created, result in t.rows(engine, query)]


def next_try(taken: Sequence[tuple[float, Result]], now: float) -> float | None:
    """When the next test may be taken; None means now."""
    recent = [at for at, _ in taken if at > now - TRY_SPAN]
    return recent[-TRIES] + TRY_SPAN if len(recent) >= TRIES else None


def day(engine: Engine, rater: str, rubric_hash: str, since: float) -> Day:
    """The rater's own figures."""
    a = t.assignments.c
    query = sa.select(sa.func.count().label("total"), sa.func.count(sa.case((a.done >= since, 1))).label("today"))
    [done] = t.rows(engine, query.where(a.rater == rater, a.done.is_not(None)))
    same = verdicts.again(verdicts.standing(engine, rubric_hash, rater=rater))
    return Day(today=done.today, total=done.total, consistency=sum(same) / len(same) if len(same) >= ENOUGH else None)


def clean(rubric: Rubric, grades: Any) -> Grades:
    """What a browser sent, cut down to known dimensions and levels, short reasons and quotes."""
    found: Grades = {}
    for name, grade in grades.items() if isinstance(grades, dict) else ():
        if name not in rubric.decided_by("people") or not isinstance(grade, dict):
            continue
        kept: dict[str, Any] = {}
        if grade.get("level") in rubric.dimension(name).names():
            kept["level"] = grade["level"]
        if reason := str(grade.get("reason") or "")[:2000]:
            kept["reason"] = reason
        quotes = grade.get("evidence")
        if isinstance(quotes, list) and (quotes := [str(q)[:2000] for q in quotes[:20] if q]):
            kept["evidence"] = quotes
        if kept:
            found[name] = kept
    return found
