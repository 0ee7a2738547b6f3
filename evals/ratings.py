"""Who grades what, when: batches of assignments for people, handed out one at a time, blind and never twice.

A batch holds each item with its outputs in one slot, and a planned share of the items in two (overlap, to measure
agreement); where somebody cannot judge an output the item gets one slot more. All raters follow one random order of the
items, so what is labelled is a random sample at any time (`evals.units`). `next_one` leases a slot with all outputs of
its item to a rater: a lease that runs out goes back to the pool, so nothing is lost when a browser goes away, and the
slot is locked while it is chosen, so two raters never get the same one. Gold (known grades) and repeats (of the rater's
own) are mixed in unseen. What a rater gets carries neither version nor kind.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.engine import Connection, Engine

from evals import slots
from evals import tables as t
from evals.rubric import Rubric
from evals.slots import FINE, another, had, hidden, new_id, next_unit, place, seeded
from factory.errors import FactoryError, InputError
from factory.home import digest

Grades = dict[str, dict[str, Any]]
Line = Mapping[str, Any]  # of a table

Plan = slots.Plan


class Assignment(BaseModel):
    """What a rater sees: the source, one output (or two to compare), and their own unfinished grades."""

    id: str
    source: str
    output: str
    other: str | None = None
    draft: Grades = {}


class NoWork(BaseModel):
    """Why there is nothing to do, and when to come back (seconds since 1970), if coming back helps."""

    why: Literal["all done", "others are at it", "you have seen the rest", "not qualified", "no batch"]
    until: float | None = None


def add_rater(engine: Engine, rater: str) -> None:
    with t.writing(engine) as c:
        t.insert_new(c, t.raters, [{"id": rater, "kind": "person", "created": time.time()}])


def qualify(engine: Engine, rater: str, rubric: Rubric, passed: bool, result: Mapping[str, Any]) -> None:
    """Record a qualification. It holds for this very rubric: a changed rubric asks for a new one."""
    add_rater(engine, rater)
    said = {"rater": rater, "rubric": rubric.hash(), "passed": int(passed), "result": dict(result)}
    t.add(engine, t.qualifications, **said)


def qualified(engine: Engine, rater: str, rubric_hash: str) -> bool:
    """Whether the rater's latest qualification for this rubric was passed."""
    with t.reading(engine) as c:
        return _qualified(c, rater, rubric_hash)


def open_batch(engine: Engine, task: str, rubric: Rubric, outputs: Sequence[str], plan: Plan) -> str:
    """Plan who grades `outputs` (ids): one slot an item, two for the overlap. The same call gives the same batch."""
    outputs, o, item = list(dict.fromkeys(outputs)), t.outputs.c, dict[str, str]()
    for start in range(0, len(outputs), 500):
        query = sa.select(o.id, o.item).where(o.id.in_(outputs[start : start + 500]))
        item |= {output: of for output, of in t.rows(engine, query)}
    items = sorted({*item.values()}, key=lambda i: seeded(plan.seed, "overlap", i))
    twice = set(items[: round(plan.overlap * len(items))])
    batch = digest([task, rubric.hash(), sorted(outputs), plan.model_dump(mode="json")])
    rows = [
        {
            "id": new_id(),
            "batch": batch,
            "output": output,
            "kind": "plain",
            "slot": slot,
            "shuffle": int(place(plan.seed, item[output], plan.weights.get(item[output], 1.0)) * FINE),
        }
        for output in outputs
        for slot in range(2 if item[output] in twice else 1)
    ]
    return keep(engine, batch, task, rubric, plan, rows)


def keep(engine: Engine, batch: str, task: str, rubric: Rubric, plan: Plan, rows: list[dict[str, Any]]) -> str:
    """Store a batch with its assignments (`rows`), unless it is there; returns its id."""
    with t.writing(engine) as c:
        values = {"id": batch, "task": task, "rubric": rubric.hash(), "plan": plan.model_dump(mode="json")}
        t.insert_new(c, t.batches, [{**values, "created": time.time()}])
        t.insert_new(c, t.assignments, rows)
    return batch


def next_one(engine: Engine, batch: str, rater: str, now: float | None = None) -> Assignment | NoWork:
    """The rater's open assignment, or a new one leased to them, or why there is none."""
    now = time.time() if now is None else now
    with t.writing(engine) as c:
        row = c.execute(BATCH, {"batch": batch}).mappings().first()
        if row is None:
            return NoWork(why="no batch")
        plan = Plan.model_validate(row["plan"])
        if plan.qualified_only and not _qualified(c, rater, row["rubric"]):
            return NoWork(why="not qualified")
        # Locked: where its time ran out somebody may be taking it over, and then it is not this rater's any more.
        found = c.execute(OPEN, {"batch": batch, "by": rater}).scalar()
        if found is None:
            number = c.execute(DONE, {"batch": batch, "by": rater}).scalar() or 0
            found = hidden(c, batch, rater, number, plan) or next_unit(c, batch, rater, now, plan)
        if found is None:
            return _why(c, batch, rater, now)
        c.execute(LEASE, {"which": found, "rater": rater, "opened": now, "leased_until": now + plan.lease_seconds})
        return _shown(c, found)


def save_draft(engine: Engine, assignment: str, rater: str, draft: Grades, now: float | None = None) -> None:
    """Keep unfinished grades at every key, and renew the lease."""
    now = time.time() if now is None else now
    with t.writing(engine) as c:
        row = leased(c, assignment, rater)
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
        row = leased(c, assignment, rater)
        if row["rubric"] != rubric.hash() or row["other"] is not None:
            raise InputError("these are no grades for this assignment: it has another rubric, or two outputs")
        said = {"assignment": assignment, "output": row["output"], "rater": rater, "rubric": row["rubric"]}
        said |= {"action": "abstain" if abstain else "grade", "grades": {} if abstain else grades}
        c.execute(sa.insert(t.ratings), said | {"seconds": seconds, "created": now})
        c.execute(FINISH, {"which": assignment, "done": now})
        if abstain and row["kind"] == "plain":
            another(c, row)


def undo(engine: Engine, batch: str, rater: str) -> Assignment | None:
    """Take back the rater's latest finished assignment: a line is added, none removed. None if there is none."""
    with t.writing(engine) as c:
        last = take_back(
            c, batch, rater, t.ratings, {"action": "undo", "grades": {}, "seconds": None}, lambda line: line["grades"]
        )
        return _shown(c, last) if last else None


def take_back(
    c: Connection, batch: str, rater: str, table: sa.Table, changes: Line, draft: Callable[[Line], Any]
) -> str | None:
    """Add the last line of the rater's latest finished assignment to `table` once more, with `changes`, and open the
    assignment again with the `draft` that is made of the line. Returns its id, or None if there is none."""
    a, now = t.assignments.c, time.time()
    mine = sa.select(a.id).where(a.batch == batch, a.rater == rater, a.done.is_not(None)).order_by(a.done.desc())
    if (last := c.execute(mine.limit(1)).scalar()) is None:
        return None
    said = c.execute(sa.select(table).where(table.c.assignment == last).order_by(table.c.id.desc()).limit(1))
    line = {key: value for key, value in said.mappings().one().items() if key != "id"}
    c.execute(sa.insert(table).values(**line | {**changes, "created": now}))
    plan = Plan.model_validate(c.execute(sa.select(t.batches.c.plan).where(t.batches.c.id == batch)).scalar())
    opened = {"done": None, "draft": draft(line), "opened": now, "leased_until": now + plan.lease_seconds}
    c.execute(sa.update(t.assignments).where(a.id == last).values(**opened))
    return str(last)


def adjudicate(engine: Engine, output: str, rubric: Rubric, lead: str, grades: Grades, reason: str) -> None:
    """The lead's last word on a disputed output; the raters' own grades stay."""
    complete(rubric, grades, partly=True)
    add_rater(engine, lead)
    said = {"output": output, "rubric": rubric.hash(), "lead": lead, "grades": grades, "reason": reason}
    t.add(engine, t.adjudications, **said)


def of_rater(engine: Engine, assignment: str, rater: str) -> sa.Row[Any] | None:
    """The batch of an assignment that is or was this rater's, and when they were done with it."""
    a = t.assignments.c
    query = sa.select(a.batch, a.done).where(a.id == assignment, a.rater == rater)
    return next(iter(t.rows(engine, query)), None)


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


def leased(c: Connection, assignment: str, rater: str) -> sa.RowMapping:
    row = c.execute(OWN, {"which": assignment}).mappings().first()
    if row is None or row["rater"] != rater or row["done"] is not None:
        raise FactoryError("this assignment is no longer yours: it was finished, or handed on after its time ran out")
    return row


def _why(c: Connection, batch: str, rater: str, now: float) -> NoWork:
    a = t.assignments.c
    left = sa.and_(a.batch == batch, a.kind == "plain", a.done.is_(None))
    if not c.execute(sa.select(sa.func.count()).where(left)).scalar():
        return NoWork(why="all done")
    others = sa.select(sa.func.min(a.leased_until)).where(left, a.output.not_in(had(batch, rater)))
    until = c.execute(others).scalar()
    return NoWork(why="others are at it", until=until) if until else NoWork(why="you have seen the rest")


def _shown(c: Connection, assignment: str) -> Assignment:
    row = c.execute(SHOWN, {"which": assignment}).one()
    return Assignment(id=row.id, source=row.source, output=row.text, other=row.other, draft=row.draft or {})


def _qualified(c: Connection, rater: str, rubric_hash: str) -> bool:
    return bool(c.execute(PASSED, {"by": rater, "rubric": rubric_hash}).scalar())


# What runs with every key of a rater, built once: to build a statement takes longer than to run it.
_a, _q, _other = t.assignments.c, t.qualifications.c, t.outputs.alias()
_which: Any = sa.bindparam("which")
_mine = sa.and_(_a.batch == sa.bindparam("batch"), _a.rater == sa.bindparam("by"))
_lease: dict[str, Any] = {name: sa.bindparam(name) for name in ("rater", "opened", "leased_until")}
# Elsewhere than on SQLite, whose write lock is one: who hands out slots of a batch waits for the one before.
BATCH = sa.select(t.batches).where(t.batches.c.id == sa.bindparam("batch")).with_for_update(key_share=True)
_newest = sa.select(_a.id).where(_mine, _a.done.is_(None)).order_by(_a.opened.is_(None), _a.opened.desc())
OPEN = _newest.limit(1).with_for_update()
DONE = sa.select(sa.func.count()).where(_mine, _a.done.is_not(None))
LEASE = sa.update(t.assignments).where(_a.id == _which).values(**_lease)
FINISH = sa.update(t.assignments).where(_a.id == _which).values(done=sa.bindparam("done"), draft=sa.null())
_planned = sa.select(t.assignments, t.batches.c.rubric, t.batches.c.plan).join(t.batches, t.batches.c.id == _a.batch)
OWN = _planned.where(_a.id == _which).with_for_update(of=t.assignments)
SHOWN = (
    sa.select(_a.id, t.items.c.source, t.outputs.c.text, _a.draft, _other.c.text.label("other"))
    .join(t.outputs, t.outputs.c.id == _a.output)
    .join(t.items, t.items.c.id == t.outputs.c.item)
    .outerjoin(_other, _other.c.id == _a.other)
    .where(_a.id == _which)
)
_passed = sa.select(_q.passed).where(_q.rater == sa.bindparam("by"), _q.rubric == sa.bindparam("rubric"))
PASSED = _passed.order_by(_q.id.desc()).limit(1)
