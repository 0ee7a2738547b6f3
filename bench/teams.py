"""Simulated teams on the gate's real path: database, batch, next, submit, verdicts, gate; a look after every 20 pairs.

A production version and a candidate answer the same items, a third of them alike. What an output is worth is drawn per
item for all versions together (correlation 0.5); raters see each of three dimensions rightly with a given chance.
"Worse by the margin" is meant in truth: the chance that an output is good (or poor), averaged over the items, differs
by just the margin, whatever raters see of it. A judge's grades are made up here; all else is the code of every day.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from evals import answers, ratings, tables, units
from evals import run as runs
from evals.agreement import confusion
from evals.grades import BANDS, Grade
from evals.rubric import Dimension, Level, Rubric, Sample
from evals.slots import Plan
from evals.views import Answered
from factory.data.rows import Row
from factory.recipe import Gate

EQUAL, LOOK, BETTER = 1 / 3, 20, 0.03
GOOD, POOR = 0.70, 0.06  # production's outputs, in truth, where the versions differ
PLAN = Gate(evidence="people", min_good=0.2, max_poor=0.5)  # the margins of every recipe, floors out of the way
WIDE = PLAN.model_copy(update={"margin_good": 0.15, "margin_poor": 0.10})
DIMENSIONS = ("first", "second", "third")
SAMPLE = Sample(output="x", reason="x")
RUBRIC = Rubric(
    name="simulated",
    title="simulated",
    guidelines="",
    sample_source="",
    dimensions=[
        Dimension(
            name=name,
            question="?",
            graders=["judge", "people"],
            levels=[Level(name=band, anchor="", example=SAMPLE) for band in BANDS],
        )
        for name in DIMENSIONS
    ],
)


@dataclass(frozen=True)
class Judge:
    """How a simulated judge errs: by chance per dimension, in favour of the candidate, or of the longer answer."""

    error: float = 0.05
    lenient: float = 0.0
    length: float = 0.0
    weigh: bool = False


@dataclass(frozen=True)
class Scenario:
    """One kind of team. `error` is a rater's per dimension; `abstain` the share of items that are hard to judge and on
    which the candidate is worse; `die` the chance that a rater never comes back from an item; `before`: production was
    graded as a candidate; `by`: what a bad candidate is worse in."""

    items: int = 270
    plan: Gate = PLAN
    error: float = 0.04
    abstain: float = 0.0
    die: float = 0.0
    before: bool = False
    judge: Judge | None = None
    by: str = "good"

    @property
    def margin(self) -> float:
        return self.plan.margin_good if self.by == "good" else self.plan.margin_poor


SCENARIOS: dict[str, Scenario] = {
    "people": Scenario(),
    "people_more_poor": Scenario(by="poor"),
    "people_few_items": Scenario(items=120, plan=WIDE),
    "people_noisy_some_die": Scenario(error=0.075, die=0.03),
    "people_abstain_on_hard": Scenario(abstain=0.015),
    "production_graded_before": Scenario(before=True),
    "judge_lenient": Scenario(judge=Judge(0.05, lenient=0.15)),
    "judge_noisy": Scenario(judge=Judge(0.25)),
    "judge_likes_length": Scenario(judge=Judge(0.05, length=0.25)),
    "judge_good": Scenario(judge=Judge(0.03)),
    "judge_good_weighed": Scenario(judge=Judge(0.03, weigh=True)),
}


@dataclass(frozen=True)
class World:
    """Truth for one experiment: levels of every output, items x versions x dimensions (0 poor to 2 good)."""

    levels: np.ndarray
    equal: np.ndarray
    hard: np.ndarray


def world(rng: np.random.Generator, s: Scenario, better: Sequence[float]) -> World:
    """`better`: by how much each version is better than the last one, in truth and over all items."""
    from scipy.special import ndtr

    shift = np.array([*better, 0.0])[:, None] / (1 - EQUAL)
    step = np.array([0, -1, 1] if s.by == "good" else [-1, 1, 0])
    edges = np.clip(np.cumsum([POOR, 1 - GOOD - POOR, GOOD] + shift * step, axis=1)[:, :2], 0, 1)
    many = len(edges)
    u = ndtr((rng.normal(size=(s.items, 1)) + rng.normal(size=(s.items, many))) * 0.5**0.5)
    band = (u > edges[None, :, 0]).astype(int) + (u > edges[None, :, 1])
    equal = np.arange(s.items) < round(s.items * EQUAL)
    band[equal] = band[equal, -1:]
    levels = np.full((s.items, many, len(DIMENSIONS)), 2)
    at = rng.integers(len(DIMENSIONS), size=(s.items, many))
    at[equal] = at[equal, -1:]
    np.put_along_axis(levels, at[..., None], band[..., None], axis=2)
    worse = np.flatnonzero(~equal & (band[:, 0] < band[:, 1]))
    hard = np.isin(np.arange(s.items), rng.permutation(worse)[: round(s.abstain * s.items)])
    return World(levels, equal, hard)


def look(rng: np.random.Generator, levels: np.ndarray, error: float) -> np.ndarray:
    """What somebody sees who errs by one level in this share of dimensions."""
    wrong = rng.random(levels.shape) < error
    step = np.where(levels == 0, 1, np.where(levels == 2, -1, rng.choice([-1, 1], levels.shape)))
    return np.asarray(levels + wrong * step)


class Team:
    """One experiment: an empty database, versions with answers, raters at work until the gate has decided.

    `better`: of the candidate, and of production if there is an anchor besides, against the last version.
    """

    def __init__(self, engine: Engine, seed: int, s: Scenario, better: Sequence[float]) -> None:
        self.engine, self.s, self.rng = engine, s, np.random.default_rng(seed)
        self.world = world(self.rng, s, better)
        self.raters = [f"rater {i}" for i in range(4)]
        self.clock = 0.0
        for rater in self.raters:
            ratings.qualify(engine, rater, RUBRIC, True, {})
        names = ("new", "old", "anchor")[: len(better) + 1]
        self.rows = [Row(({"role": "user", "content": f"{seed}: {i}"},)) for i in range(s.items)]
        texts = [[f"{'all' if e else v} {i}" for i, e in enumerate(self.world.equal)] for v in names]
        self.versions = [
            Answered(name, said, answers.record(engine, "simulated", name, self.rows, said))
            for name, said in zip(names, texts, strict=True)
        ]
        self.truth = {
            (row.source, said): (i, v)
            for v, each in enumerate(texts)
            for i, (row, said) in enumerate(zip(self.rows, each, strict=True))
        }
        self.judged = self._judge(s.judge) if s.judge else {}
        if s.before:
            some = [o for o, e in zip(self.versions[1].ids, self.world.equal, strict=True) if not e][:60]
            self._label(ratings.open_batch(engine, "simulated", RUBRIC, some, Plan(gold=0, repeats=0)), len(some))
        outputs = {r.key(): [v.ids[i] for v in self.versions] for i, r in enumerate(self.rows)}
        weights: dict[str, float] = {}
        if s.judge and s.judge.weigh:
            weights = units.weights(RUBRIC, self._known(s.judge), self.judged, outputs)
        plan = Plan(seed=seed, gold=0, repeats=0, versions=[*names], weights=weights)
        self.batch = ratings.open_batch(engine, "simulated", RUBRIC, units.differing(outputs), plan)

    def run(self) -> tuple[str, int]:
        """The gate's decision, INCONCLUSIVE if there is nothing left to label; and the pairs labelled."""
        asked = list(DIMENSIONS) if self.s.judge else None
        while True:
            more = self._label(self.batch, 2 * LOOK)
            found = runs.weigh(
                self.engine, "simulated", RUBRIC, self.s.plan, self.rows, self.versions, self.judged, asked
            ).verdict
            if found.decision != "INCONCLUSIVE" or not more:
                return found.decision, found.labels

    def _label(self, batch: str, most: int) -> bool:
        """Grade so many outputs; False if nothing is left to do."""
        idle, done = 0, 0
        while done < most and idle < len(self.raters):
            rater = self.raters[int(self.rng.integers(len(self.raters)))] if not idle else self.raters[idle]
            self.clock += 20
            found = ratings.next_one(self.engine, batch, rater, self.clock)
            if not isinstance(found, ratings.Assignment):
                if isinstance(found, ratings.NoWork) and found.until:
                    self.clock = max(self.clock, found.until + 1)
                else:
                    idle += 1
                continue
            idle = 0
            if self.rng.random() < self.s.die:
                self.raters.remove(rater)
                self.raters.append(f"rater {uuid.UUID(int=int(self.rng.integers(2**62)))}")
                ratings.qualify(self.engine, self.raters[-1], RUBRIC, True, {})
                continue
            self._submit(found, rater)
            done += 1
        return done == most

    def _submit(self, found: ratings.Assignment, rater: str) -> None:
        item, version = self.truth[found.source, found.output]
        if self.world.hard[item] and self.rng.random() < 0.7:
            ratings.submit(self.engine, found.id, rater, RUBRIC, {}, 1.0, abstain=True)
            return
        seen = look(self.rng, self.world.levels[item, version], self.s.error)
        grades = {n: {"level": BANDS[int(x)], "reason": "seen"} for n, x in zip(DIMENSIONS, seen, strict=True)}
        ratings.submit(self.engine, found.id, rater, RUBRIC, grades, 1.0)

    def _judge(self, judge: Judge) -> dict[str, dict[str, Grade]]:
        said = look(self.rng, self.world.levels, judge.error)
        raised = self.rng.random((self.s.items, 2)) < np.array([judge.lenient + judge.length, 0.0])
        said[raised & ~self.world.equal[:, None]] = 2
        return {
            o: {n: Grade(BANDS[int(x)]) for n, x in zip(DIMENSIONS, said[i, v], strict=True)}
            for v, version in enumerate(self.versions)
            for i, o in enumerate(version.ids)
        }

    def _known(self, judge: Judge) -> dict[str, list[list[int]]]:
        """What the judge makes of 120 known items."""
        known = self.rng.choice(3, size=120, p=[0.3, 0.2, 0.5])
        table = confusion(known.tolist(), look(self.rng, known, judge.error).tolist(), 3)
        return dict.fromkeys(DIMENSIONS, table)


def fresh() -> Engine:
    """An empty ratings database in memory, with the migrations and triggers of every other."""
    return tables.prepare(sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool))


def experiment(name: str, seed: int, better: Sequence[float]) -> tuple[str, int]:
    """The decision on one candidate, and the pairs that were labelled for it."""
    engine = fresh()
    try:
        return Team(engine, seed, SCENARIOS[name], better).run()
    finally:
        engine.dispose()


def chain(seed: int, versions: int = 10, each: float = -0.04) -> float:
    """Candidates that are each worse than the one before by `each`; where production ends, against the anchor."""
    production = 0.0
    for k in range(1, versions + 1):
        better = [each * k] if production == 0.0 else [each * k, production]
        if experiment("people", seed * versions + k, better)[0] == "PROMOTE":
            production = each * k
    return production
