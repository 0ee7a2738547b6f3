"""Blind means blind: whatever goes over the wire to a rater, no version, adapter or base is ever named in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from evals import pairs, people, tables
from evals import rubric as rubrics
from evals.ratings import Plan
from serve.pages.flow import WORK
from tests.browser import world
from tests.browser.people import Person

pytestmark = pytest.mark.browser
RUBRIC = rubrics.load("summary")
GOOD = {d.name: "good" for d in RUBRIC.dimensions}


def test_the_traffic_of_a_rater_names_no_version_adapter_or_base(person: Callable[..., Person]) -> None:
    """The task is called `digest` here and the rubric `summary`, so that the one cannot hide behind the other."""
    versions = world.registry()
    world.users(anna="rater", bob="rater")
    world.qualify("bob")
    names = [version.name for version in versions[:2]]
    outputs = world.answers(4, names)
    world.batch(outputs, Plan(overlap=0.5, gold=0, repeats=0))
    anna, bob = person("anna"), person("bob")
    bodies: list[tuple[str, str]] = []
    for each in (anna, bob):
        each.page.on("response", lambda response: bodies.append((response.url, _body(response))))
        each.page.reload()
    anna.page.wait_for_selector("#go")
    anna.step()
    anna.take(RUBRIC, RUBRIC.examples[:1], right=True, feedback=True)
    for _ in range(6):
        bob.page.wait_for_selector(".dim.active")
        bob.grade(RUBRIC, GOOD)
        bob.step()
    bob.step("u")
    bob.press("Escape", "?")
    bob.page.wait_for_selector("dialog")
    bob.press("Escape")
    bob.step("s")
    half = len(outputs) // 2
    engine = tables.open_database()
    both = list(zip(outputs[:half], outputs[half:], strict=True))
    people.move(engine, "bob", WORK, {"batch": pairs.open_pairs(engine, "digest", RUBRIC, both, Plan(overlap=0))})
    bob.page.reload()
    bob.page.wait_for_selector("[data-winner]")
    bob.press("2")
    bob.step()

    secret = {"digest", *(v.name for v in versions), *(v.sha[:12] for v in versions), *(v.sha for v in versions)}
    secret |= {"f" * 64, "digest@v1", "digest@v2", "@v1", "@v2", "labels@"}
    base = versions[0].facts.base
    traffic = [*anna.traffic, *bob.traffic, *bodies, ("page", anna.page.content()), ("page", bob.page.content())]
    assert len(bodies) > 40, "the search must have something to search in"
    for url, text in traffic:
        found = [word for word in secret if word in text]
        assert not found, f"{found} in {url}"
        if "/assets/" not in url and "/static/js/" not in url and "theme.css" not in url:  # Gradio's own files
            assert not re.search(rf"\b{re.escape(base)}\b", text), f"the base in {url}"
    assert {
        url for url in anna.hosts | bob.hosts if not url.startswith(("http://127.0.0.1:", "data:", "blob:"))
    } == set()


def _body(response: Any) -> str:
    try:
        return str(response.body().decode(errors="replace")) if "/queue/data" not in response.url else ""
    except Exception:  # a redirect or an interrupted answer has no body to read
        return ""
