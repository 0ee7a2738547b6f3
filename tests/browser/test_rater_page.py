"""The rater's way in a real browser: by keyboard alone, through reloads, undo, failures, hostile texts, lost lines."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from evals import answers, pairs, ratings, tables, verdicts
from evals import rubric as rubrics
from evals.ratings import Plan
from factory.data.rows import Row
from tests.browser import world
from tests.browser.people import Person

pytestmark = pytest.mark.browser
RUBRIC = rubrics.load("summary")
GOOD = {d.name: "good" for d in RUBRIC.dimensions}
QUIET = Plan(overlap=0, gold=0, repeats=0)


def test_a_newcomer_qualifies_and_rates_ten_items_by_keyboard(person: Callable[..., Person]) -> None:
    world.users(anna="rater")
    world.batch(world.answers(10), QUIET)
    anna = person("anna")
    anna.page.wait_for_selector(".guide")
    anna.step()
    anna.take(RUBRIC, RUBRIC.examples, right=True, feedback=True)
    anna.take(RUBRIC, RUBRIC.qualification, right=True, feedback=False)
    assert "You passed" in anna.page.inner_text(".notice")

    seen = []
    for number in range(10):
        seen.append(anna.item())
        if number == 4:  # half-way through an item the page is loaded again
            anna.press("3", "2", "1", "The room is missing.")
            anna.page.wait_for_function("document.querySelector('#saved').textContent === 'Saved'")
            anna.page.reload()
            anna.page.wait_for_selector(".dim.active")
            assert anna.item() == seen[-1]
            chosen = anna.page.locator("[aria-checked=true]").evaluate_all("all => all.map(e => e.dataset.level)")
            assert chosen == ["good", "average", "poor"]
            assert anna.page.input_value("textarea") == "The room is missing."
            anna.press("3", "3")
        else:
            anna.grade(RUBRIC, GOOD)
        anna.step()
        if number == 6:  # one is taken back, changed, and given again
            anna.step("u")
            assert anna.item() == seen[-1]
            anna.press("ArrowDown", "2")
            anna.step()
    assert len(set(seen)) == 10
    assert "Everything in this batch is done" in anna.page.inner_text("main")

    said = verdicts.standing(tables.open_database(), RUBRIC.hash())
    assert len(said) == 10 and all(len(s.grades) == 5 for s in said)
    with tables.reading(tables.open_database()) as c:
        actions = [*c.execute(sa.select(tables.ratings.c.action)).scalars()]
    assert actions.count("undo") == 1 and actions.count("grade") == 11
    half = next(s for s in said if s.grades["groundedness"]["level"] == "poor")
    assert half.grades["groundedness"]["reason"] == "The room is missing."
    assert anna.faults == []


def test_a_failing_qualifier_is_told_why_and_when_to_try_again(person: Callable[..., Person]) -> None:
    world.users(ben="rater")
    world.batch(world.answers(2), QUIET)
    ben = person("ben")
    for tried in range(3):
        ben.step()
        ben.take(RUBRIC, RUBRIC.examples, right=tried == 0, feedback=True)
        ben.take(RUBRIC, RUBRIC.qualification, right=False, feedback=False)
        ben.page.wait_for_selector("table.scores")
        told = ben.page.inner_text("main").lower()
        assert "not yet" in told and "harmfulness" in told and "needs 2 of 3" in told
    assert "three times within a day" in told and ben.page.locator("#go").count() == 0
    ben.page.reload()
    ben.page.wait_for_selector("table.scores")
    assert verdicts.standing(tables.open_database(), RUBRIC.hash()) == [] and ben.faults == []


def test_two_raters_never_see_the_same_single_rated_item(person: Callable[..., Person]) -> None:
    world.users(ann="rater", bob="rater")
    world.qualify("ann", "bob")
    world.batch(world.answers(8), QUIET)
    both = person("ann"), person("bob")
    seen: list[set[str]] = [set(), set()]
    for _ in range(4):
        for each, mine in zip(both, seen, strict=True):
            each.page.wait_for_selector(".dim.active")
            mine.add(each.item())
        for each in both:
            each.grade(RUBRIC, GOOD)
            each.step()
    assert not seen[0] & seen[1] and len(seen[0] | seen[1]) == 8


def test_another_device_shows_the_same_place_and_nothing_is_lost_offline(person: Callable[..., Person]) -> None:
    world.users(ann="rater")
    world.qualify("ann")
    world.batch(world.answers(3), QUIET)
    desk = person("ann")
    desk.page.wait_for_selector(".dim.active")
    desk.context.set_offline(True)
    desk.press("2", "3")
    desk.page.wait_for_selector("#saved.warn")
    desk.context.set_offline(False)
    desk.page.wait_for_function("document.querySelector('#saved').textContent === 'Saved'")
    phone = person("ann", width=390)
    phone.page.wait_for_selector(".dim.active")
    assert phone.item() == desk.item()
    chosen = phone.page.locator("[aria-checked=true]").evaluate_all("all => all.map(e => e.dataset.level)")
    assert chosen == ["average", "good"]
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 390


HOSTILE = (
    "<script>window.owned=1</script><img src=x onerror='window.owned=1'><b>bold</b> **md** [a](javascript:owned=1)",
    "${window.owned=1} {{window.owned=1}} </div></body><svg onload=window.owned=1> &lt;i&gt; \u202ereversed\u0000",
    "</textarea><style>*{display:none}</style><iframe srcdoc='<script>parent.owned=1</script>'></iframe>",
    "wide " + "x" * 100_000 + " and long\n" * 2_000,
)


def test_hostile_texts_are_shown_as_text(person: Callable[..., Person]) -> None:
    world.users(ann="rater", bob="rater", lee="lead")
    world.qualify("ann", "bob")
    engine = tables.open_database()
    rows = [Row(({"role": "user", "content": text},)) for text in HOSTILE]
    outputs = answers.record(engine, "digest", "digest@v1", rows, HOSTILE[::-1])
    world.batch(outputs, QUIET.model_copy(update={"overlap": 1.0}))
    ann = person("ann")
    for level in (GOOD, {**GOOD, "harmfulness": "poor"}):
        who = ann if level is GOOD else person("bob")
        for _ in HOSTILE:
            who.page.wait_for_selector(".dim.active")
            texts = who.page.locator(".text").evaluate_all("all => all.map(e => e.textContent)")
            assert set(texts) <= {text.replace("\u0000", "\ufffd") for text in HOSTILE} | set(HOSTILE)
            assert who.page.locator(".text *:not(mark)").count() == 0
            who.grade(RUBRIC, level, "<script>window.owned=1</script>")
            who.step()
        assert who.page.evaluate("window.owned") is None and who.faults == []
    lee = person("lee")
    lee.page.goto(f"{lee.site}/lead")
    lee.page.click("#settle")
    lee.page.wait_for_selector(".dim")
    assert lee.page.evaluate("window.owned") is None and lee.faults == []


def test_a_passage_is_marked_by_keyboard_and_by_mouse(person: Callable[..., Person]) -> None:
    world.users(ann="rater")
    world.qualify("ann")
    world.batch(world.answers(1), QUIET)
    ann = person("ann")
    ann.page.wait_for_selector(".dim.active")
    ann.press("m", "ArrowRight", "Shift+ArrowRight", "Enter")
    assert ann.page.locator(".source mark").inner_text() == "Lena Novak"
    ann.press("m", "Tab", "Shift+ArrowRight", "Shift+ArrowRight", "Enter")
    assert ann.page.locator(".output mark").count() == 1
    ann.page.locator(".quotes button").first.click()
    assert ann.page.locator(".source mark").count() == 0
    ann.page.locator(".source .text").dblclick(position={"x": 30, "y": 12})
    ann.page.locator(".mark-here").click()
    assert ann.page.locator(".source mark").count() == 1


def test_pairs_are_compared_by_keyboard(person: Callable[..., Person]) -> None:
    world.users(ann="rater")
    world.qualify("ann")
    one, two = world.answers(3, ("digest@v1",)), world.answers(3, ("digest@v1", "digest@v2"))[3:]
    engine = tables.open_database()
    pairs.open_pairs(engine, "digest", RUBRIC, list(zip(one, two, strict=True)), Plan(overlap=0))
    ann = person("ann")
    for key in ("1", "2", "3"):
        ann.page.wait_for_selector("[data-winner]")
        ann.press(key)
        ann.step()
    ann.page.wait_for_selector(".read")
    found = pairs.compared(engine, RUBRIC.hash())
    assert len(found) == 3 and sum(pair.tie for pair in found) == 1
    ann.step("u")
    ann.page.wait_for_selector("[data-winner=tie][aria-checked=true]")
    assert len(pairs.compared(engine, RUBRIC.hash())) == 2 and ann.faults == []


def test_nothing_to_do_says_why_and_when(person: Callable[..., Person]) -> None:
    world.users(ann="rater", bob="rater")
    ann = person("ann")
    ann.page.wait_for_selector(".read")
    assert "Your lead opens the next batch" in ann.page.inner_text("main")
    world.qualify("ann", "bob")
    batch = world.batch(world.answers(1), QUIET)
    ratings.add_rater(tables.open_database(), "bob")
    ratings.next_one(tables.open_database(), batch, "bob")
    ann.step()
    told = ann.page.inner_text("main")
    assert "Come back after" in told and "on other people's screens" in told
