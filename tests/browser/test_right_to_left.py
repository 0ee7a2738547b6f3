"""Texts that run from right to left, beside others, in a real browser: each by what it says, the page as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from evals import answers, pairs, ratings, tables
from evals import rubric as rubrics
from evals.ratings import Assignment, Plan
from factory.data.rows import Row
from serve import demo
from serve.pages.ask import Server
from tests.browser import world
from tests.browser.people import Person, Watched
from tests.fakes import gateway, pages

pytestmark = pytest.mark.browser
RUBRIC = rubrics.load("summary")
GOOD = {d.name: "good" for d in RUBRIC.dimensions}
MAIL = "موعد الاجتماع يوم الثلاثاء الساعة 10:00 في الغرفة 214، وليس يوم الاثنين."
SUMMARY = "الاجتماع يوم الثلاثاء 10:00، الغرفة 214."
ENGLISH = "The meeting is on Tuesday, 10:00, in room 214."
REASON = "الوقت غير صحيح"
RUNS = "all => all.map(e => getComputedStyle(e).direction)"


def runs(who: Watched, selector: str) -> list[str]:
    """The way that the texts of all these elements run."""
    return [*who.page.locator(selector).evaluate_all(RUNS)]


def outputs(*texts: str) -> list[str]:
    rows = [Row(({"role": "user", "content": MAIL}, {"role": "assistant", "content": SUMMARY}))] * len(texts)
    return answers.record(tables.open_database(), "digest", "digest@v1", rows, texts)


def test_what_is_rated_compared_and_settled(person: Callable[..., Person]) -> None:
    world.users(ann="rater", bob="rater", lee="lead")
    world.qualify("ann", "bob")
    (one,) = outputs(ENGLISH)
    batch = world.batch([one], Plan(overlap=1.0, gold=0, repeats=0))
    ann = person("ann")
    ann.page.wait_for_selector(".dim.active")
    assert runs(ann, ".source .text, .output .text") == ["rtl", "ltr"]
    ann.grade(RUBRIC, {**GOOD, "groundedness": "poor"}, REASON)
    assert runs(ann, "textarea") == ["rtl"] and {*runs(ann, "body, .dim, h2")} == {"ltr"}
    ann.step()
    engine = tables.open_database()
    found = ratings.next_one(engine, batch, "bob")
    assert isinstance(found, Assignment)
    ratings.submit(engine, found.id, "bob", RUBRIC, {name: {"level": level} for name, level in GOOD.items()}, 9.0)
    pairs.open_pairs(engine, "digest", RUBRIC, [(one, outputs(SUMMARY)[0])], Plan(overlap=0))
    ann.page.goto(ann.site)
    ann.page.wait_for_selector("[data-winner]")
    assert runs(ann, ".source .text, .output .text") == ["rtl", "ltr", "rtl"]
    lee = person("lee")
    lee.page.goto(f"{lee.site}/lead")
    lee.page.click("#settle")
    lee.page.wait_for_selector(".dim")
    assert runs(lee, ".source .text, .output .text, .wrap bdi") == ["rtl", "ltr", "rtl"]
    assert ann.faults == lee.faults == []


def test_what_the_demo_is_asked_and_answers(browser: object) -> None:
    world.registry()
    with (
        gateway.running({MAIL: SUMMARY, ENGLISH: ENGLISH}) as url,
        pages.running(demo.make(demo.Options(Server(f"{url}/v1"), url))) as site,
    ):
        who = Watched(browser)
        who.page.goto(site)
        who.page.wait_for_selector("#first input")
        for text, way in ((MAIL, "rtl"), (ENGLISH, "ltr")):
            who.page.fill("#question textarea", text)
            who.page.click("#go")
            said = SUMMARY if way == "rtl" else ENGLISH
            shown: Any = who.page.locator("#answers[class] .answers[aria-busy=false] pre", has_text=said)
            shown.wait_for()
            assert runs(who, "#answers pre") == [way]
            bidi = who.page.locator("#question textarea").evaluate("e => getComputedStyle(e).unicodeBidi")
            assert bidi == "plaintext"
        assert who.faults == []
        who.close()
