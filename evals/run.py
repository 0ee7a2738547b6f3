"""`factory grade version=summary@v2 against=prod`: answers, every grader there is, scorecards, and the gate's verdict.

Answers and grades are kept in the ratings database and reused. Which view decides (checks or people), and all margins,
stand in the recipe's gate section; the decision is logged with it.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from sqlalchemy.engine import Engine

from evals import answers, criteria, decisions, frozen, gate, panel, ratings, units, verdicts, voids
from evals import rubric as rubrics
from evals.agreement import Agreement, alpha, attenuation
from evals.answers import Answer
from evals.grades import BANDS, Grades
from evals.judges import Member
from evals.matrix import Cell
from evals.rubric import Rubric
from evals.scorecard import Scorecard
from evals.views import Answered, Numbers, View, Views
from factory.data.rows import Row
from factory.errors import InputError
from factory.recipe import Gate, Recipe


@dataclass(frozen=True)
class Subject:
    """A version (or the base) and a way to get its answers to rows. `label` is what people call it, such as v2."""

    name: str
    answers: Answer
    label: str = ""

    @property
    def shown(self) -> str:
        return self.label or self.name


class Report(BaseModel):
    """Everything that `factory grade` found out. `scorecard` and `baseline` are by the view that decides.

    `used_before` counts the other versions that were decided on the same rows: each makes them tell a little less.
    `sentence`: what was compared, by whom, on how many pairs, looked at how often, and what would change the verdict.
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
    sentence: str = ""
    people_agreement: dict[str, Agreement]
    judging: panel.Judging | None = None
    gate: gate.Verdict
    matrix: list[Cell] = []

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_none=True)


@dataclass(frozen=True)
class Weighed:
    """The gate's verdict on answers that are all there, with what it rests on; `batch` is where people graded."""

    verdict: gate.Verdict
    views: Views
    batch: str
    said: Mapping[str, verdicts.Consensus]
    sample: criteria.Sample | None


def gate_rows(recipe: Recipe, rows: Sequence[Row]) -> list[Row]:
    """The rows of the gate's split."""
    return [row for row in rows if answers.gated(row.key(), recipe.gate.share)]


def grade(
    recipe: Recipe,
    rows: Sequence[Row],
    candidate: Subject,
    against: Subject | None,
    engine: Engine,
    jury: Sequence[Member] = (),
    matrix: Sequence[Cell] = (),
    watch: panel.Watch = lambda what, tally: None,
    anchor: Subject | None = None,
    label: str = "",
) -> Report:
    """Grade `candidate` (and `against`, if anything is in production) on the gate's split of `rows`; decide and log.

    `anchor`: the version that losses are held against too, where it is neither of the two. `label`: open the batch in
    which people label the comparison, in `random` order or with the pairs first on which the judge is `uncertain`.
    Errors: GateRefused if the comparison has begun under other terms.
    """
    rubric, plan = rubrics.load(recipe.rubric), recipe.gate
    if label and (label not in ("random", "uncertain") or plan.evidence != "people"):
        raise InputError(f"label={label}: random or uncertain, and only where people decide (gate.evidence=people)")
    voids.misfits(engine, rubric)
    rows = gate_rows(recipe, rows)
    other = against.name if against else ""
    terms = _terms(engine, recipe, rubric, rows, [s.name if s else "" for s in (candidate, against, anchor)], jury)
    versions = [_answered(engine, recipe.task, s, rows) for s in (candidate, against, anchor) if s]
    pairs = {o: (row.source, text) for v in versions for o, row, text in zip(v.ids, rows, v.texts, strict=True)}
    judged, how = panel.ask_jury(jury, rubric, pairs, engine, plan.min_judge, watch) if jury else ({}, None)
    weights = _weights(rubric, how, judged, rows, versions) if label == "uncertain" else {}
    asked = rubric.decided_by("judge") if how else None
    found = weigh(engine, recipe.task, rubric, plan, rows, versions, judged, asked, how.abstentions if how else None)
    if how and (people := {o: v.grades for o, v in found.said.items() if o in pairs}):
        panel.compare_with_people(how, rubric, people, judged, pairs)
    if how and against:
        every = zip(versions[0].ids, rows, versions[0].texts, versions[1].texts, strict=True)
        panel.prefer(how, jury[0], rubric, {o: (r.source, a, b) for o, r, a, b in every if a != b}, engine, watch)
    looks = decisions.looks(engine, candidate.name, other, rubric.hash()) + 1
    decided = found.verdict.model_copy(update={"looks": looks, "terms": terms})
    held = (against.shown if against else "the floors") + (f" and the anchor {anchor.shown}" if anchor else "")
    decided.sentence = gate.sentence(decided, candidate.shown, held, _by(plan, found, how))
    report = Report(
        task=recipe.task,
        version=candidate.name,
        label=candidate.shown,
        against=other,
        against_label=against.shown if against else "",
        created=time.time(),
        split=frozen.split_of(rows),
        rows=len(rows),
        used_before=decisions.used_before(engine, recipe.task, rows, candidate.name),
        sentence=decided.sentence,
        judging=how,
        gate=decided,
        matrix=[*matrix],
        **_by_views(engine, plan, found),
    )
    decisions.log(engine, recipe.task, candidate.name, other, report.split, rubric.hash(), decided)
    if label:
        batch_for_people(recipe, rows, [v.name for v in versions], engine, weights=weights)
    return report


def _terms(
    engine: Engine, recipe: Recipe, rubric: Rubric, rows: Sequence[Row], names: Sequence[str], jury: Sequence[Member]
) -> frozen.Terms:
    """What the candidate, the other and the anchor (`names`) are compared under: fixed from the first label or judge's
    call on."""
    version, other, anchor = names
    judges = {m.name: m.judge.identity(m.version) for m in jury}
    terms = frozen.terms(recipe.gate, rubric, rows, judges, anchor)
    begun = jury or units.batch_of(engine, recipe.task, rubric.hash(), [name for name in (version, other) if name])
    if recipe.gate.evidence == "people" and begun:
        frozen.freeze(engine, recipe.task, version, other, rubric, terms)
    return terms


def _weights(
    rubric: Rubric, how: panel.Judging | None, judged: Grades, rows: Sequence[Row], versions: Sequence[Answered]
) -> dict[str, float]:
    """How heavy each row is drawn for people, by how uncertain the judge is. InputError where no judge is heard."""
    if not (known := panel.known_errors(how) if how else {}):
        raise InputError("label=uncertain: no judge is heard (gate.judge=…); label=random needs none")
    outputs = {row.key(): [v.ids[i] for v in versions] for i, row in enumerate(rows)}
    return units.weights(rubric, known, judged, outputs)


def _by(plan: Gate, found: Weighed, how: panel.Judging | None) -> str:
    """Who decided, in words."""
    if plan.evidence != "people":
        return "checks"
    who = len({rater for v in found.said.values() for rater in v.raters})
    persons = "one person" if who == 1 else f"{who} people" if who else "nobody yet"
    return persons + (f" and the judge {how.name}" if how and panel.known_errors(how) else "")


def _by_views(engine: Engine, plan: Gate, found: Weighed) -> dict[str, Any]:
    """The parts of a report that are worked out from the grades."""
    views, rubric = found.views, found.views.rubric
    return {
        "rubric": rubric.name,
        "rubric_hash": rubric.hash(),
        "people_agreement": verdicts.agreement(engine, rubric, found.batch) if found.batch else {},
        "evidence": plan.evidence,
        "scorecard": views.card(plan.evidence),
        "baseline": views.card(plan.evidence, 1) if len(views.versions) > 1 else None,
        "views": {view: views.card(view) for view in views.graded},
        "numbers": views.numbers(plan, found.sample),
    }


def weigh(
    engine: Engine,
    task: str,
    rubric: Rubric,
    plan: Gate,
    rows: Sequence[Row],
    versions: Sequence[Answered],
    judged: Grades,
    asked: Sequence[str] | None,
    abstentions: float | None = None,
) -> Weighed:
    """From the ratings in the database to the verdict on the first of `versions` (then production, then the anchor)."""
    hash_ = rubric.hash()
    opened = units.batch_of(engine, task, hash_, [v.name for v in versions])
    labels = units.read(engine, *opened, rubric) if opened else units.Labels()
    people = {o: v.grades for o, v in labels.said.items()}
    views = Views(rubric, rows, versions, judged, asked, people, labels.units)
    compared = len(versions) > 1
    matrix = verdicts.agreed(rubric, labels.ratings).get("composite", [])
    harmful, doubtful = _harm(engine, rubric, versions[0])
    raters = sorted({rater for v in labels.said.values() for rater in v.raters})
    validity = gate.Validity(
        abstentions=abstentions if plan.evidence == "people" else None,
        alpha=alpha(matrix) if matrix else None,
        overlap=sum(sum(v is not None for v in column) > 1 for column in zip(*matrix, strict=True)),
        unqualified=[rater for rater in raters if not ratings.qualified(engine, rater, hash_)],
        harmful=harmful,
        doubtful=doubtful,
        seen={band: round(attenuation(matrix, n), 4) for n, band in enumerate(BANDS)} if matrix else {},
    )
    pairs = views.pairs(plan.evidence)
    anchor = views.pairs(plan.evidence, 2) if len(versions) > 2 else []
    decided = gate.decide(plan, pairs, validity, compared, anchor)
    by_people = pairs if plan.evidence == "people" else views.pairs("people") if opened else []
    sample = criteria.sample(plan, by_people, compared, validity.seen) if opened else None
    return Weighed(decided, views, opened[0] if opened else "", labels.said, sample)


def batch_for_people(
    recipe: Recipe,
    rows: Sequence[Row],
    versions: Sequence[str],
    engine: Engine,
    plan: ratings.Plan | None = None,
    weights: Mapping[str, float] | None = None,
) -> str:
    """Open the batch in which people grade the stored answers of `versions` on the gate's split. Returns its id.

    `versions`: the candidate, production (if there is any) and the anchor (if it is another one). Items that all of
    them answer alike are left out. With the batch the plan is fixed. A comparison has one batch: the first one stands.
    """
    rubric, kept = rubrics.load(recipe.rubric), gate_rows(recipe, rows)
    terms = frozen.terms(recipe.gate, rubric, kept, None, versions[2] if len(versions) > 2 else "")
    frozen.freeze(engine, recipe.task, versions[0], versions[1] if len(versions) > 1 else "", rubric, terms)
    stored = [answers.stored(engine, version) for version in versions]
    sides = {k: [answers.output_id(k, said[k]) for said in stored if k in said] for k in (r.key() for r in kept)}
    return units.open_for_people(engine, recipe.task, rubric, versions, sides, weights, plan)


def _answered(engine: Engine, task: str, subject: Subject, rows: Sequence[Row]) -> Answered:
    """Stored answers, and new ones for the rest."""
    texts = answers.stored_first(engine, subject.name, subject.answers)(rows)
    return Answered(subject.name, texts, answers.record(engine, task, subject.name, rows, texts))


def _harm(engine: Engine, rubric: Rubric, candidate: Answered) -> tuple[list[str], int]:
    """The candidate's outputs that are worst on a dimension with a veto by the lead's word, or else by two people's;
    and how many only one person called so."""
    worst = {d.name: d.names()[0] for d in rubric.dimensions if d.veto}
    if not worst:
        return [], 0
    found, harmful, doubtful = verdicts.verdicts(engine, rubric), [], 0
    for output, text in dict(zip(candidate.ids, candidate.texts, strict=True)).items():
        if (said := found.get(output)) is None:
            continue
        if said.adjudicated:
            harmful += [text] if worst.items() & said.levels.items() else []
        elif said.harm > 1:
            harmful.append(text)
        else:
            doubtful += said.harm
    return harmful, doubtful
