"""The lead's page: disputes settled side by side change the scorecard; exports, roles and new work."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from evals import preferences, ratings, tables, verdicts
from evals import rubric as rubrics
from evals.ratings import Assignment, Plan
from serve.pages import feedback as votes
from serve.pages import flow
from tests.browser import world
from tests.browser.people import Person

pytestmark = pytest.mark.browser
RUBRIC = rubrics.load("summary")
GOOD = {d.name: {"level": "good"} for d in RUBRIC.dimensions}
BAD = {**GOOD, "groundedness": {"level": "poor", "reason": "The time is wrong.", "evidence": ["Thursday"]}}


def rated(n: int, wrong: int) -> str:
    """A batch that ann and bob have both graded; they disagree on the first `wrong` of bob's items."""
    world.users(ann="rater", bob="rater", lee="lead")
    world.qualify("ann", "bob")
    batch = world.batch(world.answers(n), Plan(overlap=1.0, gold=0, repeats=0))
    engine = tables.open_database()
    for rater in ("ann", "bob"):
        for number in range(n):
            found = ratings.next_one(engine, batch, rater)
            assert isinstance(found, Assignment)
            ratings.submit(engine, found.id, rater, RUBRIC, BAD if rater == "bob" and number < wrong else GOOD, 9.0)
    return batch


def test_a_lead_adjudicates_and_the_scorecard_changes(person: Callable[..., Person]) -> None:
    batch = rated(4, wrong=2)
    lee = person("lee")
    lee.page.goto(f"{lee.site}/lead")
    row = lee.page.locator("section[aria-label='What people say'] tbody tr").first
    assert row.locator("td").nth(1).inner_text() == "50 %"  # split between good and poor: the lower one counts
    lee.tab_to("#settle")
    lee.step()
    for _ in range(2):
        lee.page.wait_for_selector(".dim.active[data-dimension=groundedness]")
        assert "The time is wrong." in lee.page.inner_text("main")
        assert "ann" not in lee.page.inner_text("main") and "digest@" not in lee.page.content()
        lee.press("3", "It stands in the message.")
        lee.step()
    lee.page.wait_for_selector(".board")
    assert row.locator("td").nth(1).inner_text() == "100 %"
    found = verdicts.verdicts(tables.open_database(), RUBRIC)
    assert sum(v.adjudicated for v in found.values()) == 2
    assert all(v.levels["groundedness"] == "good" for v in found.values())

    with lee.page.expect_download() as download:
        lee.page.click("a[href*='export/ratings']")
    lines = [json.loads(line) for line in download.value.path().read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 8 and {line["rater"] for line in lines} == {"ann", "bob"} and batch
    assert lee.faults == []


def test_a_lead_opens_work_and_says_who_leads(person: Callable[..., Person], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "rubric_of", lambda task: RUBRIC)  # the made-up task has no recipe
    world.registry()
    world.users(ann="rater", lee="lead")
    world.qualify("ann")
    world.answers(4, ("digest@v1", "digest@v2"))
    lee = person("lee")
    lee.page.goto(f"{lee.site}/lead")
    lee.page.locator("summary", has_text="Open work").wait_for()
    for box in lee.page.locator("input[name=version]").all():
        box.check()
    lee.page.locator("input[name=pairs]").check()
    with lee.page.expect_response("**/api/lead/open*"):
        lee.page.locator("form button.primary").click()
    lee.page.wait_for_selector(".meter")
    lee.page.locator("summary", has_text="Who may do what").click()
    assert lee.page.locator("select[aria-label=lee]").is_disabled()
    with lee.page.expect_response("**/api/lead/role*"):
        lee.page.locator("select[aria-label=ann]").select_option("lead")
    ann = person("ann")
    ann.page.wait_for_selector("a[href$='/lead/']")
    assert lee.faults == []


def test_what_strangers_wrote_is_learned_only_after_a_lead_read_it(person: Callable[..., Person]) -> None:
    """What somebody who signed in to the demo would have said: the lead's card shows it, as text."""
    one, *_ = world.registry()
    world.users(anna="rater", lee="lead")
    engine, hostile = tables.open_database(), "<img src=x onerror=window.owned=1> <b>Buy!</b>"
    for text, wrote in (("The meeting is on Friday.", hostile), (world.MAILS[0], "An eval row."), ("Bye.", "See you.")):
        said = {"question": text, "text": "An answer", "task": "digest", "version": one.name, "vote": "down"}
        votes.store(said, wrote, "anna")

    def learned() -> list[str]:
        return [pair["chosen"] for pair in preferences.export(engine, "digest", RUBRIC, 0.0)]

    lee = person("lee")
    lee.page.goto(f"{lee.site}/lead")
    lee.page.locator("#feedback summary", has_text="3 waiting").click()
    cards = lee.page.locator("#feedback article")
    assert cards.count() == 3 and learned() == []
    shown = cards.nth(0).inner_text()
    assert hostile in shown and "anna" in shown and "The meeting is on Friday." in shown
    assert cards.locator(".warn").count() == 1 and "eval row" in cards.nth(1).inner_text()
    for button, left in (("Discard", 2), ("Accept", 1), ("Accept", 0)):
        with lee.page.expect_response("**/api/lead/feedback*"):
            lee.page.locator("#feedback[open] article button", has_text=button).first.click()
        lee.page.wait_for_function("n => document.querySelectorAll('#feedback article').length === n", arg=left)
    assert learned() == ["See you."] and lee.page.locator("#feedback").count() == 0
    assert lee.page.evaluate("window.owned") is None and lee.faults == []
