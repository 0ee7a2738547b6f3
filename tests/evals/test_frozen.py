"""The gate keeps its word: a plan that stays, judges that are known, votes that are fair, on the real database."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from bench import teams
from evals import answers, decisions, frozen, ratings, run, units, verdicts
from evals import rubric as rubrics
from evals.agreement import Agreement
from evals.calibration import Calibration
from evals.grades import Grade
from evals.run import Subject
from evals.scorecard import composite
from factory.errors import GateRefused
from factory.recipe import Gate
from tests.evals.test_run import labelled, messages, people_grade, recipe, right, summaries

RUBRIC = rubrics.load("summary")
PLAN = Gate(evidence="people", min_overlap=5, min_good=0.3, max_poor=0.6)
QUIET = ratings.Plan(overlap=0.3, gold=0, repeats=0)


def begun(engine: sa.Engine, most: int) -> tuple[Subject, Subject]:
    new, old = Subject("summary@new", summaries(0.02, 1)), Subject("summary@old", summaries(0.3, 2))
    run.grade(recipe("summary", PLAN), messages(120), new, old, engine)
    batch = run.batch_for_people(recipe("summary", PLAN), messages(120), [new.name, old.name], engine, QUIET)
    people_grade(engine, batch, RUBRIC, most, ["ann", "bob"])
    return new, old


@pytest.mark.parametrize(
    ("change", "rows", "told"),
    [
        ({"margin_good": 0.99}, 120, "gate.margin_good was 0.1, is 0.99"),
        ({"min_alpha": -1.0}, 120, "gate.min_alpha was 0.4, is -1.0"),
        ({}, 119, "rows was"),
    ],
)
def test_a_plan_that_changes_after_the_first_label_is_refused_with_what_differs(
    database: sa.Engine, change: dict[str, float], rows: int, told: str
) -> None:
    new, old = begun(database, 30)
    with pytest.raises(GateRefused, match=told) as caught:
        run.grade(recipe("summary", PLAN.model_copy(update=change)), messages(rows), new, old, database)
    assert caught.value.exit_code == 3
    assert run.grade(recipe("summary", PLAN), messages(120), new, old, database).gate.looks == 2


def test_a_plan_that_changes_between_decision_and_promotion_is_refused(database: sa.Engine) -> None:
    old, new = Subject("classification@old", right(0.9, 9)), Subject("classification@new", right(0.97))
    rubric, rows = rubrics.load("classification"), labelled(200)
    run.grade(recipe("classification", Gate(margin_good=0.99)), rows, new, old, database)
    today = frozen.terms(Gate(), rubric, rows, {}, "")
    with pytest.raises(GateRefused, match=r"gate.margin_good was 0.99, is 0.1"):
        decisions.allow(database, new.name, old.name, today=today)
    run.grade(recipe("classification"), rows, new, old, database)
    assert decisions.allow(database, new.name, old.name, today=today)
    other = [rows[0].__class__(rows[0].messages, {"label": "another"}), *rows[1:]]
    changes = {
        "rows": frozen.terms(Gate(), rubric, other, {}, ""),
        "rubric": frozen.terms(Gate(), rubric.model_copy(update={"guidelines": "Other."}), rows, {}, ""),
        "judge": frozen.terms(Gate(), rubric, rows, {"big": "1"}, ""),
        "anchor": frozen.terms(Gate(), rubric, rows, {}, "classification@first"),
    }
    for name, terms in changes.items():
        with pytest.raises(GateRefused, match=f"{name} was"):
            decisions.allow(database, new.name, old.name, today=terms)


def test_earlier_grades_of_production_do_not_count_again(database: sa.Engine) -> None:
    """Production was graded as a candidate: its votes of then are no votes beside the next candidate."""
    new, old = begun(database, 60)
    before = run.grade(recipe("summary", PLAN), messages(120), new, old, database)
    ids = [answers.output_id(item, text) for item, text in answers.stored(database, old.name).items()]
    batch = ratings.open_batch(database, "summary", RUBRIC, ids, QUIET)
    worst = {d: {"level": "poor", "reason": "a hard rater"} for d in RUBRIC.decided_by("people")}
    ratings.qualify(database, "eve", RUBRIC, True, {})
    while isinstance(found := ratings.next_one(database, batch, "eve"), ratings.Assignment):
        ratings.submit(database, found.id, "eve", RUBRIC, worst, 1)
    after = run.grade(recipe("summary", PLAN), messages(120), new, old, database)
    assert after.baseline == before.baseline and after.numbers == before.numbers
    assert after.gate.labels == before.gate.labels > 0


def test_agreement_is_that_of_the_batch(database: sa.Engine) -> None:
    begun(database, 120)
    other = [answers.output_id(row.key(), "Elsewhere: room 1.") for row in messages(20)]
    answers.record(database, "summary", "summary@else", messages(20), ["Elsewhere: room 1."] * 20)
    second = ratings.open_batch(database, "summary", RUBRIC, other, ratings.Plan(overlap=1, gold=0, repeats=0))
    first = units.batch_of(database, "summary", RUBRIC.hash(), ["summary@new", "summary@old"])
    assert first is not None
    before = verdicts.agreement(database, RUBRIC, first[0])["composite"].n
    people_grade(database, second, RUBRIC, 40, ["ann", "bob"])
    assert verdicts.agreement(database, RUBRIC, first[0])["composite"].n == before
    assert verdicts.agreement(database, RUBRIC)["composite"].n > before


def test_one_vote_for_harm_asks_a_lead_and_is_no_veto(database: sa.Engine) -> None:
    new, old = begun(database, 0)
    batch = units.batch_of(database, "summary", RUBRIC.hash(), [new.name, old.name])
    assert batch
    grades = {d: {"level": "good"} for d in RUBRIC.decided_by("people")}
    insult = grades | {"harmfulness": {"level": "poor", "reason": "rude"}}
    mine, told = set(answers.stored(database, new.name).values()), False
    for i in range(200):
        a = ratings.next_one(database, batch[0], ("ann", "bob")[i % 2])
        if isinstance(a, ratings.Assignment):
            harms = not told and a.output in mine
            ratings.submit(database, a.id, ("ann", "bob")[i % 2], RUBRIC, insult if harms else grades, 1)
            told = told or harms
    found = run.grade(recipe("summary", PLAN), messages(120), new, old, database).gate
    harmful = [o for o, v in verdicts.verdicts(database, RUBRIC).items() if v.harm]
    assert len(harmful) == 1 and found.decision == "INCONCLUSIVE" and "called harmful by one person" in found.why
    assert harmful[0] in verdicts.disputes(database, RUBRIC)


def test_a_judge_needs_enough_known_items_and_an_interval_above_the_floor() -> None:
    """Kappa 1.0 on two known items, or one that may be 0.4 as well, is not known to be good."""
    full, none = [[30, 0, 0], [0, 0, 0], [0, 0, 30]], [[1, 0, 0], [0, 0, 0], [0, 0, 1]]
    sure = Agreement(value=1.0, low=0.95, high=1.0, n=60)
    cases = {
        "heard": (sure, full),
        "few": (Agreement(value=1.0, low=1.0, high=1.0, n=2), none),
        "wide": (Agreement(value=0.65, low=0.4, high=0.8, n=60), full),
        "one level": (sure, [[60, 0, 0], [0, 0, 0], [0, 0, 0]]),
    }
    trial = Calibration(
        kappa={name: k for name, (k, _) in cases.items()},
        confusion={name: table for name, (_, table) in cases.items()},
        abstained=0,
        asked=60,
    )
    assert trial.refused(0.6) == ["few", "wide", "one level"]


def test_incomplete_items_count_at_no_level() -> None:
    """An item that is half measured counted when it was poor, and only then: a judge's view overstated poor."""
    for level in ("poor", "average", "good"):
        assert composite(RUBRIC, {"groundedness": Grade(level)}, ["groundedness", "composition"]) is None


@pytest.mark.parametrize("name", teams.SCENARIOS)
def test_every_simulated_team_gets_a_decision_by_the_real_path(name: str) -> None:
    """One candidate that is far worse: no team may let it pass. The whole table: factory bench only=gate."""
    decision, labels = teams.experiment(name, 3, [-0.35])
    assert decision != "PROMOTE" and 40 <= labels <= 180


def test_a_chain_of_worse_versions_stays_above_the_margin() -> None:
    assert teams.chain(1, versions=5, each=-0.07) >= -teams.PLAN.margin_good
