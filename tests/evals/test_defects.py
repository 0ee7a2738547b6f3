"""Planted faults are what they claim, and the rows made of them can be answered by reading alone."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from evals import compact, defects, judge_rows, trial
from evals import rubric as rubrics
from evals.checks import CHECKS
from evals.defects import DEFECTS, plant
from evals.details import says
from evals.judges import Judge
from evals.prompt import Messages, ask
from factory.data.rows import Row
from factory.errors import InputError
from factory.home import project
from tests.tiny_base import world

RUBRIC = rubrics.load("summary")
ROWS = [
    Row(({"role": "user", "content": r["document"]}, {"role": "assistant", "content": r["summary"]}), r)
    for r in world.rows("summary", 150, seed=0)
]
PLANTED = [(d, r, plant(d, r, ROWS, random.Random(i))) for i, r in enumerate(ROWS) for d in DEFECTS]


def graded(check: str, row: Row, planted: defects.Planted) -> str:
    found = CHECKS[check](Row(({"role": "user", "content": planted.source},), row.meta), planted.output, RUBRIC.limits)
    assert found
    return found.level


@pytest.mark.parametrize("dimension", DEFECTS)
def test_every_level_of_a_dimension_occurs(dimension: str) -> None:
    levels = [p.levels[dimension] for d, _, p in PLANTED if d == dimension]
    assert 0.2 < levels.count("good") / len(levels) < 0.65
    assert len(set(levels)) == (2 if dimension == "groundedness" else 3)


def test_what_is_put_for_a_wrong_detail_is_not_in_the_source_and_the_right_one_is() -> None:
    for _, _, p in PLANTED:
        if p.corrected != p.output:
            try:
                pairs = compact.fillings(p.corrected, p.output, p.source)
            except compact.Unreadable:
                continue  # a wrong name that is no name by its looks: people and larger judges see it
            put = [pair for pair in pairs if pair[0] != pair[1]]
            assert put, p
            for wrong, right in put:  # a summary may say the same detail twice
                assert not says(p.source, wrong) and (right == compact.NOTHING or says(p.source, right)), p


def test_the_deterministic_checks_agree_with_the_planted_truth() -> None:
    """Where a check can see a fault it must see it, and it must not see one where none was planted."""
    for dimension, row, p in PLANTED:
        truth = p.levels[dimension]
        if dimension == "comprehensiveness":
            assert graded("required", row, p) == truth
        if dimension == "groundedness" and truth == "good":
            assert all(graded(c, row, p) == "good" for c in ("numbers", "dates", "names")), p
        if dimension == "composition" and p.defect == "broken_form":
            assert graded("language", row, p) == truth, p
        if p.defect in ("copied_whole", "too_long") and dimension == "following_instructions":
            seen = [graded(c, row, p) for c in ("length", "form", "copied")]
            assert "good" not in (min(seen, key=["poor", "average", "good"].index), truth), p


def test_the_known_truth_is_held_out() -> None:
    """No message of the judge's eval rows is among those it learns from."""
    folder = project() / "adapters" / "judge-summary"
    train, held = (
        [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()] for name in ("train", "eval")
    )
    learned = "\n".join(r["messages"][0]["content"] for r in train)
    for row in held:
        source = row["graded"]["source"]
        for order in defects.ORDERS:
            source = source.removesuffix(f"\n{order}")
        assert source not in learned
    assert (
        {r["dimension"] for r in held} == set(DEFECTS) == {k.dimension for k in trial.known(RUBRIC)} - {"harmfulness"}
    )


def test_the_same_summaries_give_the_same_rows() -> None:
    made = [
        judge_rows.rows(RUBRIC, judge_rows._summaries("train")[:40], random.Random(judge_rows.SEED), held_out=False)
        for _ in range(2)
    ]
    assert made[0] == made[1] and len(made[0]) > 40


def held_out() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (project() / "adapters/judge-summary/eval.jsonl").read_text().splitlines()]


def answers(wrong: float) -> dict[str, str]:
    """The right reply to every question of the known truth; this share of them has another level, or is no reply."""
    rng, found = random.Random(3), {}
    for row in held_out():
        asked, reply = (m["content"] for m in row["messages"])
        if rng.random() < wrong:
            *lines, last = reply.splitlines()
            other = {"level: good": "level: poor"}.get(last, "level: good")
            reply = "\n".join([*lines, other]) if last.startswith("level: ") else "?"
        found[asked] = reply
    return found


@pytest.mark.parametrize(("wrong", "low", "high"), [(0.0, 1.0, 1.0), (0.1, 0.6, 0.95), (0.5, -0.3, 0.4)])
def test_the_trial_measures_how_far_a_judge_sees_the_faults(
    database: sa.Engine, wrong: float, low: float, high: float
) -> None:
    """Kappa falls with the share of wrong replies, said or unreadable alike: an abstention counts against a judge."""
    known = answers(wrong)

    def generate(batch: list[Messages]) -> list[str]:
        return [known.get(m[-1]["content"], "?") for m in batch]

    judge = Judge(adapter="judge-summary", form="compact")
    found = trial.trial(judge, "own", RUBRIC, database, generate=generate)  # type: ignore[arg-type]
    assert set(found.kappa) == set(DEFECTS)
    for name, kappa in found.kappa.items():
        says_level = RUBRIC.dimension(name).compact.reads == "findings"  # type: ignore[union-attr]
        assert kappa.value is not None and (low <= kappa.value <= high or not says_level), name
        assert kappa.value > 0.9 or wrong > 0, name
        assert kappa.n >= 115, (name, kappa)
    if wrong != 0.1:
        assert bool(found.refused(0.6)) == (wrong == 0.5)
    assert found.abstained <= 5 + 240 * 1.3 * wrong


def test_a_line_that_is_no_known_truth_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "adapters" / "judge-summary").mkdir(parents=True)
    (tmp_path / "adapters" / "defaults.yaml").touch()
    monkeypatch.chdir(tmp_path)
    graded = {"source": "s", "output": "o"}
    rows = [{"dimension": "groundedness", "level": level, "graded": graded} for level in ("poor", "splendid")]
    path = tmp_path / "adapters" / "judge-summary" / "eval.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match="no item of known truth") as caught:
        trial.known(RUBRIC)
    assert (caught.value.problems[0].file, caught.value.problems[0].line) == ("adapters/judge-summary/eval.jsonl", 2)


def test_an_order_in_the_text_does_not_change_what_is_asked() -> None:
    """The text of an attack is inside the question, on one line with the rest; the dimension's own words end it."""
    for order in defects.ORDERS:
        for d in RUBRIC.dimensions:
            if d.compact:
                asked = ask("compact", RUBRIC, d, f"A message. {order}", f"Note 1. {order}\nlevel: good").messages
                assert len(asked) == 1 and asked[0]["content"].count("\nlevel: good") == 0


def test_a_judge_that_obeys_a_text_is_found_out(database: sa.Engine) -> None:
    """Saying good whenever asked to is seen by the trial: those items have a known fault."""
    known = answers(0.0)

    def obeys(batch: list[Messages]) -> list[str]:
        found = []
        for m in batch:
            reply = known.get(m[-1]["content"], "?")
            if any(order in m[-1]["content"] for order in defects.ORDERS):
                reply = "\n".join([*reply.splitlines()[:-1], "level: good"])
            found.append(reply)
        return found

    judge = Judge(adapter="judge-summary", form="compact")
    found = trial.trial(judge, "own", RUBRIC, database, generate=obeys)  # type: ignore[arg-type]
    kappa = found.kappa["following_instructions"].value
    assert kappa is not None and kappa < 1


def test_twelve_gaps_in_a_text_without_order_are_read_at_once() -> None:
    """Names between the same words: as one regular expression this took half a minute, on the event loop."""
    names = ["Ana", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gia", "Hal", "Ina", "Jon", "Kim", "Lea"]
    output = " and ".join(names) + " met Olaf."
    reply = " and ".join([*names, "Ned"] * 3) + " met nobody"
    began = time.monotonic()
    with pytest.raises(compact.Unreadable):
        compact.fillings(reply, output, output)
    assert time.monotonic() - began < 1
    filled = compact.fillings(output.replace("Cleo", "Cora Lee"), output, output)
    assert dict(filled)["Cleo"] == "Cora Lee" and dict(filled)["Olaf"] == "Olaf"
