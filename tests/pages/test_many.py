"""Many raters at once: each sees only their own work, nothing that was sent is lost, and the bench measures that."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from bench import pages
from evals import rubric as rubrics
from evals import tables, verdicts
from evals.ratings import Plan
from tests.browser import world

RUBRIC = rubrics.load("summary")
RATERS, ITEMS = 6, 3


def test_many_raters_at_once_are_independent_and_lose_nothing(client: Callable[..., httpx.Client]) -> None:
    names = [f"rater{n}" for n in range(RATERS)]
    world.users(**dict.fromkeys(names, "rater"))
    world.qualify(*names)
    # One more for each: whoever submits is given the next item at once, so the quick would leave the slow without.
    world.batch(world.answers(RATERS * (ITEMS + 1)), Plan(overlap=0, gold=0, repeats=0))
    clients = [client(name) for name in names]

    def work(name: str, mine: httpx.Client) -> None:
        for _ in range(ITEMS):
            place = mine.get("/api/place").json()
            step = {"work": place["work"], "id": place["item"]["id"]}
            draft: dict[str, Any] = {}
            for dimension in RUBRIC.decided_by("people"):
                draft[dimension] = {"level": "poor", "reason": f"{name} says so"}
                assert mine.post("/api/act", json={"do": "draft", **step, "draft": draft}).json() == {"saved": True}
            again = mine.get("/api/place").json()
            assert again["user"] == name and again["item"] == {**place["item"], "draft": draft}
            assert mine.post("/api/act", json={"do": "submit", **step, "draft": draft}).status_code == 200

    with ThreadPoolExecutor(RATERS) as pool:
        list(pool.map(work, names, clients))
    said = verdicts.standing(tables.open_database(), RUBRIC.hash())
    assert len(said) == len({s.output for s in said}) == RATERS * ITEMS
    for each in said:
        assert {grade["reason"] for grade in each.grades.values()} == {f"{each.rater} says so"}


def test_the_bench_counts_every_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAUSE", 0.01)
    found = pages.run(sessions=3, items=2)
    assert found["finished"] == 6 and found["keys"] == 6 * len(RUBRIC.decided_by("people"))
    assert 0 < found["key_ms"]["median"] <= found["key_ms"]["p95"] <= found["key_ms"]["max"]
