"""What a label is, wherever one is read, listed, trained or compared: its text without the space around it.

Two labels *look alike* when they differ only in case, width, composition of accents, inner space or characters that
nobody sees. They are one label only if somebody says so (`data.labels_fold`), and never become two classes silently.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from factory.data.rows import Row
from factory.errors import InputError, Problem

if TYPE_CHECKING:
    from factory.data.steps import Work

SHOWN = 10


def folded(label: str, case: bool = True) -> str:
    """The one form of all labels that look alike; without `case`, of those that look the same."""
    kept = "".join(c for c in unicodedata.normalize("NFKC", label) if c == "\u200d" or not _unseen(c))
    return " ".join((kept.casefold() if case else kept).split())


def visible(label: str) -> str:
    """A label for a message, in quotes, what cannot be seen in it as an escape."""
    composed = unicodedata.is_normalized("NFC", label)
    shown = (
        c.encode("unicode_escape").decode()
        if _unseen(c) or (c != " " and c.isspace()) or (not composed and unicodedata.combining(c))
        else c
        for c in label
    )
    return f"'{''.join(shown)}'"


def alike(labels: Iterable[str], case: bool = True) -> list[list[str]]:
    """The groups of different labels that look alike; without `case`, that look the same."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for label in dict.fromkeys(labels):
        groups[folded(label, case)].append(label)
    return [group for group in groups.values() if len(group) > 1]


def settled(rows: Iterable[Row], work: Work, key: str) -> list[Row]:
    """The rows of a classification, each with its label as `label`; look-alikes made one with `data.labels_fold`.

    Labels that the recipe lists, or the eval rows have, decide the spelling. InputError: labels that look alike,
    several labels in one row, or a label that `decoding.max_tokens` has no room for.
    """
    held = [_labelled(row) for row in rows]
    if several := [row for row in held if row.meta.get("labels", 1) > 1]:
        why = "has several labels, and a classification has one a row: make a task of it whose answer is the list, with"
        raise InputError(Problem(f"{why} factory new task=… kind=general", several[0].file, several[0].line, key))
    counts = Counter(row.answer for row in held if row.answer)
    known = list(work.recipe.labels) or sorted({row.answer for row in work.evals.get(work.recipe.task, [])})
    spelt: dict[str, str] = {}
    problems = []
    for group in alike([*known, *counts]):
        best = max(group, key=lambda label: (label in known, counts[label], label))
        spelt |= dict.fromkeys(group, best)
        if not work.recipe.data.labels_fold and any(label not in known for label in group):
            problems.append(", ".join(f"{visible(label)} ({counts[label]:,} rows)" for label in group))
    if problems:
        settle = "mend the file, or let data.labels_fold=true make each group one label"
        told = "; ".join(problems[:SHOWN])
        raise InputError(Problem(f"labels that look alike: {told}: {settle}", held[0].file, key=key))
    if work.recipe.data.labels_fold:
        held = [_named(row, spelt.get(row.answer, row.answer)) for row in held]
    _answerable({row.answer for row in held} | {*known}, work)
    return held


def labels(rows: Iterable[Row], work: Work) -> Iterator[Row]:
    """The step for the training rows of a classification."""
    yield from settled(rows, work, "data.train")


def _labelled(row: Row) -> Row:
    if not row.messages or row.messages[-1]["role"] != "assistant" or row.answer == "{{base}}":
        return row
    return _named(row, row.answer.strip())


def _named(row: Row, label: str) -> Row:
    if row.answer == label == row.meta.get("label"):
        return row
    messages = (*row.messages[:-1], {"role": "assistant", "content": label})
    return replace(row, messages=messages, meta={**row.meta, "label": label})


def _answerable(labels: set[str], work: Work) -> None:
    most = work.recipe.decoding.max_tokens
    names = sorted(label for label in labels if len(label.encode()) >= most)  # a token is a byte of it at least
    if not names:
        return
    needs = [len(ids) + 1 for ids in work.tokenizer(names, add_special_tokens=False)["input_ids"]]
    longest = max(range(len(names)), key=needs.__getitem__)
    if needs[longest] > most:
        why = f"the label {visible(names[longest])} needs {needs[longest]} tokens and could never be answered"
        raise InputError(Problem(f"{why}: set decoding.max_tokens={needs[longest]}", key="decoding.max_tokens"))


def _unseen(c: str) -> bool:
    return not c.isspace() and (unicodedata.category(c) in ("Cf", "Cc") or "\ufe00" <= c <= "\ufe0f")
