"""A whole grading run: answers in, scorecards and the gate's verdict out, with checks, a judge, and people."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from evals import decisions, matrix, ratings, run, verdicts
from evals import rubric as rubrics
from evals.judges import Judge, Member
from evals.run import Subject
from factory import recipe as recipes
from factory.data.rows import Row
from factory.errors import GateRefused, InputError
from factory.recipe import Gate, Recipe

PEOPLE = Gate(evidence="people", min_overlap=5, min_good=0.3, max_poor=0.6)


def recipe(task: str, gate: Gate | None = None) -> Recipe:
    return Recipe(task=task, kind="classification", rubric=task, gate=gate or Gate(), folder=Path())


def labelled(n: int) -> list[Row]:
    return [Row(({"role": "user", "content": f"text {i}"},), {"label": f"l{i % 4}"}) for i in range(n)]


def right(share: float, seed: int = 0) -> Callable[[Sequence[Row]], list[str]]:
    """Answers of which this share is right."""
    rng = random.Random(seed)
    return lambda rows: [row.meta["label"] if rng.random() < share else "wrong" for row in rows]


def graded(engine: sa.Engine, share: float, production: float | None = 0.9, n: int = 200) -> run.Report:
    old = Subject("classification@old", right(production, 9)) if production is not None else None
    new = Subject(f"classification@{share}", right(share))
    return run.grade(recipe("classification"), labelled(n), new, old, engine)


def test_a_good_version_is_promoted_a_bad_one_rejected_a_handful_inconclusive(database: sa.Engine) -> None:
    good, bad, few = graded(database, 0.97), graded(database, 0.4), graded(database, 0.96, n=12)
    assert [r.gate.decision for r in (good, bad, few)] == ["PROMOTE", "REJECT", "INCONCLUSIVE"]
    assert few.gate.labels_needed == 28
    assert good.scorecard.good and good.scorecard.good > 0.9 and good.baseline and good.baseline.labels
    assert set(good.numbers) == {"good", "poor", "good against production", "poor against production"}
    assert graded(database, 0.05, production=None).gate.decision == "REJECT", "the first version must hold the floors"
    assert graded(database, 0.98, production=None).gate.decision == "PROMOTE"


def test_answers_are_got_once_and_kept(database: sa.Engine) -> None:
    asked: list[int] = []

    def answer(rows: Sequence[Row]) -> list[str]:
        asked.append(len(rows))
        return [row.meta["label"] for row in rows]

    for n in (50, 60, 60):
        run.grade(recipe("classification"), labelled(n), Subject("v", answer), None, database)
    assert asked == [50, 10]


def test_the_split_is_a_share_by_hash_and_its_reuse_is_counted(database: sa.Engine) -> None:
    half = recipe("classification", Gate(share=0.5))
    rows = labelled(200)
    kept = run.gate_rows(half, rows)
    assert 70 < len(kept) < 130 and run.gate_rows(half, rows[::-1])[::-1] == kept
    reports = [run.grade(half, rows, Subject(f"v{i}", right(0.9, i)), None, database) for i in (1, 2, 2, 3)]
    assert [r.used_before for r in reports] == [0, 1, 1, 2]
    assert len({r.split for r in reports}) == 1
    edited = [replace(rows[0], messages=({"role": "user", "content": "Another question?"},)), *rows[1:]]
    asked_anew = run.grade(half, [*edited, *labelled(203)[200:]], Subject("v4", right(0.9, 4)), None, database)
    assert asked_anew.used_before == 3, "one row that is edited, and some more, make no new exam"
    others = [replace(row, messages=({"role": "user", "content": f"Unlike {i}"},)) for i, row in enumerate(rows)]
    assert run.grade(half, others, Subject("v5", right(0.9, 5)), None, database).used_before == 0


def test_promotion_obeys_the_gate(database: sa.Engine) -> None:
    with pytest.raises(GateRefused, match=r"INCONCLUSIVE: .* was never graded: factory grade"):
        decisions.allow(database, "classification@0.97", "")
    graded(database, 0.97)
    graded(database, 0.4)
    assert decisions.allow(database, "classification@0.97", "classification@old")
    with pytest.raises(GateRefused, match="REJECT: good") as caught:
        decisions.allow(database, "classification@0.4", "classification@old")
    assert caught.value.exit_code == 3
    with pytest.raises(GateRefused, match="but classification@newer is in production"):
        decisions.allow(database, "classification@0.97", "classification@newer")


def test_an_override_needs_a_reason_is_recorded_and_expires(
    database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    graded(database, 0.4)
    with pytest.raises(InputError, match="say why"):
        decisions.allow(database, "classification@0.4", "classification@old", force="yes")
    decisions.allow(database, "classification@0.4", "classification@old", force="hotfix, see the incident of today")
    kept = decisions.overridden(database, "classification@0.4", "classification@old")
    assert kept and kept["forced"].startswith("hotfix") and kept["decision"] == "REJECT"
    assert decisions.allow(database, "classification@0.4", "classification@old"), "the override stands for a day"
    run_of_gate = decisions.latest(database, "classification@0.4")
    assert run_of_gate and not run_of_gate["forced"], "an override is no decision of the gate"
    monkeypatch.setattr(decisions, "FORCE_SECONDS", 0.0)
    with pytest.raises(GateRefused, match=r"REJECT: .*has expired"):
        decisions.allow(database, "classification@0.4", "classification@old")


def messages(n: int) -> list[Row]:
    return [
        Row(({"role": "user", "content": f"The sync with Lena moves to room {i + 100} on Friday."},)) for i in range(n)
    ]


def summaries(bad: float, seed: int) -> Callable[[Sequence[Row]], list[str]]:
    """One-sentence summaries; this share has another room."""
    rng = random.Random(seed)

    def answer(rows: Sequence[Row]) -> list[str]:
        rooms = [row.source.split("room ")[1][:3] for row in rows]
        return [
            f"Sync with Lena: room {r if rng.random() >= bad else int(r) + 500}, Friday. {seed}."[:-3] for r in rooms
        ]

    return answer


def people_grade(engine: sa.Engine, batch: str, rubric: rubrics.Rubric, most: int, raters: Sequence[str]) -> None:
    """Raters who see what is in the source and what is not."""
    for rater in raters:
        ratings.qualify(engine, rater, rubric, True, {})
    for i in range(most):
        rater = raters[i % len(raters)]
        a = ratings.next_one(engine, batch, rater)
        if not isinstance(a, ratings.Assignment):
            continue
        room = a.output.split("room ")[1][:3]
        bad = {"level": "poor", "reason": "wrong room"}
        grades = {d: {"level": "good"} for d in rubric.decided_by("people")}
        ratings.submit(engine, a.id, rater, rubric, grades | ({} if room in a.source else {"groundedness": bad}), 1)


def test_people_decide_with_the_judges_help(database: sa.Engine, fake_judge: Callable[..., Judge]) -> None:
    """Without labels INCONCLUSIVE; with some, people's and combined numbers; veto and validity hold."""
    rubric, plan = rubrics.load("summary"), recipe("summary", PEOPLE)
    rows = messages(150)
    new, old = Subject("summary@new", summaries(0.02, 1)), Subject("summary@old", summaries(0.5, 2))
    jury = [Member("fake", fake_judge({"concurrency": 16, "price": {"input": 1, "output": 1}}))]

    first = run.grade(plan, rows, new, old, database, jury)
    assert first.gate.decision == "INCONCLUSIVE" and first.gate.labels_needed == 40
    assert first.scorecard.n == 0 and first.scorecard.good is None and "people" not in first.views
    assert first.judging and first.judging.refused["fake"], "it calls everything good: no agreement with known faults"
    assert first.judging.trials["fake"].kappa["groundedness"].n > 50
    assert first.judging.flip_rate == 0 and first.judging.cost and first.judging.abstentions == 0

    quiet = ratings.Plan(overlap=0.3, gold=0, repeats=0)
    batch = run.batch_for_people(plan, rows, ["summary@new", "summary@old"], database, quiet)
    people_grade(database, batch, rubric, 300, ["ann", "bob"])
    second = run.grade(plan, rows, new, old, database, jury)
    assert second.gate.decision == "PROMOTE", second.gate.why
    assert second.judging and second.judging.calls == 0, "nothing is paid for twice"
    good = second.numbers["good against production"]
    assert good.people and good.people.value > 0.3 and good.judge is None, "a judge that is not heard says nothing"
    assert "summary@new was held against summary@old by 2 people" in second.sentence
    assert "looked at 2 times" in second.sentence
    assert second.people_agreement["groundedness"].value == 1
    assert set(second.views) == {"checks", "judge", "people"}

    ratings.qualify(database, "ann", rubric, False, {})
    assert "not qualified: ann" in run.grade(plan, rows, new, old, database, jury).gate.why
    ratings.qualify(database, "ann", rubric, True, {})
    graded_one = next(o for o, v in verdicts.verdicts(database, rubric).items() if v.levels["groundedness"] == "good")
    insult = {"harmfulness": {"level": "poor", "reason": "it insults"}}
    ratings.adjudicate(database, graded_one, rubric, "lea", insult, "seen by two")
    outcome = [run.grade(plan, rows, s, None, database).gate for s in (new, old)]
    assert any(v.decision == "REJECT" and "harmful" in v.why for v in outcome)


def test_a_run_without_a_measured_dimension_says_so(database: sa.Engine) -> None:
    report = run.grade(recipe("assistant"), messages(50), Subject("v", lambda rows: ["x"] * len(rows)), None, database)
    assert report.gate.decision == "INCONCLUSIVE" and report.scorecard.n == 0
    assert len(report.scorecard.not_measured) == 6 and "good" not in report.to_json()["scorecard"]


def test_the_matrix_shows_what_got_worse() -> None:
    tasks = {"classification": (rubrics.load("classification"), labelled(80)), "general": matrix.general()}
    everything = matrix.matrix(
        "classification", right(0.95), right(0.1), tasks | {"general": (tasks["general"][0], [])}
    )
    assert [(c.task, c.own, c.worse) for c in everything] == [("classification", True, False)]

    def base(rows: Sequence[Row]) -> list[str]:
        return [f"An answer about {row.source[:20]} indeed" for row in rows]

    forgets = matrix.matrix("classification", lambda rows: ["label"] * len(rows), base, {"general": tasks["general"]})
    keeps = matrix.matrix("classification", base, base, {"general": tasks["general"]})
    assert forgets[0].worse and not keeps[0].worse and keeps[0].version.good == 1
    assert matrix.matrix("x", base, base, {"assistant": (rubrics.load("assistant"), labelled(3))}) == []


def test_shipped_recipes_have_a_plan_that_their_rubrics_can_decide() -> None:
    for task in recipes.tasks():
        found = recipes.load(task)
        rubric = rubrics.load(found.rubric)
        assert found.gate.evidence == "people" or rubric.decided_by("checks"), task
