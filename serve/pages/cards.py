"""Answers side by side as cards: the text as plain text, who gave it, how fast, and what went wrong in plain words."""

from collections.abc import Sequence

from serve.pages.ask import Answer
from serve.pages.markup import Safe, macros
from serve.pages.versions import Known, called

PATIENCE = 3.0  # seconds after which waiting is explained


def cards(language: str, answers: Sequence[Answer], tasks: dict[str, list[Known]], done: bool = False) -> Safe:
    """One card per answer. Votes can be given once all are `done`."""
    named = [(answer, called(answer.version, tasks) if answer.version else "") for answer in answers]
    return Safe(macros("cards", language).cards(named, done, PATIENCE))
