"""Which items people label next: in random order, or first what the judge is least sure of; weighed and counted."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence

import pytest
import sqlalchemy as sa

from evals import rubric as rubrics
from evals import run, units
from evals.calibration import known
from evals.judges import Judge, Member
from evals.run import Subject
from factory.chat import Messages
from factory.errors import InputError
from tests.evals.test_run import PEOPLE, messages, people_grade, recipe, summaries

RUBRIC = rubrics.load("summary")


class FakeJudgeWhoKnows:
    """Knows the truth of the known items and sees the room in ours; one answer in ten is another level."""

    def __init__(self) -> None:
        self.truth = {(k.dimension, k.output): k.level for k in known(RUBRIC)}

    def __call__(self, asked: Sequence[Messages]) -> list[str]:
        return [self.reply(*(m["content"] for m in each)) for each in asked]

    def reply(self, system: str, user: str) -> str:
        source, output = (body for _, body in re.findall(r"<(\w+) [0-9a-f]{12}>\n(.*?)\n</\1", user, re.S)[-2:])
        if system.startswith("You compare"):
            return json.dumps({"evidence": [], "reason": "alike", "level": "tie"})
        dimension = RUBRIC.dimension(system.split("summary: ")[1].split(".")[0].replace(" ", "_"))
        room = re.search(r"room (\d+)", output)
        wrong = dimension.name == "groundedness" and room and room[1] not in source
        level = self.truth.get((dimension.name, output), "poor" if wrong else "good")
        draw = random.Random(f"{dimension.name} {output}")
        if draw.random() < 0.1:
            level = draw.choice(dimension.names())
        return json.dumps({"evidence": output.split()[:1], "reason": "seen", "level": level})


def jury() -> list[Member]:
    judge = Judge(model="knows", base_url="http://127.0.0.1:9/v1")
    return [Member("knows", judge, generate=FakeJudgeWhoKnows())]


def subjects() -> tuple[Subject, Subject]:
    return Subject("summary@new", summaries(0.02, 1)), Subject("summary@old", summaries(0.3, 2))


def test_people_label_first_what_the_judge_is_least_sure_of_and_are_told_what_that_saved(database: sa.Engine) -> None:
    plan, rows, (new, old) = recipe("summary", PEOPLE), messages(230), subjects()
    first = run.grade(plan, rows, new, old, database, jury(), label="uncertain")
    assert first.judging and len(first.judging.refused["knows"]) < len(first.judging.trials["knows"].kappa)
    batch, planned = units.batch_of(database, "summary", RUBRIC.hash(), [new.name, old.name]) or ("", None)
    assert planned and len({*planned.weights.values()}) > 1
    assert max(planned.weights.values()) / min(planned.weights.values()) > 1.2
    people_grade(database, batch, RUBRIC, 116, ["ann", "bob"])
    second = run.grade(plan, rows, new, old, database, jury())
    found = {c.name: c.estimate for c in second.gate.criteria}
    assert second.gate.weighed and 40 <= second.gate.labels < second.gate.differ
    assert found["good against production"].value == pytest.approx(0.28, abs=0.12)
    drawn = f"{second.gate.labels} of the {second.gate.differ} pairs that differ (first those that the judge is least"
    assert drawn in second.sentence
    saved = re.search(r"With the judge (\d+) labels told as much as (\d+) drawn at random", second.sentence)
    assert saved and int(saved[2]) > int(saved[1]), second.sentence


def test_the_judges_uncertainty_needs_a_judge_that_is_heard_and_people_who_decide(database: sa.Engine) -> None:
    new, old = subjects()
    for plan, label, told in (
        (PEOPLE, "uncertain", "no judge is heard"),
        (PEOPLE, "surest", "random or uncertain"),
        (None, "random", "only where people decide"),
    ):
        with pytest.raises(InputError, match=told):
            run.grade(recipe("summary", plan), messages(60), new, old, database, label=label)
        assert units.batch_of(database, "summary", RUBRIC.hash(), [new.name, old.name]) is None
    run.grade(recipe("summary", PEOPLE), messages(60), new, old, database, label="random")
    assert units.batch_of(database, "summary", RUBRIC.hash(), [new.name, old.name])
