"""What a lead sees: how far a batch is, how each rater does over time, disputes side by side, and what goes out.

Raters are shown with their names to the lead alone. Outputs stay blind here too: whoever settles a dispute does not
know which version wrote the text.
"""

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.engine import Engine

from evals import tables as t
from evals import verdicts
from evals.rubric import Rubric
from evals.slots import Plan
from evals.verdicts import Rating
from evals.voids import TAKEN_BACK

DAY = 86400.0
DRIFT_MIN = 20  # graded outputs before a rater's drift is shown


class Batch(BaseModel):
    """A batch and how far it is. `left` and `planned` count assignments; repeats and gold are not among them."""

    id: str
    task: str
    rubric: str
    pairs: bool
    created: float
    planned: int
    left: int
    leased: int
    today: int
    outputs: int
    versions: list[str]


class RaterRow(BaseModel):
    """One rater: what is finished, what they abstained on, how often their level was that of gold, and their own at the
    second look, and the usual seconds for one. `drift`: by how much of the scale their grades went up from the first to
    the last third (95 %)."""

    rater: str
    done: int
    abstained: int
    gold: float | None
    gold_n: int
    consistency: float | None
    repeats: int
    seconds: float | None
    drift: float | None
    drift_interval: tuple[float, float] | None


class Dispute(BaseModel):
    """An output that raters saw differently: their standing grades, by letters instead of names."""

    output: str
    source: str
    text: str
    said: list[dict[str, Any]]


def batches(engine: Engine) -> list[Batch]:
    """All batches, newest first."""
    now = time.time()
    b, a, w = t.batches.c, t.assignments.c, t.answers.c
    open_, count = a.done.is_(None), sa.func.count
    leased, today = open_ & (a.leased_until > now), a.done > now - DAY
    query = (
        sa.select(
            b.id, b.task, b.rubric, b.plan, b.created, count(sa.distinct(a.output)).label("outputs"),
            count(a.id).label("planned"), count(sa.case((open_, 1))).label("left"),
            count(sa.case((leased, 1))).label("leased"), count(sa.case((today, 1))).label("today"),
        )
        .join(t.assignments, (a.batch == b.id) & (a.kind == "plain"))
        .group_by(b.id)
        .order_by(b.created.desc())
    )  # fmt: skip
    who = sa.select(a.batch, w.version).distinct().join(t.answers, w.output == a.output).where(a.kind == "plain")
    versions: dict[str, list[str]] = defaultdict(list)
    for batch, version in t.rows(engine, who):
        versions[batch].append(version)
    return [
        Batch(**row._mapping, pairs=Plan.model_validate(row.plan).mode == "pairs", versions=sorted(versions[row.id]))
        for row in t.rows(engine, query)
    ]


def raters(engine: Engine, rubric: Rubric) -> list[RaterRow]:
    """Everybody who rated under this rubric."""
    gold: dict[str, dict[str, str]] = {}
    r, b = t.ratings.c, t.batches.c
    for (plan,) in t.rows(engine, sa.select(b.plan).where(b.rubric == rubric.hash())):
        gold |= Plan.model_validate(plan).gold_grades
    timed = sa.select(r.rater, r.seconds).where(r.rubric == rubric.hash(), r.seconds.is_not(None))
    times: dict[str, list[float]] = defaultdict(list)
    for rater, seconds in t.rows(engine, timed):
        times[rater].append(seconds)
    every: dict[str, list[Rating]] = defaultdict(list)
    for said in sorted(verdicts.standing(engine, rubric.hash()), key=lambda s: s.created):
        every[said.rater].append(said)
    rows = []
    for rater, mine in sorted(every.items()):
        graded = [said for said in mine if said.grades]
        golden = [
            said.grades[name]["level"] == level
            for said in graded
            if said.kind == "gold"
            for name, level in gold.get(said.output, {}).items()
            if name in said.grades
        ]
        value, interval = drift([_height(rubric, said.grades) for said in graded if said.kind == "plain"])
        rows.append(
            RaterRow(
                rater=rater,
                done=len(mine),
                abstained=len(mine) - len(graded),
                gold=_share(golden),
                gold_n=len(golden),
                consistency=_share(verdicts.again(mine)),
                repeats=sum(said.kind == "repeat" for said in mine),
                seconds=round(statistics.median(times[rater]), 1) if times[rater] else None,
                drift=value,
                drift_interval=interval,
            )
        )
    return rows


def _share(hits: list[bool]) -> float | None:
    return round(statistics.fmean(hits), 4) if hits else None


def drift(heights: list[float]) -> tuple[float | None, tuple[float, float] | None]:
    """Mean of the last third less mean of the first, with Welch's 95 % interval; None below DRIFT_MIN."""
    if len(heights) < DRIFT_MIN:
        return None, None
    third = len(heights) // 3
    first, last = heights[:third], heights[-third:]
    value = statistics.fmean(last) - statistics.fmean(first)
    if len({*first}) == len({*last}) == 1:  # nothing varies: the difference is what it is
        return round(value, 4), (round(value, 4), round(value, 4))
    from scipy.stats import ttest_ind

    found = ttest_ind(last, first, equal_var=False).confidence_interval(0.95)
    low, high = float(found.low), float(found.high)
    return round(value, 4), (round(low, 4), round(high, 4))


def dispute(engine: Engine, rubric: Rubric, output: str) -> Dispute | None:
    """One disputed output with what was said of it; the raters' order hangs on the output, not on their names."""
    said = [
        s for s in verdicts.standing(engine, rubric.hash()) if s.output == output and s.kind == "plain" and s.grades
    ]
    query = sa.select(t.items.c.source, t.outputs.c.text).join(t.items, t.items.c.id == t.outputs.c.item)
    found = t.rows(engine, query.where(t.outputs.c.id == output))
    if not found or not said:
        return None
    said.sort(key=lambda s: s.created)
    graded = [{"who": chr(65 + i % 26), "grades": dict(s.grades)} for i, s in enumerate(said)]
    return Dispute(output=output, source=found[0].source, text=found[0].text, said=graded)


def export_ratings(engine: Engine, batch: Batch, rubric: Rubric) -> Iterator[dict[str, Any]]:
    """Every standing rating of a batch, one dict per rating; gold and repeats are named so."""
    a, r, o, i = t.assignments.c, t.ratings.c, t.outputs.c, t.items.c
    query = (
        sa.select(r.id, r.assignment, a.kind, r.rater, r.action, r.grades, r.seconds, r.created, i.source, o.text)
        .join(t.assignments, a.id == r.assignment)
        .join(t.outputs, o.id == r.output)
        .join(t.items, i.id == o.item)
        .where(a.batch == batch.id)
        .order_by(r.id)
    )
    last = {row.assignment: row._mapping for row in t.rows(engine, query)}
    for row in last.values():
        if row["action"] not in TAKEN_BACK:
            kept = ("kind", "rater", "action", "grades", "seconds", "created", "source")
            yield {
                "task": batch.task, "rubric": rubric.name, "rubric_hash": batch.rubric, **{k: row[k] for k in kept},
                "output": row["text"],
            }  # fmt: skip


def _height(rubric: Rubric, grades: Any) -> float:
    """Mean level of a rating on a scale from 0 (all worst) to 1 (all best)."""
    return statistics.fmean(
        rubric.dimension(name).names().index(grade["level"]) / (len(rubric.dimension(name).levels) - 1)
        for name, grade in grades.items()
    )
