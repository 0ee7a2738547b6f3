"""A vote on one of the answers on show: which one is meant, and into the ratings with it."""

from __future__ import annotations

from typing import Any

from evals import feedback
from evals import tables as t
from serve.pages.markup import Safe, tag
from serve.pages.texts import say
from serve.pages.versions import examples, known

Chosen = dict[str, str]


def chosen(kept: dict[str, Any] | None, clicked: dict[str, Any] | None) -> Chosen | None:
    """The question and answer that a click on a card means. None: it means nothing that is on show."""
    try:
        number, vote = int((clicked or {})["answer"]), str((clicked or {})["vote"])
        answer = (kept or {})["answers"][number]
    except (KeyError, ValueError, IndexError, TypeError):
        return None
    if vote not in ("up", "down") or number < 0:
        return None
    version = answer["version"] or answer["model"]
    return {"question": kept["question"], "text": answer["text"], "version": version, "vote": vote} if kept else None


def heading(language: str, chosen: Chosen) -> Safe:
    return tag("p", say(language, f"feedback_{chosen['vote']}", version=chosen["version"]), class_="feedback-on")


def store(chosen: Chosen, wrote: str) -> None:
    """Keep it with the ratings. Only called after the user agreed. An eval row stays marked as one."""
    task = chosen["version"].partition("@")[0]
    evals = {text for version in known().get(task, []) for text in examples(version.version, None)}
    said = feedback.Feedback(
        vote="up" if chosen["vote"] == "up" else "down",
        wrote=wrote.strip(),
        consent=True,
        eval=chosen["question"] in evals,
    )
    feedback.give(t.open_database(), task, chosen["version"], chosen["question"], chosen["text"], said)
