"""The labels of a classification's rows: one a row, in one spelling each, short enough to be answered."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from factory.data.label import alike, visible
from factory.data.rows import Row
from factory.data.steps import Work
from factory.errors import InputError

SHOWN = 10


def settled(rows: Iterable[Row], work: Work, key: str) -> list[Row]:
    """The rows of a classification, each with its label as `label`; look-alikes made one with `data.labels_fold`.

    Labels that the recipe lists, or the eval rows have, decide the spelling. InputError: labels that look alike,
    several labels in one row, or a label that `decoding.max_tokens` has no room for.
    """
    held = [_labelled(row) for row in rows]
    if several := [row for row in held if row.meta.get("labels", 1) > 1]:
        why = "has several labels, and a classification has one a row: make a task of it whose answer is the list, with"
        raise InputError(f"{why} factory new task=… kind=general", file=several[0].file, line=several[0].line, key=key)
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
        raise InputError(f"labels that look alike: {told}: {settle}", file=held[0].file, key=key)
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
    return replace(row.with_answer(label), meta={**row.meta, "label": label})


def _answerable(labels: set[str], work: Work) -> None:
    most = work.recipe.decoding.max_tokens
    names = sorted(label for label in labels if len(label.encode()) >= most)  # a token is a byte of it at least
    if not names:
        return
    needs = [len(ids) + 1 for ids in work.tokenizer(names, add_special_tokens=False)["input_ids"]]
    longest = max(range(len(names)), key=needs.__getitem__)
    if needs[longest] > most:
        why = f"the label {visible(names[longest])} needs {needs[longest]} tokens and could never be answered"
        raise InputError(f"{why}: set decoding.max_tokens={needs[longest]}", key="decoding.max_tokens")
