"""Two outputs of one source side by side: which is better? Order randomised, balanced, and blind.

Half of the pairs show the one side first, half the other, chosen by hash; where a pair is judged twice, the second time
in the other order. `next_one` hands pairs out like any assignment. Comparisons are append-only; an undo is a line too.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from evals import ratings
from evals import tables as t
from evals.rubric import Rubric
from evals.slots import PRIME, Plan, seeded
from factory.errors import InputError
from factory.home import digest

Winner = Literal["first", "second", "tie", "abstain"]


@dataclass(frozen=True)
class Compared:
    """A standing comparison: `better` over `worse`, or a tie between the two."""

    better: str
    worse: str
    tie: bool


def open_pairs(engine: Engine, task: str, rubric: Rubric, outputs: Sequence[tuple[str, str]], plan: Plan) -> str:
    """Plan who compares which two outputs (ids) of one item. Equal outputs are left out: there is nothing to say."""
    plan = plan.model_copy(update={"mode": "pairs", "gold": 0.0, "repeats": 0.0})
    pairs = sorted({pair for pair in outputs if pair[0] != pair[1]}, key=lambda pair: seeded(plan.seed, *pair))
    batch = digest([task, rubric.hash(), sorted(pairs), plan.model_dump(mode="json")])
    rows = []
    for number, pair in enumerate(pairs):
        for slot in range(2 if number < round(plan.overlap * len(pairs)) else 1):
            first, second = pair if (number + slot) % 2 == 0 else pair[::-1]
            rows.append(
                {
                    "id": digest([batch, *pair, slot]),
                    "batch": batch,
                    "output": first,
                    "other": second,
                    "kind": "plain",
                    "slot": slot,
                    "shuffle": seeded(plan.seed, "shuffle", *pair) % PRIME,
                }
            )
    return ratings.keep(engine, batch, task, rubric, plan, rows)


def prefer(engine: Engine, assignment: str, rater: str, winner: Winner, reason: str = "") -> None:
    """Finish a pair: the first, the second, neither (tie), or an abstention."""
    if winner not in get_args(Winner):
        raise InputError(f"no winner {winner!r}")
    now = time.time()
    with t.writing(engine) as c:
        row = ratings.leased(c, assignment, rater)
        if row["other"] is None:
            raise InputError("there is nothing to compare in this assignment: grade it")
        said = {"assignment": assignment, "first": row["output"], "second": row["other"], "rater": rater}
        said |= {"rubric": row["rubric"], "winner": winner, "reason": reason, "created": now}
        c.execute(sa.insert(t.comparisons).values(**said))
        c.execute(sa.update(t.assignments).where(t.assignments.c.id == assignment).values(done=now, draft=None))


def undo(engine: Engine, batch: str, rater: str) -> bool:
    """Take back the rater's latest comparison of the batch; False if there is none."""
    with t.writing(engine) as c:
        changes = {"winner": "undo", "reason": ""}
        opened = ratings.take_back(
            c, batch, rater, t.comparisons, changes, lambda line: {"pair": {key: line[key] for key in changes}}
        )
        return bool(opened)


def compared(engine: Engine, rubric_hash: str) -> list[Compared]:
    """The comparisons by people that stand; abstentions are left out."""
    k = t.comparisons.c
    query = sa.select(t.comparisons).where(k.rubric == rubric_hash, k.assignment.is_not(None)).order_by(k.id)
    found = []
    for row in {row.assignment: row for row in t.rows(engine, query)}.values():
        if (winner := row.winner) in ("first", "second", "tie"):
            pair = (row.first, row.second) if winner != "second" else (row.second, row.first)
            found.append(Compared(*pair, winner == "tie"))
    return found
