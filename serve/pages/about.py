"""One version told in full: what it scored and how surely, what the gate said, and the prompt that travels with it."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Any

from factory.registry import store
from serve.pages.markup import Safe
from serve.pages.texts import say
from serve.pages.versions import Known


def scorecard(language: str, version: Known) -> Safe:
    """Shares of good, average and poor with intervals, for the whole and per dimension, and the gate's verdict."""
    base = store.noted(version.version, "base_scorecard") or {}
    gate = store.noted(version.version, "gate")
    return Safe(_macros(language).scorecard(version, version.scorecard, base, gate))


def prompt(language: str, version: Known) -> Safe:
    """The system prompt, the decoding defaults and the base of a version."""
    return Safe(_macros(language).prompt(version, version.version.facts, store.SHORT))


def registry(language: str, tasks: dict[str, list[Known]]) -> Safe:
    """All tasks and versions as a table."""
    return Safe(_macros(language).registry(tasks, store.SHORT))


@cache
def _macros(language: str) -> Any:
    from jinja2 import Environment, FileSystemLoader

    page = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)
    page.filters["share"] = lambda share: "–" if share is None else f"{100 * share:.0f} %"
    page.globals |= {"say": partial(say, language), "percents": lambda x: f"{100 * min(max(x, 0.0), 1.0):.1f}"}
    return page.get_template("about.html.j2").module
