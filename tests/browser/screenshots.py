"""`make screenshots`: a picture of every page at desktop and phone width into docs/screenshots, from a made-up world.

The demo speaks to a FakeGateway, the rater's and the lead's page to a database with a few graded items.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

from evals import pairs, people, ratings, tables
from evals import rubric as rubrics
from evals.ratings import Assignment, Plan
from serve import demo, rater
from serve.pages.ask import Server
from serve.pages.flow import WORK
from tests.browser import world
from tests.browser.people import ARGUMENTS, Person, Watched, chromium
from tests.fakes import gateway, pages

OUT = Path(__file__).parents[2] / "docs" / "screenshots"
WIDTHS = (1280, 390)
RUBRIC = rubrics.load("summary")
GOOD: ratings.Grades = {d.name: {"level": "good"} for d in RUBRIC.dimensions}
SELECT = """word => {
  const text = document.querySelector('.output .text').firstChild, at = text.data.indexOf(word);
  getSelection().setBaseAndExtent(text, at, text, at + word.length);
}"""


def main() -> None:
    """Make all pictures; the last line says where they are."""
    from playwright.sync_api import sync_playwright

    if (path := chromium()) is None:
        sys.exit("no chromium here: sh requirements/browser.sh installs it on Debian")
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        os.environ["FACTORY_HOME"] = home
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        one, two, _ = world.registry()
        for width in WIDTHS:
            demo_pages(browser, width)
        world.users(anna="rater", ben="rater", chris="rater", dana="rater", eve="rater", lee="lead")
        with pages.running(rater.make()) as site:
            for width in WIDTHS:
                nothing_page(browser, site, width)
            fill((one.name, two.name))
            for width in WIDTHS:
                rater_pages(browser, site, width)
                lead_pages(browser, site, width)
            open_pairs((one.name, two.name))
            for width in WIDTHS:
                pair_page(browser, site, width)
        browser.close()
    print(f"{len(list(OUT.glob('*.png')))} pictures in {OUT.relative_to(Path.cwd())}")


def demo_pages(browser: Any, width: int) -> None:
    known = dict(zip(world.MAILS, world.SUMMARIES[0], strict=True))
    with gateway.running(known) as url, pages.running(demo.make(demo.Options(Server(f"{url}/v1"), url))) as site:
        who = Watched(browser, width, "en-GB")
        who.page.goto(site)
        who.page.wait_for_selector("#first input")
        who.page.locator("#mode input").nth(1).click()
        who.page.fill("#question textarea", world.MAILS[0])
        who.page.click("#go")
        who.page.wait_for_selector("[data-vote]")
        shoot(who, "demo", width)
        who.page.locator("[data-vote=down]").last.click()
        who.page.click("#about button")
        who.page.wait_for_selector("table.scores")
        shoot(who, "demo-about", width)
        who.page.get_by_role("tab").nth(1).click()
        shoot(who, "demo-versions", width)
        who.close()


def nothing_page(browser: Any, site: str, width: int) -> None:
    who = Person(browser, site, "anna", width)
    shoot(who, "nothing", width)
    who.close()


def fill(versions: tuple[str, str]) -> None:
    """Two raters who agree on most of a batch, one who begins, one who failed the test, one who has not read yet."""
    engine = tables.open_database()
    world.qualify("anna", "ben", "chris")
    half = [{name: {"level": v.level} for name, v in item.grades.items()} for item in RUBRIC.qualification]
    half[0]["groundedness"] = half[1]["groundedness"] = {}
    ratings.qualify(engine, "eve", RUBRIC, False, people.judge_test(RUBRIC, half).model_dump())
    people.move(engine, "eve", RUBRIC.hash(), {"stage": "failed"})
    batch = world.batch(world.answers(30, versions), Plan(overlap=1.0, gold=0, repeats=0.1))
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
    new.grade(RUBRIC, {d.name: "average" if d.name == "comprehensiveness" else "good" for d in RUBRIC.dimensions})
    new.step()
    new.page.wait_for_selector(".dim .told")
    shoot(new, "training", width)
    new.close()
    eve = Person(browser, site, "eve", width)
    shoot(eve, "failed", width)
    eve.close()
    chris = Person(browser, site, "chris", width)
    chris.page.wait_for_selector(".dim.active")
    while "Saturday" not in chris.item():
        chris.grade(RUBRIC, {d.name: "good" for d in RUBRIC.dimensions})
        chris.step()
    chris.press("3", "2", "1", "It is Friday, not Saturday.", "Escape")
    chris.page.evaluate(SELECT, "Saturday")
    chris.press("m", "Escape")
    chris.page.wait_for_function("document.querySelector('#saved').textContent === 'Saved'")
    shoot(chris, "rating", width)
    chris.press("?")
    chris.page.wait_for_selector("dialog")
    shoot(chris, "help", width, full=False)
    chris.close()
    again = Person(browser, site, "chris", width, "zh-CN")
    again.page.wait_for_selector(".dim.active")
    shoot(again, "rating-zh", width)
    again.press("u", "u", "u")
    again.page.wait_for_function("document.querySelector('#saved').textContent === '已保存'")
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


def open_pairs(versions: tuple[str, str]) -> None:
    engine, made = tables.open_database(), world.answers(3, versions)
    batch = pairs.open_pairs(engine, "digest", RUBRIC, list(zip(made[:3], made[3:], strict=True)), Plan(overlap=0))
    for name in ("chris", "anna"):
        people.move(engine, name, WORK, {"batch": batch})


def pair_page(browser: Any, site: str, width: int) -> None:
    who = Person(browser, site, "chris" if width == WIDTHS[0] else "anna", width)
    who.page.wait_for_selector("[data-winner]")
    who.press("1")
    shoot(who, "pair", width)
    who.close()


def shoot(who: Watched, name: str, width: int, full: bool = True) -> None:
    """The page, once nothing moves any more, in 256 colours of its own: a third of the bytes, and no eye sees it."""
    seen = b""
    while seen != (seen := who.page.screenshot(full_page=full)):
        time.sleep(0.3)
    picture = Image.open(io.BytesIO(seen)).convert("RGB").quantize(256, kmeans=2, dither=Image.Dither.NONE)
    picture.save(OUT / f"{name}-{width}.png", optimize=True)


if __name__ == "__main__":
    main()
