"""The demo in a real browser, over a FakeGateway: promotions show without reload, faults are told in plain words."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from evals import decisions, feedback, tables
from evals.gate import Verdict
from factory.registry import aliases
from serve import demo
from serve.pages import auth, result
from serve.pages.ask import Server
from tests.browser import world
from tests.browser.people import Watched
from tests.fakes import gateway, pages

pytestmark = pytest.mark.browser
Visit = Callable[..., Watched]


@pytest.fixture
def fake() -> Iterator[str]:
    world.registry()
    with gateway.running() as url:
        yield url


@pytest.fixture
def visit(browser: object, fake: str) -> Iterator[Visit]:
    """Opens the demo; `url` stands in for the endpoint's address."""
    opened: list[Watched] = []
    sites: list[object] = []

    def make(url: str = "", locale: str = "en-GB", width: int = 1280) -> Watched:
        site = pages.running(demo.make(demo.Options(Server(f"{url or fake}/v1"), fake)))
        sites.append(site)
        who = Watched(browser, width, locale)
        opened.append(who)
        who.page.goto(site.__enter__())
        who.page.wait_for_selector(".status")
        who.page.wait_for_selector("#first input")
        return who

    yield make
    for who in opened:
        who.close()
    for site in sites:
        site.__exit__(None, None, None)  # type: ignore[attr-defined]


def ask(who: Watched, text: str) -> str:
    """Put a question and wait for the whole answer, or the fault."""
    before = who.page.locator("#answers .answers").all()
    run = before[0].get_attribute("data-run") if before else ""
    who.page.fill("#question textarea", text)
    who.page.click("#go")
    who.page.wait_for_selector(f"#answers .answers[aria-busy=false]:not([data-run='{run}'])")
    return str(who.page.inner_text("#answers"))


def test_a_promotion_takes_over_between_two_messages_without_reload(visit: Visit) -> None:
    who = visit()
    assert "digest@v1" in ask(who, "one")
    aliases.point(aliases.resolve("digest@v2"))
    assert "digest@v2" in ask(who, "two")
    who.page.wait_for_function("document.querySelector('#status').textContent.includes('v2')")
    assert who.faults == []


def test_side_by_side_and_the_registry_view_promotes(visit: Visit) -> None:
    who = visit()
    for mode, names in (
        (1, ("tiny without adapter", "digest@v1")),
        (2, ("digest@v1", "digest@v2")),
        (3, ("digest", "labels")),
    ):
        who.page.locator("#mode input").nth(mode).click()
        if mode == 2:
            who.page.wait_for_selector("#second")
        shown = ask(who, f"compare {mode}")
        assert [name for name in names if name not in shown] == [], shown
        assert who.page.locator(".answer").count() == 2
        assert shown.count("tokens") == 2 and shown.count("first word") == 2
    who.page.get_by_role("tab").nth(1).click()
    who.page.fill("#token input", "wrong")
    who.page.click("#to-promote input")
    who.page.get_by_role("option", name="digest@v2").click()
    who.page.click("#promote")
    who.page.wait_for_selector("#moved .warn")
    assert "INCONCLUSIVE" in who.page.inner_text("#moved"), "the gate has not let it pass"
    one, two = (aliases.resolve(f"digest@v{n}") for n in (1, 2))
    assert aliases.resolve("digest") == one
    passed = Verdict(decision="PROMOTE", why="good", labels=200, plan={}, plan_hash="p")
    decisions.log(tables.open_database(), "digest", two.name, one.name, "rows", "summary", passed)
    who.page.click("#promote")
    who.page.wait_for_function("document.querySelector('#moved').textContent.includes('token is not valid')")
    assert aliases.resolve("digest") == one
    who.page.fill("#token input", gateway.TOKEN)
    who.page.click("#promote")
    who.page.wait_for_function("document.querySelector('#moved').textContent.includes('is live now')")
    assert aliases.resolve("digest") == two
    who.page.click("#to-roll-back input")
    who.page.get_by_role("option", name="digest").click()
    who.page.click("#rollback")
    who.page.wait_for_function("document.querySelector('#moved').textContent.includes('back at the version before')")
    assert aliases.resolve("digest") == one
    assert who.faults == []


def test_what_goes_wrong_is_told_in_plain_words(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result, "PATIENCE", 0.3)
    who = visit(url="http://127.0.0.1:9")
    who.page.wait_for_selector(".status.warn")
    assert "factory serve" in who.page.inner_text(".status")
    assert "cannot be reached" in ask(who, "anybody there?")
    other = visit()
    assert "broke off" in ask(other, "cut this")
    assert "does not know digest" in ask(other, "unknown version")
    other.page.fill("#question textarea", "slow one")
    other.page.click("#go")
    other.page.wait_for_function("document.querySelector('#answers').textContent.includes('Still waiting')")
    other.page.wait_for_selector("#answers .answers[aria-busy=false]")
    assert "slow one" in other.page.inner_text("#answers")


def test_a_question_and_feedback_by_keyboard_alone_with_consent(visit: Visit) -> None:
    """In Chinese, base beside version: what is said of the base's answer belongs to the task, too."""
    who = visit(locale="zh-CN")
    assert who.page.url.endswith("/zh/") and who.page.evaluate("document.body.lang") == "zh"
    who.tab_to("#mode input[value=base]")
    who.press(" ")
    who.tab_to("#question textarea")
    who.press(world.MAILS[1].replace("\n", " "), "Shift+Enter")
    who.page.wait_for_selector("#answers .answers[aria-busy=false]")
    who.tab_to("[data-vote=down]")
    who.press("Enter")
    who.page.wait_for_selector("#wrote textarea")
    assert "tiny@base" in who.page.inner_text("#feedback")
    who.tab_to("#wrote textarea")
    who.press("更好")
    who.tab_to("#send")
    who.press("Enter")
    who.page.wait_for_selector("#thanks .warn")
    assert feedback.given(tables.open_database(), "digest") == []
    who.press("Shift+Tab", " ")
    who.tab_to("#send")
    who.press("Enter")
    who.page.wait_for_selector("#thanks [role=status]")
    [given] = feedback.given(tables.open_database(), "digest")
    assert given["vote"] == "down" and given["wrote"] == "更好" and given["version"] == "tiny@base"
    assert given["eval"], "an eval row stays marked as one, whoever answered"
    assert who.faults == []


def test_hostile_texts_stay_text_and_nothing_is_loaded_from_elsewhere(visit: Visit) -> None:
    who = visit()
    hostile = "<script>window.owned=1</script><img src=x onerror=window.owned=1> **b** ${window.owned=1} {{this}}"
    shown = ask(who, hostile)
    assert "<script>window.owned=1</script><img src=x onerror=window.owned=1>" in shown and "${window.owned=1}" in shown
    assert who.page.evaluate("window.owned") is None and who.faults == []
    ask(who, "x" * 19_000)
    outside = {host for host in who.hosts if not host.startswith(("http://127.0.0.1:", "data:", "blob:"))}
    assert outside == set()


def test_it_fits_a_phone(visit: Visit) -> None:
    who = visit(width=390)
    ask(who, world.MAILS[0])
    who.page.click("#about button")
    who.page.wait_for_selector("table.scores")
    assert who.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_beyond_this_machine_it_opens_after_a_sign_in_and_notes_who_wrote(
    browser: object, fake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "WAIT", 0.01)  # seconds until another password may be tried
    world.users(anna="rater")
    options = demo.Options(Server(f"{fake}/v1"), fake, sign_in=True)
    with pages.running(demo.make(options)) as site:
        who = Watched(browser)
        who.page.goto(f"{site}/en/")
        who.page.wait_for_selector(".login")
        who.press("Tab", "anna", "Tab", "wrong", "Enter")
        who.page.wait_for_selector(".login .fault")
        who.page.fill("[name=name]", "anna")
        who.page.fill("[name=password]", "anna-password")
        who.press("Enter")
        who.page.wait_for_selector("#first input")
        ask(who, "A question")
        who.page.locator("[data-vote=down]").first.click()
        who.page.fill("#wrote textarea", "Better.")
        who.page.click("#consent input")
        who.page.click("#send")
        who.page.wait_for_selector("#thanks [role=status]")
        [given] = feedback.waiting(tables.open_database())
        assert (given["by"], given["wrote"], given["accepted"]) == ("anna", "Better.", None)
        assert who.faults == []
        who.close()


def test_a_query_is_run_and_its_result_shown_as_a_table(browser: object) -> None:
    world.registry()
    aliases.point(world.version("sql", 9, None, "Write one SQLite SELECT that answers the question."))
    right, wrong = "How many customers are there per city?", "Delete all customers."
    known = {right: "SELECT city, count(*) FROM customers GROUP BY city", wrong: "DELETE FROM customers"}
    with gateway.running(known) as url, pages.running(demo.make(demo.Options(Server(f"{url}/v1"), url))) as site:
        who = Watched(browser, 1280, "en-GB")
        who.page.goto(site)
        who.page.wait_for_selector("#first input")
        assert not who.page.locator("#database").is_visible()
        who.page.click("#task input")
        who.page.get_by_role("option", name="sql").click()
        who.page.wait_for_selector("#database input")
        who.page.click("#database input")
        who.page.get_by_role("option", name="shop").click()
        shown = ask(who, right)
        assert "6 rows" in shown and who.page.locator("table.result tbody tr").count() == 6
        assert "Porto" in who.page.inner_text("table.result")
        assert "Not run: refused: a Delete where a SELECT belongs" in ask(who, wrong)
        assert who.page.locator("table.result").count() == 0
        assert who.faults == []
        who.close()
