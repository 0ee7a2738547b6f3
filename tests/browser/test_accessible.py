"""Every page, light and dark: texts that can be read (contrast of WCAG 2.1 AA), and a name for every control."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from evals import pairs, people, tables
from evals import rubric as rubrics
from evals.ratings import Plan
from serve import demo
from serve.pages.ask import Server
from serve.pages.flow import WORK
from tests.browser import world
from tests.browser.people import Person, Watched
from tests.browser.test_lead_page import rated
from tests.fakes import gateway, pages

pytestmark = pytest.mark.browser
RUBRIC = rubrics.load("summary")
COLORS = ("light", "dark")
# Every visible text against the colour behind it, then every control without a name. What is switched off is left out.
LOOK = """() => {
  const parse = text => { const n = text.match(/[\\d.]+/g).map(Number); return {rgb: n.slice(0, 3), a: n[3] ?? 1}; };
  const over = (top, a, under) => top.map((c, i) => c * a + under[i] * (1 - a));
  const light = rgb => rgb.map(c => c / 255).map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.push(parse(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((under, layer) => over(layer.rgb, layer.a, under), [255, 255, 255]);
  };
  const faint = element => {
    let product = 1;
    for (let e = element; e; e = e.parentElement) product *= Number(getComputedStyle(e).opacity);
    return product;
  };
  const off = '[aria-disabled=true], [aria-hidden=true], :disabled, option, script, style, noscript';
  const found = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || e.closest(off) || !e.checkVisibility({visibilityProperty: true, opacityProperty: true})) continue;
    const style = getComputedStyle(e), {rgb, a} = parse(style.color), ground = behind(e);
    const seen = over(rgb, a * faint(e), ground), [x, y] = [light(seen), light(ground)].sort((p, q) => q - p);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = (x + 0.05) / (y + 0.05);
    if (ratio < (large ? 3 : 4.5)) found.push(`${ratio.toFixed(2)}: ${e.textContent.trim().slice(0, 60)}`);
  }
  for (const e of document.querySelectorAll('button, a, input, select, textarea, [role=radio], [role=option]')) {
    if (!e.checkVisibility({visibilityProperty: true, opacityProperty: true})) continue;
    const name = [e.getAttribute('aria-label'), e.title, e.textContent, e.labels?.[0]?.textContent,
      document.getElementById(e.getAttribute('aria-labelledby'))?.textContent];
    if (!name.some(text => text?.trim())) found.push(`no name: ${e.outerHTML.slice(0, 120)}`);
  }
  return found;
}"""


def look(who: Watched, *selectors: str) -> list[str]:
    """What is wrong with the page once all `selectors` are there."""
    for selector in selectors:
        who.page.wait_for_selector(selector)
    return [f"{who.page.url} {fault}" for fault in who.page.evaluate(LOOK)]


@pytest.mark.parametrize("colors", COLORS)
def test_the_raters_and_the_leads_pages(person: Callable[..., Person], colors: str) -> None:
    rated(3, wrong=1)
    world.users(new="rater", cem="rater", dan="rater")
    world.qualify("cem", "dan")
    world.batch(world.answers(6), Plan(overlap=0, gold=0, repeats=0))
    new = person("new", colors=colors)
    faults = look(new, ".guide")
    new.step()
    new.grade(RUBRIC, {d.name: "good" for d in RUBRIC.dimensions})
    new.step()
    faults += look(new, ".dim .told")
    cem = person("cem", colors=colors)
    cem.press("3", "2", "1", "The day is wrong.", "Enter", "m", "Enter")
    faults += look(cem, ".dim.active", "mark")
    cem.press("?")
    faults += look(cem, "dialog")
    two = world.answers(2, ("digest@v1", "digest@v2"))
    batch = pairs.open_pairs(tables.open_database(), "digest", RUBRIC, [(two[0], two[2]), (two[1], two[3])], Plan())
    people.move(tables.open_database(), "dan", WORK, {"batch": batch})
    dan = person("dan", colors=colors)
    dan.press("1")
    faults += look(dan, "[data-winner][aria-checked=true]")
    lee = person("lee", colors=colors)
    lee.page.goto(f"{lee.site}/lead")
    faults += look(lee, ".board", "details")
    lee.page.locator("select").first.select_option(index=1)
    lee.page.click("#settle")
    faults += look(lee, ".dim.active")
    lee.context.clear_cookies()
    lee.page.goto(f"{lee.site}/login")
    assert "\n".join(faults + look(lee, ".login")) == ""


@pytest.mark.parametrize("colors", COLORS)
def test_the_demo(browser: object, colors: str) -> None:
    world.registry()
    with gateway.running() as url, pages.running(demo.make(demo.Options(Server(f"{url}/v1"), url))) as site:
        who = Watched(browser, colors=colors)
        who.page.goto(site)
        who.page.wait_for_selector("#first input")
        who.page.fill("#question textarea", "Anything")
        who.page.click("#go")
        who.page.click("[data-vote=up]")
        who.page.click("#about button")
        faults = look(who, "#wrote textarea", "table.scores")
        who.page.get_by_role("tab").nth(1).click()
        assert "\n".join(faults + look(who, "#promote")) == ""
        who.close()
