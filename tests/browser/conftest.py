"""A real browser for each test, a home of its own, and people who are signed in. Without a browser: skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serve import rater
from tests.browser.people import ARGUMENTS, Person, chromium
from tests.fakes import pages


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """One browser a module: while it is there an event loop runs in this thread, and other tests start their own."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="the playwright package is not installed")
    if (path := chromium()) is None:
        pytest.skip("no chromium here: sh requirements/browser.sh installs it on Debian")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FACTORY_RATINGS", raising=False)


@pytest.fixture
def site() -> Iterator[str]:
    """The rater's application; what it shows is read from the home at each look."""
    with pages.running(rater.make()) as address:
        yield address


@pytest.fixture
def person(browser: object, site: str) -> Iterator[Callable[..., Person]]:
    """`person("anna")` opens a browser of her own and signs her in; `width=390` makes it a phone."""
    opened: list[Person] = []

    def make(name: str, **how: Any) -> Person:
        opened.append(Person(browser, site, name, **how))
        return opened[-1]

    yield make
    for each in opened:
        each.close()
