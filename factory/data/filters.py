"""Rules that each row passes or fails by itself, the tokens of the actual tokenizer counted first."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from factory import control
from factory.data.refusals import REFUSAL
from factory.data.rows import Row, one_line
from factory.data.steps import Work
from factory.data.templated import without_thought
from factory.data.words import words
from factory.errors import InputError, first_line
from factory.train.tokens import prompt_text

STEP = "rules"
BATCH = 512


def rules(rows: Iterable[Row], work: Work) -> Iterator[Row]:
    """Drops rows that are empty, refuse, echo, repeat, lack the required form, or leave nothing to learn."""
    required, tokens = _required(work.recipe.data.require), control.tokens(work.tokenizer)
    excluded = [word.casefold() for word in work.recipe.data.exclude]
    rows = iter(rows)
    while batch := list(islice(rows, BATCH)):
        sound = []
        for row in batch:
            if reason := _reason(row, work, required, excluded) or _control(row, work, tokens):
                work.drop(row, STEP, reason)
            else:
                sound.append(row)
        for row, fault in count_tokens(sound, work.tokenizer, work.prompt):
            if reason := fault or _length(row, work):
                work.drop(row, STEP, reason)
            else:
                yield row


def _reason(row: Row, work: Work, required: re.Pattern[str] | None, excluded: list[str]) -> str:
    data = work.recipe.data
    answer = without_thought(row.answer) if data.reasoning else row.answer
    if not answer.strip():
        return "the answer is empty"
    if not row.turns and not work.prompt and not data.whole:
        return (
            "there is no question before it, and the task has no prompt (write one into prompt.md, such as 'Go on.', "
            "or make questions of the texts with synth=from-documents)"
        )
    if any(m["role"] == "user" and not m["content"].strip() for m in row.messages):
        return "a question is empty"
    if row.meta.get("desirable") is False and not data.undesirable:
        return "labelled as undesirable"
    if excluded:
        whole = "\n".join(m["content"] for m in row.messages).casefold()
        if found := next((word for word in excluded if word in whole), None):
            return f"contains the excluded {found!r}"
    if row.meta.get("replay"):
        return ""
    if work.labels and answer not in work.labels:
        return f"the label is outside the set: {one_line(answer, 60)}"
    if reason := work.misshapen(row):
        return reason
    if data.require == "json" and not _is_json(answer):
        return "the answer is not JSON"
    if required and not required.fullmatch(answer):
        return "the answer lacks the required form"
    if not data.refusals and REFUSAL.match(answer):
        return "the answer refuses"
    return _form(row, answer)


def _control(row: Row, work: Work, tokens: frozenset[str]) -> str:
    """An answer may not hold control tokens; in what others wrote they are counted, and read as plain text."""
    if found := control.first_in(row.answer, tokens):
        return f"the answer holds a control token of the base: {found}"
    work.controlled += any(control.first_in(m["content"], tokens) for m in row.turns)
    return ""


def _form(row: Row, answer: str) -> str:
    """Echoes and loops. Short answers are spared: a greeting may answer a greeting."""
    said = words(answer)
    if len(said) >= 4 and row.turns and _last_words(answer) == _last_words(row.turns[-1]["content"]):
        return "the answer echoes the question"
    return "the answer repeats itself" if repeats(said) else ""


def repeats(said: Sequence[str]) -> bool:
    """Whether words go round in circles: of 30 or more, most runs of five stand there several times."""
    runs = [tuple(said[i : i + 5]) for i in range(len(said) - 4)]
    return len(said) >= 30 and len(set(runs)) < 0.4 * len(runs)


def _last_words(text: str) -> str:
    """A text but for its layout. Case and punctuation count: to set them right may be the task."""
    return " ".join(text.split())


def _length(row: Row, work: Work) -> str:
    answer = row.tokens[1]
    least, most = work.recipe.data.answer_tokens
    if not least <= answer <= most:
        return f"the answer's length is outside {least}–{most} tokens"
    return too_long(row, work)


def too_long(row: Row, work: Work) -> str:
    """A reason where the answer and its end do not fit into one sequence: cut off, it would teach to break off."""
    (prompt, answer), most = row.tokens, work.recipe.train.max_length
    if prompt + answer + 1 <= most:
        return ""
    work.longest = max(work.longest, prompt + answer + 1)
    what = "no token to learn is left" if prompt >= most else "the answer does not end"
    return f"{what} within train.max_length={most}"


def count_tokens(rows: list[Row], tokenizer: Any, prompt: str) -> Iterator[tuple[Row, str]]:
    """Each row with its tokens as the trainer will see them, or with the reason why the chat template refuses it."""
    rendered: list[tuple[Row, str]] = []
    for row in rows:
        turns = row.with_system(prompt).turns
        try:
            rendered.append((row, prompt_text(tokenizer, turns) if turns else ""))
        except Exception as error:  # templates are programs of others: they raise what they like
            yield row, f"the base's chat template refuses it: {first_line(error)}"
    if not rendered:
        return
    texts = [text for _, text in rendered] + [row.answer for row, _ in rendered]
    lengths = [len(ids) for ids in tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]]
    for (row, _), before, answer in zip(rendered, lengths, lengths[len(rendered) :], strict=False):
        yield replace(row, tokens=(before, answer)), ""


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _required(pattern: str) -> re.Pattern[str] | None:
    if pattern in ("", "json"):
        return None
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error as error:
        raise InputError(f"not a regular expression: {error}", key="data.require") from None
