"""Rows to token sequences: the prompt as the server will render it, then the answer and the end-of-turn token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from factory.data.rows import Row

IGNORE = -100


@dataclass(frozen=True)
class Example:
    """One training sequence. `labels` is IGNORE on the prompt, so that only the answer and its end are learned."""

    input_ids: list[int]
    labels: list[int]


def prompt_ids(tokenizer: Any, turns: Sequence[dict[str, Any]]) -> list[int]:
    """The conversation up to where the assistant starts to answer, as vLLM's chat endpoint renders it."""
    text = tokenizer.apply_chat_template(list(turns), add_generation_prompt=True, tokenize=False, enable_thinking=False)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def encode(tokenizer: Any, row: Row, max_length: int) -> Example:
    """One row, cut after `max_length` tokens. Rows that keep no label are dropped by the data steps."""
    prompt = prompt_ids(tokenizer, row.turns)
    answer = [*tokenizer(row.answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    ids = (prompt + answer)[:max_length]
    labels = ([IGNORE] * len(prompt) + answer)[:max_length]
    return Example(ids, labels)
