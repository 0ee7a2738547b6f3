"""The rater's way as a state machine: `place` says where somebody is, `act` takes one step and says where they are now.

    guidelines → training (feedback after each item) → test (none) → failed | rate ⇄ nothing

Everything comes from the database by the rater's name, so a reload or another device finds the same place. What is sent
to the browser holds the rubric, one source and one output: no version, no kind of item, nothing of others.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy.engine import Engine

from evals import pairs, people, ratings
from evals import rubric as rubrics
from evals.people import OpenBatch
from evals.ratings import NoWork
from evals.rubric import Item, Rubric
from factory import recipe as recipes
from factory.errors import FactoryError, InputError
from factory.home import project

LONGEST = 6 * 3600.0  # seconds that one item can count for
ITEM_STEPS = ("draft", "submit", "abstain", "prefer")
WORK = "work"  # the key of a rater's chosen batch among their places


@dataclass(frozen=True)
class Rater:
    """Who acts, and when their day began (seconds since 1970, by their own clock)."""

    name: str
    day_began: float


def place(engine: Engine, who: Rater) -> dict[str, Any]:
    """Where the rater is, with all that the page needs to show it."""
    known = offered()
    mine = people.place(engine, who.name, WORK)
    batches = people.open_batches(engine, list(known), mine.get("batch"))
    work = next((w for w in batches if w.id == mine.get("batch") and (w.open or len(batches) == 1)), None)
    work = work or next((w for w in batches if w.open), None)
    if work is None:
        return {"stage": "nothing", "why": "no_batch", "until": None, "works": [], "day": people.Day().model_dump()}
    rubric = known[work.rubric]
    found = _stage(engine, who.name, work, rubric)
    shown = [
        {"id": w.id, "title": known[w.rubric].title, "pairs": w.pairs, "now": w.id == work.id}
        for w in batches
        if w.open or w is work
    ]
    day = people.day(engine, who.name, work.rubric, who.day_began)
    return {"works": shown, "work": work.id, "rubric": describe(rubric), "day": day.model_dump(), **found}


def act(engine: Engine, who: Rater, step: dict[str, Any]) -> dict[str, Any]:
    """Take one step. A draft answers only that it is saved; every other step answers with the new place.

    A step that comes too late (the item was handed on meanwhile) changes nothing and gives the place with a notice.
    """
    step = {**step, "do": str(step.get("do")), "id": str(step.get("id"))}
    do = STEPS.get(step["do"])
    if do is None or not isinstance(step.get("draft") or {}, dict):
        raise InputError(f"no such step: {str(step)[:200]}")
    known = offered()
    wanted = str(step.get("work"))
    if step["do"] in ITEM_STEPS:  # what an item is graded by is told by the item, not by the page
        mine = ratings.of_rater(engine, step["id"], who.name)
        wanted = mine.batch if mine else wanted
    work = next((w for w in people.open_batches(engine, list(known), wanted) if w.id == wanted), None)
    notice = None
    if work is not None:
        try:
            notice = do(engine, who.name, work, known[work.rubric], step)
        except InputError:
            raise
        except FactoryError:
            mine = ratings.of_rater(engine, step["id"], who.name)
            notice = None if mine and mine.done else "moved_on"  # sent twice, it was heard the first time
        if step["do"] == "draft" and notice is None:
            return {"saved": True}
    return {**place(engine, who), "notice": notice}


def offered() -> dict[str, Rubric]:
    """The rubrics of today by their hash. A batch that was planned under an older text of its rubric is not offered."""
    found = {}
    for name in rubrics.names():
        with contextlib.suppress(InputError):
            rubric, hash_ = _read(name, (project() / "rubrics" / f"{name}.yaml").stat().st_mtime_ns)
            found[hash_] = rubric
    return found


def rubric_of(task: str) -> Rubric:
    """The rubric that a task's recipe names; a task without a recipe here is graded by the rubric of its own name."""
    name = recipes.load(task).rubric if task in recipes.tasks() else task
    return rubrics.load(name)


def gate_share(task: str) -> float:
    """The share of eval rows that the task's gate decides on; all where its recipe is not here."""
    return recipes.load(task).gate.share if task in recipes.tasks() else 1.0


@lru_cache(maxsize=64)
def _read(name: str, stamp: int) -> tuple[Rubric, str]:
    rubric = rubrics.load(name)
    return rubric, rubric.hash()


def describe(rubric: Rubric) -> dict[str, Any]:
    """The rubric as the page shows it; only what people decide."""
    dimensions = [d.model_dump(mode="json") for d in rubric.dimensions if "people" in d.graders]
    keep = {"title", "source", "output", "guidelines", "sample_source"}
    return {**rubric.model_dump(mode="json", include=keep), "dimensions": dimensions}


def _stage(engine: Engine, rater: str, work: OpenBatch, rubric: Rubric) -> dict[str, Any]:
    at = people.place(engine, rater, work.rubric)
    if not work.qualified_only or ratings.qualified(engine, rater, work.rubric):
        return _assigned(engine, rater, work)
    stage, number = at.get("stage", "guidelines"), at.get("at", 0)
    if stage == "training" and number < len(rubric.examples):
        item = rubric.examples[number]
        answer = {name: v.model_dump() for name, v in item.grades.items()} if at.get("checked") else None
        return {"stage": stage, **_practice(item, at, len(rubric.examples)), "answer": answer}
    if stage == "test" and number < len(rubric.qualification):
        return {"stage": stage, **_practice(rubric.qualification[number], at, len(rubric.qualification))}
    if stage == "failed" and (taken := people.tests(engine, rater, work.rubric)):
        parts = {name: part.model_dump() for name, part in taken[-1][1].dimensions.items()}
        return {"stage": stage, "result": parts, "until": people.next_try(taken, time.time())}
    return {"stage": "guidelines"}


def _practice(item: Item, at: dict[str, Any], of: int) -> dict[str, Any]:
    number = at.get("at", 0)
    shown = {"id": f"{at['stage']}-{number}", "source": item.source, "output": item.output}
    return {"item": {**shown, "draft": at.get("draft", {})}, "number": number + 1, "of": of}


def _assigned(engine: Engine, rater: str, work: OpenBatch) -> dict[str, Any]:
    if people.place(engine, rater, WORK).get("batch") != work.id:
        _choose(engine, rater, work)
    found = ratings.next_one(engine, work.id, rater)
    if isinstance(found, NoWork):
        return {"stage": "nothing", "why": found.why.replace(" ", "_"), "until": found.until}
    return {"stage": "pair" if found.other is not None else "rate", "item": found.model_dump()}


def _begin(engine: Engine, rater: str, work: OpenBatch, rubric: Rubric, step: dict[str, Any]) -> None:
    """From the guidelines, or again after a failed test, to the training."""
    taken = people.tests(engine, rater, work.rubric)
    if people.next_try(taken, time.time()) is None and not ratings.qualified(engine, rater, work.rubric):
        _enter(engine, rater, rubric, "training", 0)


def _enter(engine: Engine, rater: str, rubric: Rubric, stage: str, number: int, **more: Any) -> None:
    """Put the rater at an item, or past the last one into the next stage. A rubric without a test lets everybody in."""
    if stage == "training" and number >= len(rubric.examples):
        stage, number = "test", 0
    if stage == "test" and not rubric.qualification:
        ratings.qualify(engine, rater, rubric, True, people.judge_test(rubric, []).model_dump())
    people.move(engine, rater, rubric.hash(), {"stage": stage, "at": number, "draft": {}, **more})


def _draft(engine: Engine, rater: str, work: OpenBatch, rubric: Rubric, step: dict[str, Any]) -> str | None:
    if at := _practising(engine, rater, work, step):
        people.move(engine, rater, work.rubric, {**at, "draft": people.clean(rubric, step.get("draft"))})
    elif work.pairs:
        ratings.save_draft(engine, step["id"], rater, {"pair": _said((step.get("draft") or {}).get("pair"))})
    else:
        ratings.save_draft(engine, step["id"], rater, people.clean(rubric, step.get("draft")))
    return None


def _submit(engine: Engine, rater: str, work: OpenBatch, rubric: Rubric, step: dict[str, Any]) -> str | None:
    at, grades = _practising(engine, rater, work, step), people.clean(rubric, step.get("draft"))
    if at is None:
        ratings.submit(engine, step["id"], rater, rubric, grades, _seconds(step))
        return None
    ratings.complete(rubric, grades)
    if at["stage"] == "training":
        if at.get("checked"):
            _enter(engine, rater, rubric, "training", at["at"] + 1)
        else:
            people.move(engine, rater, work.rubric, {**at, "draft": grades, "checked": True})
        return None
    given = [*at.get("given", []), grades]
    if len(given) < len(rubric.qualification):
        _enter(engine, rater, rubric, "test", len(given), given=given)
        return None
    result = people.judge_test(rubric, given)
    ratings.qualify(engine, rater, rubric, result.passed, result.model_dump())
    people.move(engine, rater, work.rubric, {"stage": "rate" if result.passed else "failed"})
    return "qualified" if result.passed else None


def _abstain(engine: Engine, rater: str, work: OpenBatch, rubric: Rubric, step: dict[str, Any]) -> None:
    if work.pairs:
        pairs.prefer(engine, step["id"], rater, "abstain")
    elif _practising(engine, rater, work, step) is None:
        ratings.submit(engine, step["id"], rater, rubric, {}, _seconds(step), abstain=True)


def _prefer(engine: Engine, rater: str, work: OpenBatch, rubric: Rubric, step: dict[str, Any]) -> None:
    said = _said(step)
    pairs.prefer(engine, step["id"], rater, said.get("winner"), said.get("reason", ""))  # type: ignore[arg-type]


def _undo(engine: Engine, rater: str, work: OpenBatch, rubric: Rubric, step: dict[str, Any]) -> str | None:
    """Take back the last finished item of this batch. In training and test there is nothing to take back."""
    if work.pairs:
        return None if pairs.undo(engine, work.id, rater) else "nothing_to_undo"
    return None if ratings.undo(engine, work.id, rater) else "nothing_to_undo"


def _choose(engine: Engine, rater: str, work: OpenBatch, *_: Any) -> None:
    people.move(engine, rater, WORK, {"batch": work.id})


def _practising(engine: Engine, rater: str, work: OpenBatch, step: dict[str, Any]) -> dict[str, Any] | None:
    """The rater's place if the step is about the training or test item they are at."""
    at = people.place(engine, rater, work.rubric)
    return at if step["id"] == f"{at.get('stage')}-{at.get('at', 0)}" else None


def _said(value: Any) -> dict[str, str]:
    given = value if isinstance(value, dict) else {}
    return {"winner": str(given.get("winner") or ""), "reason": str(given.get("reason") or "")[:2000]}


def _seconds(step: dict[str, Any]) -> float:
    given = step.get("seconds")
    return min(LONGEST, max(0.0, given)) if isinstance(given, int | float) else 0.0


STEPS: dict[str, Callable[[Engine, str, OpenBatch, Rubric, dict[str, Any]], str | None]] = {
    "begin": _begin, "draft": _draft, "submit": _submit, "abstain": _abstain, "prefer": _prefer, "undo": _undo,
    "choose": _choose,
}  # fmt: skip
