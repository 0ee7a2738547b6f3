"""One padding-free row: the sequences of several adapters one after the other, each adapter's own in one piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch

from factory.train.tokens import IGNORE, Example


@dataclass(frozen=True)
class Row:
    """The tensors of one step. N tokens in S sequences of P parts, M of the tokens have a next token to learn.

    ids, positions [1, N] · bounds [S + 1], where sequences begin · keep [M], the positions that reach the LM head ·
    labels [M] · weights [M], what each token's loss counts · owners [M], the part of each · slices, the parts' tokens.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    bounds: torch.Tensor
    longest: int
    keep: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    owners: torch.Tensor
    slices: list[tuple[int, int]]

    @property
    def tokens(self) -> int:
        return self.ids.shape[1]


def learned(examples: Sequence[Example]) -> int:
    """How many tokens of the examples are learned. A sequence's first token follows nothing and never is."""
    return sum(label != IGNORE for example in examples for label in example.labels[1:])


def size(examples: Sequence[Example]) -> int:
    return sum(len(example.input_ids) for example in examples)


def pack(parts: Sequence[tuple[Sequence[Example], float]], device: torch.device) -> Row:
    """A row of parts (examples, weight of each learned token), in the order given.

    The weight is 1 ÷ the learned tokens of the part's *own* optimizer step, so that its gradient is the one it would
    have alone, whatever else is in the row and however many rows its batch is spread over.
    """
    ids: list[int] = []
    positions: list[int] = []
    after: list[int] = []
    owners: list[int] = []
    weights: list[float] = []
    lengths: list[int] = []
    for part, (examples, weight) in enumerate(parts):
        for example in examples:
            length = len(example.input_ids)
            lengths.append(length)
            ids += example.input_ids
            positions += range(length)
            after += [*example.labels[1:], IGNORE]
        tokens = size(examples)
        owners += [part] * tokens
        weights += [weight] * tokens
    following = torch.tensor(after)
    keep = (following != IGNORE).nonzero()[:, 0]
    ends = [0, *accumulate(size(examples) for examples, _ in parts)]
    tensors = {
        "ids": torch.tensor([ids]),
        "positions": torch.tensor([positions]),
        "bounds": torch.tensor([0, *accumulate(lengths)], dtype=torch.int32),
        "keep": keep,
        "labels": following[keep],
        "weights": torch.tensor(weights)[keep],
        "owners": torch.tensor(owners)[keep],
    }
    moved = {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}
    return Row(**moved, longest=max(lengths), slices=list(pairwise(ends)))


def share_out(batches: Sequence[Sequence[Example]], budget: int) -> list[list[Example]]:
    """Which sequences of each waiting batch go into the next row; earlier batches have the right of way.

    The first batch goes in whole, or, if it alone exceeds the budget, as many of its sequences as fit (the rest follows
    in the next rows, before its optimizer step). The space that is left goes to the largest of the other batches that
    fit whole (best fit decreasing). A sequence longer than the budget has a row of its own.
    """
    chosen: list[list[Example]] = [[] for _ in batches]
    left = budget
    for example in sorted(batches[0], key=lambda e: -len(e.input_ids)):
        if len(example.input_ids) <= left or left == budget:
            chosen[0].append(example)
            left -= len(example.input_ids)
    order = sorted(range(1, len(batches)), key=lambda i: -size(batches[i]))
    for i in order:
        if size(batches[i]) <= left:
            chosen[i] = list(batches[i])
            left -= size(batches[i])
    return chosen
