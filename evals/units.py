"""The random order in which pairs are labelled, the batch that holds them, and what people said of each pair.

An item with the outputs of the versions compared is one unit: `evals.ratings` hands both outputs out one after the
other to the same person. The order is one for all raters: every item has the place E / weight, with E exponential by
hash of the seed and the item, so the first n are a random sample whose chances of being in are known (priority or
bottom-k sampling). All weights are 1 without a judge. With a calibrated one a pair weighs the more the less the judge
is sure of it (active inference, Zrnic and Candes, ICML 2024: the best chance is in proportion to the judge's error).
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from evals import ratings
from evals import tables as t
from evals.grades import Grade, Grades
from evals.rubric import Rubric
from evals.slots import Plan, place
from evals.verdicts import Consensus, Rating, standing, verdicts
from factory.errors import FactoryError

SURE = 0.5  # part of the weight that all pairs have alike, however sure the judge is


@dataclass
class Unit:
    """A unit as people left it: per output the grades of each vote. `asked`: some rater is through with it."""

    place: float
    weight: float
    votes: dict[str, list[dict[str, Grade]]] = field(default_factory=lambda: defaultdict(list))
    asked: bool = False


def batch_of(engine: Engine, task: str, rubric: str, versions: Iterable[str]) -> tuple[str, Plan] | None:
    """The batch (id and plan) in which people grade these versions side by side; the first one that was opened."""
    b, wanted = t.batches.c, set(versions)
    query = sa.select(b.id, b.plan).where(b.task == task, b.rubric == rubric).order_by(b.created, b.id)
    for id_, plan in ((row.id, Plan.model_validate(row.plan)) for row in t.rows(engine, query)):
        has = set(plan.versions)
        if plan.mode == "each" and (wanted == has or (len(wanted) > 1 and wanted <= has)):
            return id_, plan
    return None


def differing(outputs: Mapping[str, Sequence[str]]) -> list[str]:
    """The outputs to be graded of `outputs` (item to those of the versions): all but where all are equal."""
    return [o for each in outputs.values() if len(each) == 1 or len({*each}) > 1 for o in dict.fromkeys(each)]


def open_for_people(
    engine: Engine,
    task: str,
    rubric: Rubric,
    versions: Sequence[str],
    sides: Mapping[str, Sequence[str]],
    weights: Mapping[str, float] | None = None,
    plan: Plan | None = None,
) -> str:
    """Open the batch over `sides` (item to the outputs of `versions`) and return its id; one that is open stands.

    Items that all versions answer alike are left out. Outputs that a lead has settled, and that are none of these, are
    mixed in as gold. Errors: FactoryError where nothing differs.
    """
    if opened := batch_of(engine, task, rubric.hash(), versions):
        return opened[0]
    outputs = differing(sides)
    if not outputs:
        raise FactoryError("these versions answer everything alike: there is nothing to grade")
    settled = {o: v.levels for o, v in verdicts(engine, rubric).items() if v.adjudicated}
    gold = {o: levels for o, levels in settled.items() if o not in {*outputs}}
    more = {"versions": [*versions], "weights": dict(weights or {}), "gold_grades": gold}
    return ratings.open_batch(engine, task, rubric, outputs, (plan or Plan()).model_copy(update=more))


@dataclass(frozen=True)
class Labels:
    """What people said in a batch: its units by item, the verdicts by output, the single ratings."""

    units: dict[str, Unit] = field(default_factory=dict)
    said: dict[str, Consensus] = field(default_factory=dict)
    ratings: Sequence[Rating] = ()


def read(engine: Engine, batch: str, plan: Plan, rubric: Rubric) -> Labels:
    """The labels of a batch. Only votes that all sides of a unit have got from one slot count for it.

    A lead's word about an output stands in place of its votes.
    """
    a, o = t.assignments.c, t.outputs.c
    query = (
        sa.select(a.id, a.output, a.slot, a.done, o.item)
        .join(t.outputs, o.id == a.output)
        .where(a.batch == batch, a.kind == "plain")
    )
    every = standing(engine, rubric.hash(), batch)
    said = verdicts(engine, rubric, batch, every)
    units: dict[str, Unit] = {}
    slots: dict[tuple[str, int], list[Any]] = defaultdict(list)
    for row in t.rows(engine, query):
        slots[row.item, row.slot].append(row)
    for (item, _), sides in slots.items():
        weight = plan.weights.get(item, 1.0)
        unit = units.setdefault(item, Unit(place(plan.seed, item, weight), weight))
        if any(side.done is None for side in sides):
            continue
        unit.asked = True
        votes = [said[side.output].votes.get(side.id) if side.output in said else None for side in sides]
        if all(votes):
            for side, vote in zip(sides, votes, strict=True):
                unit.votes[side.output].append(vote or {})
    for unit in units.values():
        for output in unit.votes:
            if said[output].adjudicated:
                unit.votes[output] = [said[output].grades]
    return Labels(units, said, every)


def weights(
    rubric: Rubric, confusion: Mapping[str, Sequence[Sequence[int]]], judged: Grades, pairs: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """How heavy each item of `pairs` (item to its outputs) is drawn: in proportion to the judge's error, mixed with 1.

    The chance that an output is good (or poor) where the judge said these levels comes from its `confusion` on known
    items (by dimension, truth in rows); the variance of the difference is the sum over both outputs. What the judge
    abstained on is least sure. Items that all versions answer alike have no weight: nobody labels them.
    """
    chance: dict[tuple[str, str], tuple[float, float]] = {}
    for name, table in confusion.items():
        levels = rubric.dimension(name).names()
        for said, level in enumerate(levels):
            column = [row[said] + 0.5 for row in table]
            chance[name, level] = column[-1] / sum(column), column[0] / sum(column)

    def variance(output: str) -> float:
        said = ((name, grade.level) for name, grade in judged.get(output, {}).items())
        known = [chance[each] for each in said if each in chance]
        if not known:
            return 0.5
        good, not_poor = math.prod(g for g, _ in known), math.prod(1 - p for _, p in known)
        return good * (1 - good) + not_poor * (1 - not_poor)

    spread = {i: sum(map(variance, outputs)) ** 0.5 for i, outputs in pairs.items() if len({*outputs}) > 1}
    mean = sum(spread.values()) / len(spread) if spread else 0.0
    return {item: round(SURE + (1 - SURE) * s / mean, 4) for item, s in spread.items()} if mean else {}
