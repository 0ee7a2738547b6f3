"""A person in front of a page: what they press, what they see, and all that went over the wire meanwhile."""

from __future__ import annotations

import re
import shutil
from typing import Any

from evals.rubric import Item, Rubric

ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium() -> str | None:
    """Where a browser is, if there is one."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Watched:
    """A browser context whose whole traffic and faults are kept."""

    def __init__(self, browser: Any, width: int = 1280, locale: str = "en-GB", colors: str = "light") -> None:
        size = {"width": width, "height": 844 if width < 600 else 860}
        self.context = browser.new_context(viewport=size, locale=locale, color_scheme=colors)
        self.context.set_default_timeout(240_000)  # a loaded machine must not fail a test
        self.page = self.context.new_page()
        self.faults: list[str] = []
        self.traffic: list[tuple[str, str]] = []
        self.hosts: set[str] = set()
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", self._dialog)
        self.context.on("request", self._request)
        self.context.on("response", self._response)

    def _dialog(self, dialog: Any) -> None:
        if dialog.type != "beforeunload":
            self.faults.append(f"dialog: {dialog.message}")
        dialog.accept()

    def _request(self, request: Any) -> None:
        self.hosts.add(re.sub(r"^(\w+:)(//[^/]*).*", r"\1\2", request.url, flags=re.S)[:60])
        self.traffic.append((request.url, f"{request.url} {request.post_data or ''}"))

    def _response(self, response: Any) -> None:
        self.traffic.append((response.url, str(response.headers)))

    def press(self, *keys: str) -> None:
        """Keys by name, and longer texts typed."""
        for key in keys:
            if len(key) == 1 or key in ("Enter", "Tab", "Escape") or key.startswith(("Arrow", "Shift+")):
                self.page.keyboard.press(key)
            else:
                self.page.keyboard.type(key)

    def tab_to(self, selector: str) -> None:
        """Go there by the Tab key alone."""
        for _ in range(60):
            self.press("Tab")
            if self.page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"no way by Tab to {selector}")

    def close(self) -> None:
        self.context.close()


class Person(Watched):
    """A rater or lead, signed in by keyboard."""

    def __init__(
        self, browser: Any, site: str, name: str, width: int = 1280, locale: str = "en-GB", colors: str = "light"
    ) -> None:
        super().__init__(browser, width, locale, colors)
        self.site = site
        self.page.goto(f"{site}/login")
        self.press("Tab", name, "Tab", f"{name}-password", "Enter")
        self.page.wait_for_selector(".top")

    def grade(self, rubric: Rubric, levels: dict[str, str], reason: str = "That is wrong.") -> None:
        """Set every dimension by its key, with a reason where the lowest level asks for one."""
        for dimension in rubric.dimensions:
            if "people" not in dimension.graders:
                continue
            level = levels[dimension.name]
            self.press(str(dimension.names().index(level) + 1))
            if level == dimension.names()[0]:
                self.press(reason, "Enter")

    def item(self) -> str:
        """The output on show."""
        return str(self.page.inner_text(".output .text"))

    def step(self, key: str = "Enter") -> None:
        """A key that leads on: wait until the page has drawn what comes next, however long that takes."""
        self.page.evaluate("document.querySelector('.page main').dataset.before = ''")  # Gradio has a main around it
        self.press(key)
        self.page.wait_for_selector(".page main:not([data-before])")

    def take(self, rubric: Rubric, items: list[Item], right: bool, feedback: bool) -> None:
        """Go through training (`feedback`) or test items, right or all at the lowest level."""
        for item in items:
            self.page.wait_for_selector(".practice")
            worst = {d.name: d.names()[0] for d in rubric.dimensions}
            self.grade(rubric, {n: v.level for n, v in item.grades.items()} if right else worst)
            self.step()
            if feedback:
                self.page.wait_for_selector(".dim .told")
                self.step()
