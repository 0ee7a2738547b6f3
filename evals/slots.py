"""How a batch is planned and which of its slots is next for a rater: a random order, overlap, gold, repeats, leases."""

import hashlib
import math
import secrets
from typing import Any, Literal

import sqlalchemy as sa
from pydantic import BaseModel, Field
from sqlalchemy.engine import Connection

from evals import tables as t

PRIME = 2_147_483_647
FINE = 10**15  # places are kept as whole numbers
SLOTS = 3  # slots at most that an item can get because somebody abstained
REPEAT_AFTER = 5


class Plan(BaseModel):
    """How a batch is graded. Shares are of the outputs (`overlap`) or of what a rater sees (`gold`, `repeats`).

    In the mode `pairs` two outputs are compared (`evals.pairs`). `versions` are those whose outputs are graded side by
    side (raters never see them), `weights` how heavy an item is drawn (`evals.units`).
    """

    mode: Literal["each", "pairs"] = "each"
    seed: int = 0
    overlap: float = Field(0.25, ge=0, le=1)
    gold: float = Field(0.05, ge=0, lt=0.5)
    repeats: float = Field(0.05, ge=0, lt=0.5)
    lease_seconds: float = Field(1800, gt=0)
    qualified_only: bool = True
    gold_grades: dict[str, dict[str, str]] = {}
    versions: list[str] = []
    weights: dict[str, float] = {}


def hidden(c: Connection, batch: str, rater: str, number: int, plan: Plan) -> str | None:
    """A gold or repeat assignment where the rater's seeded sequence has one at this place."""
    draw = seeded(plan.seed, batch, rater, number) % 10_000 / 10_000
    if draw >= plan.gold + plan.repeats:
        return None
    a = t.assignments.c
    seen = set(c.execute(sa.select(a.output).where(a.batch == batch, a.rater == rater, a.kind == "gold")).scalars())
    if draw < plan.gold:
        kind, pool = "gold", sorted(set(plan.gold_grades) - seen)
    else:
        done = sa.select(a.output).where(a.batch == batch, a.rater == rater, a.done.is_not(None), a.kind == "plain")
        repeated = sa.select(a.output).where(a.batch == batch, a.rater == rater, a.kind == "repeat")
        old = list(c.execute(done.order_by(a.done)).scalars())[:-REPEAT_AFTER]
        kind, pool = "repeat", sorted(set(old) - set(c.execute(repeated).scalars()))
    if not pool:
        return None
    output = pool[seeded(plan.seed, rater, number, "which") % len(pool)]
    new = new_id()
    values = {"batch": batch, "output": output, "kind": kind, "slot": 0, "shuffle": 0, "rater": rater}
    c.execute(sa.insert(t.assignments).values(id=new, **values))
    return new


def next_unit(c: Connection, batch: str, rater: str, now: float, plan: Plan) -> str | None:
    """The next free slot, with the other outputs of its item kept for the same rater: they come right after it."""
    known = {"in_batch": batch, "by": rater, "now": now}
    first = c.execute(FREE, known).first()
    if first is None:
        return None
    known |= {"at": first.shuffle, "in_slot": first.slot, "rater": rater, "leased_until": now + plan.lease_seconds}
    c.execute(KEEP, known)
    return str(first.id)


def another(c: Connection, row: sa.RowMapping) -> None:
    """Somebody could not judge this output: one slot more for all outputs of its item, for somebody else."""
    a = t.assignments.c
    unit = (a.batch == row["batch"], a.kind == "plain", a.shuffle == row["shuffle"], a.other.is_(None))
    known = c.execute(sa.select(a.output, a.slot, a.done).where(*unit)).all()
    slot = max((k.slot for k in known), default=SLOTS) + 1
    if slot >= SLOTS or any(k.slot > row["slot"] for k in known):
        return
    same = {k: row[k] for k in ("batch", "kind", "shuffle")}
    new = [{"id": new_id(), "output": o, "slot": slot} for o in {k.output for k in known}]
    t.insert_new(c, t.assignments, [same | values for values in new])


def new_id() -> str:
    """An assignment's id. At random and of one form: it must not tell a rater what kind of assignment it is."""
    return secrets.token_hex(32)


def had(batch: Any, rater: Any) -> Any:
    """Outputs the rater has had in this batch, alone or as either of two."""
    mine = t.assignments.alias().c
    where = (mine.batch == batch, mine.rater == rater)
    return sa.select(mine.output).where(*where).union(sa.select(mine.other).where(*where, mine.other.is_not(None)))


# Of slots of the batch `in_batch`: free or with a lease that ran out, of an output the rater `by` has not had.
_a = t.assignments.c
_batch: Any = sa.bindparam("in_batch")
_available = sa.or_(_a.rater.is_(None), _a.leased_until < sa.bindparam("now"))
_new = _a.output.not_in(had(_batch, sa.bindparam("by")))
_free: Any = (_a.batch == _batch, _a.kind == "plain", _a.done.is_(None), _available, _new)
# The next slot in the batch's order. The row is locked while it is chosen: on SQLite the whole transaction holds the
# write lock, elsewhere the batch's row is locked, and slots that somebody else is at are skipped. Which output of an
# item comes first hangs on a hash. Statements that run with every key are built once.
_first = sa.select(_a.id, _a.shuffle, _a.slot).where(*_free).order_by(_a.shuffle, _a.slot, _a.id).limit(1)
FREE = _first.with_for_update(skip_locked=True)
_unit = (_a.shuffle == sa.bindparam("at"), _a.slot == sa.bindparam("in_slot"))
_lease: dict[str, Any] = {name: sa.bindparam(name) for name in ("rater", "leased_until")}
KEEP = sa.update(t.assignments).where(*_free, *_unit).values(**_lease, opened=None, draft=sa.null())


def place(seed: int, item: str, weight: float) -> float:
    """Where an item stands in the order of a batch: exponential by hash, over its weight."""
    return -math.log((seeded(seed, "order", item) + 1) / 2**64) / weight


def seeded(*parts: Any) -> int:
    """A number from a hash: the same parts give the same one everywhere."""
    return int.from_bytes(hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()[:8], "big")
