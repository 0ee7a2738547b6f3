"""A vote on one of the answers on show: which one is meant, and into the ratings with it."""

from typing import Any

from markupsafe import Markup

from evals import feedback
from evals import tables as t
from factory.data.words import normal
from serve.pages.markup import tag
from serve.pages.texts import say
from serve.pages.versions import called, examples, known

Chosen = dict[str, str]


def chosen(kept: dict[str, Any] | None, clicked: dict[str, Any] | None) -> Chosen | None:
    """The question and answer that a click on a card means. None: it means nothing that is on show."""
    try:
        kept, clicked = kept or {}, clicked or {}
        number, vote = int(clicked["answer"]), str(clicked["vote"])
        question, answer = kept["question"], kept["answers"][number]
    except (KeyError, ValueError, IndexError, TypeError):
        return None
    if vote not in ("up", "down") or number < 0:
        return None
    version = answer["version"] or answer["model"]
    return {"question": question, "text": answer["text"], "task": answer["task"], "version": version, "vote": vote}


def heading(language: str, chosen: Chosen) -> Markup:
    version = called(chosen["version"], known()).partition(" ")[0]
    return tag("p", say(language, f"feedback_{chosen['vote']}", version=version), class_="feedback-on")


def store(chosen: Chosen, wrote: str, by: str = "") -> None:
    """Keep it with the ratings. Only called after the user agreed. An eval row is marked as one, however spaced."""
    task = chosen["task"]
    evals = {normal(text) for version in known().get(task, []) for text in examples(version.version, None)}
    said = feedback.Feedback(
        vote="up" if chosen["vote"] == "up" else "down",
        wrote=wrote.strip(),
        by=by,
        consent=True,
        eval=normal(chosen["question"]) in evals,
    )
    feedback.give(t.open_database(), task, chosen["version"], chosen["question"], chosen["text"], said)
