"""`make screenshots`: a picture of every page at desktop and phone width into docs/screenshots, from a made-up world.

The demo speaks to a FakeGateway, the rater's and the lead's page to a database with a few graded items.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from evals import pairs, people, ratings, tables
from evals import rubric as rubrics
from evals.ratings import Assignment, Plan
from serve import demo, rater
from serve.pages import app as pages
from serve.pages.ask import Server
from serve.pages.flow import WORK
from tests.browser import world
from tests.browser.people import ARGUMENTS, Person, Watched, chromium
from tests.fakes import gateway

OUT = Path(__file__).parents[2] / "docs" / "screenshots"
WIDTHS = (1280, 390)
RUBRIC = rubrics.load("summary")
GOOD: ratings.Grades = {d.name: {"level": "good"} for d in RUBRIC.dimensions}
QUIET = Plan(overlap=0, gold=0, repeats=0)


def main() -> None:
    """Make all pictures; the last line says where they are."""
    from playwright.sync_api import sync_playwright

    if (path := chromium()) is None:
        sys.exit("no chromium here: sh requirements/browser.sh installs it on Debian")
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        os.environ["FACTORY_HOME"] = home
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        world.registry()
        for width in WIDTHS:
            demo_pages(browser, width)
        fill()
        with pages.running(rater.make()) as site:
            for width in WIDTHS:
                rater_pages(browser, site, width)
                lead_pages(browser, site, width)
            open_pairs()
            for width in WIDTHS:
                pair_page(browser, site, width)
        browser.close()
    print(f"{len(list(OUT.glob('*.png')))} pictures in {OUT.relative_to(Path.cwd())}")


def demo_pages(browser: Any, width: int) -> None:
    known = dict(zip(world.MAILS, world.SUMMARIES, strict=True))
    with gateway.running(known) as url, pages.running(demo.make(demo.Options(Server(f"{url}/v1"), url))) as site:
        who = Watched(browser, width, "en-GB")
        who.page.goto(site)
        who.page.wait_for_selector("#first input")
        who.page.locator("#mode input").nth(1).click()
        who.page.fill("#question textarea", world.MAILS[0])
        who.page.click("#go")
        who.page.wait_for_selector("[data-vote]")
        shoot(who, "demo", width)
        who.page.click("[data-vote=down]")
        who.page.click("#about button")
        who.page.wait_for_selector("table.scores")
        shoot(who, "demo-about", width)
        who.page.get_by_role("tab").nth(1).click()
        shoot(who, "demo-versions", width)
        who.close()


def fill() -> None:
    """Two raters who agree on most of a batch, one who has just begun to read, and a lead."""
    world.users(anna="rater", ben="rater", chris="rater", dana="rater", lee="lead")
    world.qualify("anna", "ben", "chris")
    batch = world.batch(world.answers(30, ("digest@v1", "digest@v2")), Plan(overlap=1.0, gold=0, repeats=0.1))
    engine = tables.open_database()
    for name in ("anna", "ben"):
        for number in range(40):
            found = ratings.next_one(engine, batch, name)
            if isinstance(found, Assignment):
                grades = {**GOOD}
                if number % 5 == 0:
                    grades["groundedness"] = {"level": "poor", "reason": "The time is wrong.", "evidence": ["Thursday"]}
                if number % 4 == 0 and name == "ben":
                    grades["comprehensiveness"] = {"level": "average", "reason": "The room is missing."}
                ratings.submit(engine, found.id, name, RUBRIC, grades, 14.0 + number % 7)


def rater_pages(browser: Any, site: str, width: int) -> None:
    who = Watched(browser, width, "en-GB")
    who.page.goto(site)
    who.page.wait_for_selector(".login")
    shoot(who, "sign-in", width)
    who.close()
    new = Person(browser, site, "dana" if width == WIDTHS[0] else "lee", width)
    new.page.wait_for_selector("#go")
    shoot(new, "guidelines", width)
    new.press("Enter")
    new.page.wait_for_selector(".dim.active")
    new.grade(RUBRIC, {d.name: "good" for d in RUBRIC.dimensions})
    new.submit()
    new.page.wait_for_selector(".dim .told")
    shoot(new, "training", width)
    new.close()
    anna = Person(browser, site, "chris", width)
    anna.page.wait_for_selector(".dim.active")
    anna.press("3", "2", "1", "The time is wrong.")
    anna.page.keyboard.press("Escape")
    anna.press("m", "ArrowRight", "Shift+ArrowRight", "Enter")
    anna.page.keyboard.press("Escape")
    anna.page.wait_for_function("document.querySelector('#saved').textContent === 'Saved'")
    shoot(anna, "rating", width)
    anna.press("?")
    anna.page.wait_for_selector("dialog")
    anna.page.screenshot(path=OUT / f"help-{width}.png")
    anna.close()
    again = Person(browser, site, "chris", width, "zh-CN")
    again.page.wait_for_selector(".dim.active")
    shoot(again, "rating-zh", width)
    for key in ("u", "u", "u"):
        again.press(key)
    again.settled()
    again.close()


def lead_pages(browser: Any, site: str, width: int) -> None:
    lee = Person(browser, site, "lee", width)
    lee.page.goto(f"{site}/lead")
    lee.page.wait_for_selector(".board")
    shoot(lee, "lead", width)
    lee.page.click("#settle")
    lee.page.wait_for_selector(".dim.active")
    shoot(lee, "dispute", width)
    lee.close()


def open_pairs() -> None:
    engine = tables.open_database()
    one = world.answers(3, ("digest@v1",))
    two = world.answers(3, ("digest@v1", "digest@v2"))[3:]
    batch = pairs.open_pairs(engine, "digest", RUBRIC, list(zip(one, two, strict=True)), QUIET)
    for name in ("chris", "anna"):
        people.move(engine, name, WORK, {"batch": batch})


def pair_page(browser: Any, site: str, width: int) -> None:
    who = Person(browser, site, "chris" if width == WIDTHS[0] else "anna", width)
    who.page.wait_for_selector("[data-winner]")
    who.press("1")
    who.settled()
    shoot(who, "pair", width)
    who.close()


def shoot(who: Watched, name: str, width: int) -> None:
    """The whole page, once nothing moves any more."""
    who.page.wait_for_timeout(400)
    who.page.screenshot(path=OUT / f"{name}-{width}.png", full_page=True)


if __name__ == "__main__":
    main()
