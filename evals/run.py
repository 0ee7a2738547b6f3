"""`factory grade version=summary@v2 against=prod`: answers, every grader there is, scorecards, and the gate's verdict.

Answers and grades are kept in the ratings database and reused. Which view decides (checks or people), and all margins,
stand in the recipe's gate section; the decision is logged with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from sqlalchemy.engine import Engine

from evals import answers, decisions, gate, panel, ratings, verdicts, voids
from evals import rubric as rubrics
from evals.agreement import Agreement
from evals.matrix import Cell
from evals.rubric import Rubric
from evals.scorecard import Scorecard
from evals.views import Answered, Numbers, View, Views
from factory.data.rows import Row
from factory.home import digest
from factory.recipe import Recipe

Answers = Callable[[Sequence[Row]], Sequence[str]]


@dataclass(frozen=True)
class Subject:
    """A version (or the base) and a way to get its answers to rows. `label` is what people call it, such as v2."""

    name: str
    answers: Answers
    label: str = ""


class Report(BaseModel):
    """Everything that `factory grade` found out. `scorecard` and `baseline` are by the view that decides.

    `used_before` counts the other versions that were decided on the same rows: each makes them tell a little less.
    """

    task: str
    version: str
    label: str
    against: str
    against_label: str
    rubric: str
    rubric_hash: str
    created: float
    split: str
    rows: int
    used_before: int
    evidence: View
    scorecard: Scorecard
    baseline: Scorecard | None = None
    views: dict[str, Scorecard]
    numbers: dict[str, Numbers]
    people_agreement: dict[str, Agreement]
    judging: panel.Judging | None = None
    gate: gate.Verdict
    matrix: list[Cell] = []

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_none=True)


def gate_rows(recipe: Recipe, rows: Sequence[Row]) -> list[Row]:
    """The rows of the gate's split: the share that the plan says, chosen by their hash."""
    return [row for row in rows if int(digest(["gate", row.key()])[:8], 16) / 16**8 < recipe.gate.share]


def grade(
    recipe: Recipe,
    rows: Sequence[Row],
    candidate: Subject,
    against: Subject | None,
    engine: Engine,
    jury: Sequence[panel.Member] = (),
    matrix: Sequence[Cell] = (),
    watch: panel.Watch = lambda what, tally: None,
) -> Report:
    """Grade `candidate` (and `against`, if anything is in production) on the gate's split of `rows`; decide and log."""
    rubric, plan = rubrics.load(recipe.rubric), recipe.gate
    voids.misfits(engine, rubric)
    rows = gate_rows(recipe, rows)
    versions = [_answered(engine, recipe.task, s, rows) for s in (candidate, against) if s]
    sources = [row.source for row in rows]
    pairs = {o: (source, text) for v in versions for o, source, text in zip(v.ids, sources, v.texts, strict=True)}

    judged, how = panel.hear(jury, rubric, pairs, engine, plan.min_judge, watch) if jury else ({}, None)
    found = {o: v for o, v in verdicts.verdicts(engine, rubric).items() if o in pairs}
    people = {o: v.grades for o, v in found.items()}
    views = Views(rubric, rows, versions, judged, panel.asked(rubric, jury) if how else None, people)
    if how and people:
        panel.compare_with_people(how, rubric, people, judged, pairs)
    if how and against and jury[0].judge.form == "rubric":
        new, old = versions
        every = zip(new.ids, sources, new.texts, old.texts, strict=True)
        panel.prefer(how, jury[0], rubric, {o: (s, a, b) for o, s, a, b in every if a != b}, engine, watch)

    agreement = verdicts.agreement(engine, rubric)
    validity = gate.Validity(
        abstentions=how.abstentions if how and plan.evidence == "people" else None,
        alpha=agreement["composite"].value if "composite" in agreement else None,
        overlap=agreement["composite"].n if "composite" in agreement else 0,
        unqualified=_unqualified(engine, rubric, found),
        harmful=_vetoed(rubric, versions[0], found),
    )
    decided = gate.decide(plan, views.pairs(plan.evidence), validity, compared=against is not None)
    split = digest(sorted(row.key() for row in rows))
    report = Report(
        task=recipe.task,
        version=candidate.name,
        label=candidate.label or candidate.name,
        against=against.name if against else "",
        against_label=(against.label or against.name) if against else "",
        rubric=rubric.name,
        rubric_hash=rubric.hash(),
        created=time.time(),
        split=split,
        rows=len(rows),
        used_before=decisions.used_before(engine, recipe.task, split, candidate.name),
        evidence=plan.evidence,
        scorecard=views.card(plan.evidence),
        baseline=views.card(plan.evidence, 1) if against else None,
        views={view: views.card(view) for view in views.graded},
        numbers=views.numbers(compared=against is not None),
        people_agreement=agreement,
        judging=how,
        gate=decided,
        matrix=[*matrix],
    )
    decisions.log(engine, recipe.task, candidate.name, report.against, split, rubric.hash(), decided)
    return report


def batch_for_people(
    recipe: Recipe, rows: Sequence[Row], versions: Sequence[str], engine: Engine, plan: ratings.Plan
) -> str:
    """Open the batch in which people grade the stored answers of `versions` on the gate's split. Returns its id."""
    stored = [answers.stored(engine, version) for version in versions]
    keys = [row.key() for row in gate_rows(recipe, rows)]
    outputs = [answers.output_id(key, said[key]) for key in keys for said in stored if key in said]
    return ratings.open_batch(engine, recipe.task, rubrics.load(recipe.rubric), outputs, plan)


def _answered(engine: Engine, task: str, subject: Subject, rows: Sequence[Row]) -> Answered:
    """Stored answers, and new ones for the rest."""
    known = answers.stored(engine, subject.name)
    new = [row for row in rows if row.key() not in known]
    if new:
        known |= dict(zip((row.key() for row in new), subject.answers(new), strict=True))
    texts = [known[row.key()] for row in rows]
    return Answered(subject.name, texts, answers.record(engine, task, subject.name, rows, texts))


def _unqualified(engine: Engine, rubric: Rubric, found: Mapping[str, verdicts.Verdict]) -> list[str]:
    raters = sorted({rater for verdict in found.values() for rater in verdict.raters})
    return [rater for rater in raters if not ratings.qualified(engine, rater, rubric.hash())]


def _vetoed(rubric: Rubric, candidate: Answered, found: Mapping[str, verdicts.Verdict]) -> list[str]:
    """The candidate's outputs that people gave the worst level on a dimension with a veto."""
    worst = {d.name: d.names()[0] for d in rubric.dimensions if d.veto}
    outputs = dict(zip(candidate.ids, candidate.texts, strict=True))
    return [text for o, text in outputs.items() if o in found and worst.items() & found[o].levels.items()]
