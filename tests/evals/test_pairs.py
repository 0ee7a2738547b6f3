"""Pairs: balanced order, both orders where two people judge, blind, undone by a line, nobody twice on one pair."""

from __future__ import annotations

import sqlalchemy as sa

from evals import answers, pairs, ratings
from evals import rubric as rubrics
from evals import tables as t
from evals.ratings import Assignment, NoWork, Plan
from factory.data.rows import Row

RUBRIC = rubrics.load("identity")


def opened(engine: sa.Engine, n: int, overlap: float) -> tuple[str, list[str], list[str]]:
    rows = [Row(({"role": "user", "content": f"question {i}"},)) for i in range(n)]
    one, two = (answers.record(engine, "who", f"who@v{v}", rows, [f"{v}: {i}" for i in range(n)]) for v in (1, 2))
    for rater in ("ann", "bob"):
        ratings.add_rater(engine, rater)
    plan = Plan(overlap=overlap, qualified_only=False)
    return pairs.open_pairs(engine, "who", RUBRIC, list(zip(one, two, strict=True)), plan), one, two


def test_half_the_pairs_show_either_side_first_and_second_looks_are_turned_round(database: sa.Engine) -> None:
    batch, one, _ = opened(database, 20, 1.0)
    with t.reading(database) as c:
        rows = c.execute(sa.select(t.assignments).where(t.assignments.c.batch == batch)).mappings().all()
    assert len(rows) == 40
    assert sum(row["output"] in one for row in rows if row["slot"] == 0) == 10
    for row in rows:
        turned = [r for r in rows if (r["output"], r["other"]) == (row["other"], row["output"])]
        assert [r["slot"] for r in turned] == [1 - row["slot"]]


def test_a_rater_sees_each_pair_once_and_an_undo_is_a_line(database: sa.Engine) -> None:
    batch, _, _ = opened(database, 3, 1.0)
    seen = set()
    for _ in range(3):
        shown = ratings.next_one(database, batch, "ann")
        assert isinstance(shown, Assignment) and shown.other and "who@" not in str(shown)
        seen.add(frozenset((shown.output, shown.other)))
        pairs.prefer(database, shown.id, "ann", "first", "shorter")
    assert len(seen) == 3 and isinstance(ratings.next_one(database, batch, "ann"), NoWork)
    assert pairs.undo(database, batch, "ann")
    again = ratings.next_one(database, batch, "ann")
    assert isinstance(again, Assignment) and again.draft["pair"]["winner"] == "first"
    assert len(pairs.compared(database, RUBRIC.hash())) == 2
    pairs.prefer(database, again.id, "ann", "second")
    last = pairs.compared(database, RUBRIC.hash())[-1]
    with t.reading(database) as c:
        texts = dict(c.execute(sa.select(t.outputs.c.id, t.outputs.c.text)).all())
    assert (texts[last.better], texts[last.worse]) == (again.other, again.output) and not last.tie
