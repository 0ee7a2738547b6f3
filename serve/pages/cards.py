"""Answers side by side as cards: the text as plain text, who gave it, how fast, and what went wrong in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from serve.pages.ask import Answer
from serve.pages.markup import Safe, tag
from serve.pages.texts import say
from serve.pages.versions import Known, called

_THUMB = Safe(
    '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M7 10v10H3V10zM7 10l4-7c2 0 3 1 2.6 3L13 10h6'
    'c1.5 0 2.3 1 2 2.5l-1.5 6c-.3 1-1 1.5-2 1.5H7"/></svg>'
)
PATIENCE = 3.0  # seconds after which waiting is explained


def cards(language: str, answers: Sequence[Answer], tasks: dict[str, list[Known]], done: bool = False) -> Safe:
    """One card per answer. Votes can be given once all are `done`."""
    made = [_card(language, i, answer, tasks, done) for i, answer in enumerate(answers)]
    # Screen readers are told the end, not every word on the way.
    return tag(
        "div",
        *made,
        class_=f"answers n{min(len(made), 3)}",
        aria_live="polite",
        aria_busy=str(not done).lower(),
        data_run=f"{answers[0].began:.3f}",
    )


def _card(language: str, number: int, answer: Answer, tasks: dict[str, list[Known]], done: bool) -> Safe:
    who = called(answer.version, tasks) if answer.version else ""
    votes = _votes(language, number) if done and answer.text and not answer.fault else None
    head = tag("header", tag("h3", answer.title), tag("span", who, class_="chip version") if who else None)
    return tag(
        "article",
        head,
        tag("pre", answer.text, class_="text", dir="auto") if answer.text else None,
        _remark(language, answer),
        tag("div", Safe(answer.result), class_="scroll", tabindex="0") if answer.result else None,
        tag("footer", _figures(language, answer), votes),
        class_="card answer",
    )


def _remark(language: str, answer: Answer) -> Safe | None:
    """What is wrong, or why nothing is to be seen yet."""
    if answer.fault:
        detail = tag("small", answer.detail) if answer.detail else None
        text = say(language, answer.fault, model=answer.model)
        return tag("p", text, detail, class_="fault", role="alert")
    if answer.text or answer.total is not None:
        return None
    if answer.waited > PATIENCE:
        return tag("p", say(language, "still_waiting", seconds=f"{answer.waited:.0f}"), class_="quiet")
    return tag("p", tag("span", class_="dots", aria_label=say(language, "waiting")), class_="quiet")


def _figures(language: str, answer: Answer) -> Safe:
    parts = [
        say(language, "first_word", seconds=f"{answer.first:.2f}") if answer.first is not None else "",
        say(language, "whole", seconds=f"{answer.total:.2f}") if answer.total is not None else "",
        say(language, "tokens", n=answer.tokens) if answer.tokens is not None else "",
    ]
    return tag("span", " · ".join(part for part in parts if part), class_="figures")


def _votes(language: str, number: int) -> Safe:
    def button(vote: str) -> Safe:
        label = say(language, f"vote_{vote}")
        return tag("button", _THUMB, type="button", class_="vote", data_vote=vote, data_answer=number, aria_label=label,
                   title=label)  # fmt: skip

    return tag("span", button("up"), button("down"), class_="votes")
