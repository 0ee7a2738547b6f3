"""One version told in full: what it scored and how surely, what the gate said, and the prompt that travels with it."""

from factory.registry import store
from serve.pages.markup import Safe, macros
from serve.pages.versions import Known


def scorecard(language: str, version: Known) -> Safe:
    """Shares of good, average and poor with intervals, for the whole and per dimension, and the gate's verdict."""
    base = store.noted(version.version, "base_scorecard") or {}
    gate = store.noted(version.version, "gate")
    return Safe(macros("about", language).scorecard(version, version.scorecard, base, gate))


def prompt(language: str, version: Known) -> Safe:
    """The system prompt, the decoding defaults and the base of a version."""
    return Safe(macros("about", language).prompt(version, version.version.facts, store.SHORT))


def registry(language: str, tasks: dict[str, list[Known]]) -> Safe:
    """All tasks and versions as a table."""
    return Safe(macros("about", language).registry(tasks, store.SHORT))
