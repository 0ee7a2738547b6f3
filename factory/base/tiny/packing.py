"""Rows of the corpus as tokens, packed into steps, and their losses: each row of a step sees itself alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from transformers import AttentionInterface, Qwen2ForCausalLM, Qwen2Tokenizer

from factory.base.tiny import corpus
from factory.base.tiny.corpus import Row
from factory.base.tiny.probes import Encode
from factory.base.tiny.shape import END, PAD, START
from factory.train.fused.attention import Short, Span

LENGTH, TOKENS = 512, 4096
"""Most tokens of a row of the corpus, and tokens of a step."""
READ_WEIGHT = 0.25
"""Loss weight of tokens the assistant does not write: most of a mail cannot be foreseen, nor need it be."""


def encoder(tokenizer: Qwen2Tokenizer) -> Encode:
    """`row → (token ids, marks)`; a mark is 1 where the assistant writes. Equal to what the chat template gives."""

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    def encode(row: Row) -> tuple[list[int], list[int]]:
        tokens: list[int] = []
        marks: list[int] = []
        for m in row:
            if m["role"] == "text":
                said = ids(m["content"] + PAD)
                return said, [0] * len(said)
            head, said, tail = ids(f"{START}{m['role']}\n"), ids(m["content"] + END), ids("\n")
            tokens += head + said + tail
            marks += [0] * len(head) + [int(m["role"] == "assistant")] * len(said) + [0] * len(tail)
        return tokens, marks

    return encode


class Batch(NamedTuple):
    """Packed rows: ids, weights, positions [1, TOKENS], and where each row begins and ends."""

    ids: torch.Tensor
    weights: torch.Tensor
    positions: torch.Tensor
    bounds: list[Span]


def batches(encode: Encode, seed: int, ramp: int) -> Iterator[Batch]:
    """Batches without end. Whole rows, longest fit first; positions restart with each row, and none sees its
    neighbour. The rest of the TOKENS is one row of padding."""
    stream = (e for e in map(encode, corpus.rows(seed, ramp)) if len(e[0]) <= LENGTH)
    waiting = list(itertools.islice(stream, 64))
    while True:
        ids: list[int] = []
        weights: list[float] = []
        positions: list[int] = []
        bounds: list[Span] = []
        while fits := [i for i, (t, _) in enumerate(waiting) if len(t) <= TOKENS - len(ids)]:
            at = fits[0] if len(ids) < TOKENS - LENGTH else max(fits, key=lambda i: len(waiting[i][0]))
            tokens, marks = waiting.pop(at)
            waiting.append(next(stream))
            bounds.append(Span(len(ids), len(ids) + len(tokens)))
            ids += tokens
            weights += [0.0] + [1.0 if m else READ_WEIGHT for m in marks[1:]]
            positions += range(len(tokens))
        if gap := TOKENS - len(ids):
            bounds.append(Span(len(ids), TOKENS))
            ids, weights, positions = ids + [0] * gap, weights + [0.0] * gap, positions + list(range(gap))
        yield Batch(torch.tensor([ids]), torch.tensor([weights]), torch.tensor([positions]), bounds)


@contextmanager
def attending(model: Qwen2ForCausalLM, how: str) -> Iterator[None]:
    """Another attention for a while; afterwards transformers' usual one, which the probes need."""
    model.set_attn_implementation(how)
    try:
        yield
    finally:
        model.set_attn_implementation("sdpa")


class _ByRows:
    """Attention within the rows of the batch at hand; compiled code leaves it as it is, for rows differ every time."""

    def __init__(self) -> None:
        self.bounds: list[Span] = []

    def __call__(
        self, module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: None, **others: Any
    ) -> tuple[torch.Tensor, None]:
        q, k, v = (t[0].bfloat16() for t in (query, key, value))
        return self._attend(q, k, v)[None], None

    @torch.compiler.disable
    def _attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", enabled=False):
            out: torch.Tensor = Short.apply(q, k, v, q.shape[-1] ** -0.5, self.bounds)
            return out


_BY_ROWS = _ByRows()
AttentionInterface.register("by_rows", _BY_ROWS)


def token_losses(
    model: Qwen2ForCausalLM,
    ids: torch.Tensor,
    positions: torch.Tensor,
    bounds: list[Span],
    forward: Callable[..., torch.Tensor] | None = None,
) -> torch.Tensor:
    """−log probability of every token but the first, flat; each row of the batch sees itself alone."""
    _BY_ROWS.bounds = bounds
    with attending(model, "by_rows"):
        return (forward or losses)(model, ids, positions)


def losses(model: Qwen2ForCausalLM, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        states = model.model(input_ids=ids, position_ids=positions, use_cache=False).last_hidden_state
        logits = model.lm_head(states[:, :-1])
    return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
