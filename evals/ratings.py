"""Who grades what, when: batches of assignments for people, handed out one at a time, blind and never twice.

A batch holds each output in one slot, and a planned share of them in two (overlap, to measure agreement). `next_one`
leases a slot to a rater: a lease that runs out goes back to the pool, so nothing is lost when a browser goes away, and
the slot is locked while it is chosen, so two raters never get the same one. Gold (known grades) and repeats (of the
rater's own) are mixed in unseen. What a rater gets carries neither version nor kind.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import sqlalchemy as sa
from pydantic import BaseModel, Field
from sqlalchemy.engine import Connection, Engine

from evals import tables as t
from evals.rubric import Rubric
from factory.errors import FactoryError, InputError
from factory.home import digest

Grades = dict[str, dict[str, Any]]
PRIME = 2_147_483_647
REPEAT_AFTER = 5


class Plan(BaseModel):
    """How a batch is graded. Shares are of the outputs (`overlap`) or of what a rater sees (`gold`, `repeats`).

    In the mode `pairs` two outputs are compared (`evals.pairs`).
    """

    mode: Literal["each", "pairs"] = "each"
    seed: int = 0
    overlap: float = Field(0.25, ge=0, le=1)
    gold: float = Field(0.05, ge=0, lt=0.5)
    repeats: float = Field(0.05, ge=0, lt=0.5)
    lease_seconds: float = Field(1800, gt=0)
    qualified_only: bool = True
    gold_grades: dict[str, dict[str, str]] = {}


class Assignment(BaseModel):
    """What a rater sees: the source, one output (or two to compare), and their own unfinished grades."""

    id: str
    source: str
    output: str
    other: str | None = None
    draft: Grades = {}


class Nothing(BaseModel):
    """Why there is nothing to do, and when to come back (seconds since 1970), if coming back helps."""

    why: Literal["all done", "others are at it", "you have seen the rest", "not qualified", "no batch"]
    until: float | None = None


def add_rater(engine: Engine, rater: str, kind: Literal["person", "judge"] = "person") -> None:
    with t.writing(engine) as c:
        t.insert_new(c, t.raters, [{"id": rater, "kind": kind, "created": time.time()}])


def qualify(engine: Engine, rater: str, rubric: Rubric, passed: bool, result: Mapping[str, Any]) -> None:
    """Record a qualification. It holds for this very rubric: a changed rubric asks for a new one."""
    add_rater(engine, rater)
    with t.writing(engine) as c:
        c.execute(
            sa.insert(t.qualifications).values(
                rater=rater, rubric=rubric.hash(), passed=int(passed), result=dict(result), created=time.time()
            )
        )


def qualified(engine: Engine, rater: str, rubric_hash: str) -> bool:
    """Whether the rater's latest qualification for this rubric was passed."""
    with t.reading(engine) as c:
        return _qualified(c, rater, rubric_hash)


def open_batch(engine: Engine, task: str, rubric: Rubric, outputs: Sequence[str], plan: Plan) -> str:
    """Plan who grades `outputs` (ids): one slot each, two for the overlap. The same call gives the same batch."""
    outputs = list(dict.fromkeys(outputs))
    order = sorted(outputs, key=lambda o: seeded(plan.seed, "overlap", o))
    twice = set(order[: round(plan.overlap * len(order))])
    batch = digest([task, rubric.hash(), sorted(outputs), plan.model_dump(mode="json")])
    rows = [
        {
            "id": new_id(),
            "batch": batch,
            "output": o,
            "kind": "plain",
            "slot": slot,
            "shuffle": seeded(plan.seed, "shuffle", o) % PRIME,
        }
        for o in outputs
        for slot in range(2 if o in twice else 1)
    ]
    with t.writing(engine) as c:
        values = {"id": batch, "task": task, "rubric": rubric.hash(), "plan": plan.model_dump(mode="json")}
        t.insert_new(c, t.batches, [{**values, "created": time.time()}])
        t.insert_new(c, t.assignments, rows)
    return batch


def next_one(engine: Engine, batch: str, rater: str, now: float | None = None) -> Assignment | Nothing:
    """The rater's open assignment, or a new one leased to them, or why there is none."""
    now = time.time() if now is None else now
    with t.writing(engine) as c:
        row = c.execute(sa.select(t.batches).where(t.batches.c.id == batch)).mappings().first()
        if row is None:
            return Nothing(why="no batch")
        plan = Plan.model_validate(row["plan"])
        if plan.qualified_only and not _qualified(c, rater, row["rubric"]):
            return Nothing(why="not qualified")
        a = t.assignments.c
        mine = sa.and_(a.batch == batch, a.rater == rater)
        own_open = sa.select(a.id).where(mine, a.done.is_(None)).order_by(a.opened.desc()).limit(1)
        # Locked: where its time ran out somebody may be taking it over, and then it is not this rater's any more.
        found = c.execute(own_open.with_for_update()).scalar()
        draft = {}
        if found is None:
            draft = {"draft": None}  # whoever had the slot before may have begun
            number = c.execute(sa.select(sa.func.count()).where(mine, a.done.is_not(None))).scalar() or 0
            found = _hidden(c, batch, rater, number, plan) or c.execute(free_slots(batch, rater, now)).scalar()
        if found is None:
            return _why(c, batch, rater, now)
        lease = {"rater": rater, "opened": now, "leased_until": now + plan.lease_seconds, **draft}
        c.execute(sa.update(t.assignments).where(a.id == found).values(**lease))
        return _shown(c, found)


def save_draft(engine: Engine, assignment: str, rater: str, draft: Grades, now: float | None = None) -> None:
    """Keep unfinished grades at every key, and renew the lease."""
    now = time.time() if now is None else now
    with t.writing(engine) as c:
        row = own(c, assignment, rater)
        until = now + Plan.model_validate(row["plan"]).lease_seconds
        c.execute(
            sa.update(t.assignments).where(t.assignments.c.id == assignment).values(draft=draft, leased_until=until)
        )


def submit(
    engine: Engine, assignment: str, rater: str, rubric: Rubric, grades: Grades, seconds: float, abstain: bool = False
) -> None:
    """Finish an assignment: grades for every dimension that people decide, or an abstention.

    `grades`: {"groundedness": {"level": "poor", "reason": "...", "evidence": ["..."]}}. The worst level needs a reason.
    """
    if not abstain:
        complete(rubric, grades)
    now = time.time()
    with t.writing(engine) as c:
        row = own(c, assignment, rater)
        if row["rubric"] != rubric.hash() or row["other"] is not None:
            raise InputError("these are no grades for this assignment: it has another rubric, or two outputs")
        c.execute(
            sa.insert(t.ratings).values(
                assignment=assignment,
                output=row["output"],
                rater=rater,
                rubric=row["rubric"],
                action="abstain" if abstain else "grade",
                grades={} if abstain else grades,
                seconds=seconds,
                created=now,
            )
        )
        c.execute(sa.update(t.assignments).where(t.assignments.c.id == assignment).values(done=now, draft=None))


def undo(engine: Engine, batch: str, rater: str) -> Assignment | None:
    """Take back the rater's latest finished assignment: a line is added, none removed. None if there is none."""
    a = t.assignments.c
    now = time.time()
    with t.writing(engine) as c:
        query = sa.select(a.id, a.output).where(a.batch == batch, a.rater == rater, a.done.is_not(None))
        last = c.execute(query.order_by(a.done.desc()).limit(1)).first()
        if last is None:
            return None
        said = c.execute(
            sa.select(t.ratings).where(t.ratings.c.assignment == last.id).order_by(t.ratings.c.id.desc()).limit(1)
        ).mappings()
        latest = said.one()
        copy = {k: latest[k] for k in ("assignment", "output", "rater", "rubric")}
        c.execute(sa.insert(t.ratings).values(**copy, action="undo", grades={}, created=now))
        plan = Plan.model_validate(c.execute(sa.select(t.batches.c.plan).where(t.batches.c.id == batch)).scalar())
        reopened = {"done": None, "draft": latest["grades"], "opened": now, "leased_until": now + plan.lease_seconds}
        c.execute(sa.update(t.assignments).where(a.id == last.id).values(**reopened))
        return _shown(c, last.id)


def adjudicate(engine: Engine, output: str, rubric: Rubric, lead: str, grades: Grades, reason: str) -> None:
    """The lead's last word on a disputed output; the raters' own grades stay."""
    complete(rubric, grades, partly=True)
    add_rater(engine, lead)
    with t.writing(engine) as c:
        c.execute(
            sa.insert(t.adjudications).values(
                output=output, rubric=rubric.hash(), lead=lead, grades=grades, reason=reason, created=time.time()
            )
        )


def batch_of(engine: Engine, assignment: str, rater: str) -> str | None:
    """The batch of an assignment that is or was this rater's."""
    a = t.assignments.c
    with t.reading(engine) as c:
        found = c.execute(sa.select(a.batch).where(a.id == assignment, a.rater == rater)).scalar()
    return None if found is None else str(found)


def new_id() -> str:
    """An assignment's id. At random and of one form: it must not tell a rater what kind of assignment it is."""
    return secrets.token_hex(32)


def complete(rubric: Rubric, grades: Grades, partly: bool = False) -> None:
    """Grades must name known dimensions and levels, be complete, and give a reason for the worst level."""
    problems = []
    wanted = rubric.decided_by("people")
    for name in wanted if not partly else grades:
        level = grades.get(name, {}).get("level")
        if name not in wanted or level not in rubric.dimension(name).names():
            problems.append(f"{name}: no level" if level is None else f"{name}: no level {level!r}")
        elif rubric.dimension(name).band(level) == "poor" and not str(grades[name].get("reason", "")).strip():
            problems.append(f"{name}: {level} needs a reason")
    if problems or not grades:
        raise InputError(*(problems or ["no grades"]))


def own(c: Connection, assignment: str, rater: str) -> sa.RowMapping:
    query = sa.select(t.assignments, t.batches.c.rubric, t.batches.c.plan).join(
        t.batches, t.batches.c.id == t.assignments.c.batch
    )
    row = c.execute(query.where(t.assignments.c.id == assignment)).mappings().first()
    if row is None or row["rater"] != rater or row["done"] is not None:
        raise FactoryError("this assignment is no longer yours: it was finished, or handed on after its time ran out")
    return row


def _hidden(c: Connection, batch: str, rater: str, number: int, plan: Plan) -> str | None:
    """A gold or repeat assignment where the rater's seeded sequence has one at this place."""
    draw = seeded(plan.seed, batch, rater, number) % 10_000 / 10_000
    a = t.assignments.c
    seen = set(c.execute(sa.select(a.output).where(a.batch == batch, a.rater == rater, a.kind == "gold")).scalars())
    if draw < plan.gold:
        kind, pool = "gold", sorted(set(plan.gold_grades) - seen)
    elif draw < plan.gold + plan.repeats:
        done = sa.select(a.output).where(a.batch == batch, a.rater == rater, a.done.is_not(None), a.kind == "plain")
        repeated = sa.select(a.output).where(a.batch == batch, a.rater == rater, a.kind == "repeat")
        old = list(c.execute(done.order_by(a.done)).scalars())[:-REPEAT_AFTER]
        kind, pool = "repeat", sorted(set(old) - set(c.execute(repeated).scalars()))
    else:
        return None
    if not pool:
        return None
    output = pool[seeded(plan.seed, rater, number, "which") % len(pool)]
    new = new_id()
    values = {"batch": batch, "output": output, "kind": kind, "slot": 0, "shuffle": 0, "rater": rater}
    c.execute(sa.insert(t.assignments).values(id=new, **values))
    return new


def free_slots(batch: str, rater: str, now: float) -> sa.Select[str]:
    """The next slot that is free or whose lease ran out, of an output the rater has not had; in the rater's own order.

    The row is locked while it is chosen: on SQLite the whole transaction holds the write lock, elsewhere rows that
    somebody else is choosing are skipped.
    """
    a = t.assignments.c
    multiplier = seeded("order", rater) % (PRIME - 1) + 1
    available = sa.or_(a.rater.is_(None), a.leased_until < now)
    return (
        sa.select(a.id)
        .where(a.batch == batch, a.kind == "plain", a.done.is_(None), available, a.output.not_in(_had(batch, rater)))
        .order_by(a.shuffle * multiplier % PRIME, a.slot)
        .limit(1)
        .with_for_update(skip_locked=True)
    )


def _had(batch: str, rater: str) -> Any:
    """Outputs the rater has had in this batch, alone or as either of two."""
    mine = t.assignments.alias().c
    where = (mine.batch == batch, mine.rater == rater)
    return sa.select(mine.output).where(*where).union(sa.select(mine.other).where(*where, mine.other.is_not(None)))


def _why(c: Connection, batch: str, rater: str, now: float) -> Nothing:
    a = t.assignments.c
    left = sa.and_(a.batch == batch, a.kind == "plain", a.done.is_(None))
    if not c.execute(sa.select(sa.func.count()).where(left)).scalar():
        return Nothing(why="all done")
    others = sa.select(sa.func.min(a.leased_until)).where(left, a.output.not_in(_had(batch, rater)))
    until = c.execute(others).scalar()
    return Nothing(why="others are at it", until=until) if until else Nothing(why="you have seen the rest")


def _shown(c: Connection, assignment: str) -> Assignment:
    other = t.outputs.alias()
    query = (
        sa.select(
            t.assignments.c.id, t.items.c.source, t.outputs.c.text, t.assignments.c.draft, other.c.text.label("other")
        )
        .join(t.outputs, t.outputs.c.id == t.assignments.c.output)
        .join(t.items, t.items.c.id == t.outputs.c.item)
        .outerjoin(other, other.c.id == t.assignments.c.other)
    )
    row = c.execute(query.where(t.assignments.c.id == assignment)).one()
    return Assignment(id=row.id, source=row.source, output=row.text, other=row.other, draft=row.draft or {})


def _qualified(c: Connection, rater: str, rubric_hash: str) -> bool:
    q = t.qualifications.c
    query = sa.select(q.passed).where(q.rater == rater, q.rubric == rubric_hash).order_by(q.id.desc()).limit(1)
    return bool(c.execute(query).scalar())


def seeded(*parts: Any) -> int:
    """A number from a hash: the same parts give the same one everywhere."""
    return int.from_bytes(hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()[:8], "big")
