"""One padding-free row: the sequences of several adapters one after the other, each adapter's own in one piece."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from factory.train.tokens import IGNORE, Example, grouped

LEAST = 8  # tokens that a shared beginning must have: the chat template's first few save nothing


@dataclass(frozen=True)
class PackedBatch:
    """The tensors of one pass. N tokens in S sequences of P segments, M of the tokens have a supervised next token.

    ids, positions [1, N] · bounds [S + 1], where sequences begin · prefixes [S], the shared beginning (from, to) that
    each goes on after, (0, 0) if none · longest, with its prefix · keep [M], the positions that reach the LM head ·
    labels [M] · of [M], which example of its segment each belongs to · counts [P], how many each segment has of M ·
    slices, the segments' tokens · parts [S], which tokens (from, to) of which example each sequence is.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    bounds: torch.Tensor
    prefixes: list[tuple[int, int]]
    longest: int
    keep: torch.Tensor
    labels: torch.Tensor
    of: torch.Tensor
    counts: list[int]
    slices: list[tuple[int, int]]
    parts: list[tuple[Example, int, int]]

    @property
    def tokens(self) -> int:
        return self.ids.shape[1]


def supervised(examples: Sequence[Example]) -> int:
    """How many tokens of the examples are supervised. A sequence's first token follows nothing and never is."""
    return sum(label != IGNORE for example in examples for label in example.labels[1:])


def size(examples: Sequence[Example]) -> int:
    return sum(len(example.input_ids) for example in examples)


def pack(segments: Sequence[Sequence[Example]], device: torch.device, share: bool = False) -> PackedBatch:
    """A row of segments, in the order given. With `share` the beginnings that examples of a segment have in common (a
    task's system prompt, the question of a pair) stand in the row once.
    """
    ids: list[int] = []
    positions: list[int] = []
    after: list[int] = []
    of: list[int] = []
    counts: list[int] = []
    starts: list[int] = [0]
    prefixes: list[tuple[int, int]] = []
    parts: list[tuple[Example, int, int]] = []
    ends = [0]

    def add(example: Example, begin: int, end: int, prefix: tuple[int, int], following: list[int], number: int) -> None:
        ids.extend(example.input_ids[begin:end])
        positions.extend(range(begin, end))
        after.extend(following)
        of.extend([number] * (end - begin))
        starts.append(len(ids))
        prefixes.append(prefix)
        parts.append((example, begin, end))

    for examples in segments:
        numbers = {id(example): number for number, example in enumerate(examples)}
        for shared, group in _beginnings(examples) if share else [(0, examples)]:
            prefix = (len(ids), len(ids) + shared) if shared else (0, 0)
            if shared:
                add(group[0], 0, shared, (0, 0), [IGNORE] * shared, 0)
            for example in group:
                following = [*example.labels[shared + 1 :], IGNORE]
                add(example, shared, len(example.input_ids), prefix, following, numbers[id(example)])
        counts.append(supervised(examples))
        ends.append(len(ids))
    labels = torch.tensor(after)
    keep = (labels != IGNORE).nonzero()[:, 0]
    tensors = {
        "ids": torch.tensor([ids]),
        "positions": torch.tensor([positions]),
        "bounds": torch.tensor(starts, dtype=torch.int32),
        "keep": keep,
        "labels": labels[keep],
        "of": torch.tensor(of)[keep],
    }
    moved = {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}
    slices = list(pairwise(ends))
    longest = max(positions) + 1
    return PackedBatch(**moved, prefixes=prefixes, longest=longest, counts=counts, slices=slices, parts=parts)


def probe(examples: Sequence[Example], most: int) -> list[Example]:
    """Sequences of `most` tokens together, as near as they come, to measure with: whole ones, else the end of one."""
    (short,) = share_out([[e for e in examples if len(e.input_ids) <= most]], most)
    if short:
        return short
    long = next((e for e in examples if supervised([e])), examples[0])
    return [Example(long.input_ids[-most:], long.labels[-most:])]


def _beginnings(examples: Sequence[Example]) -> list[tuple[int, list[Example]]]:
    """(length of the beginning in common, examples that have it): all that begin alike are neighbours once sorted.

    One joins the group before it if with it the group saves more than without.
    """
    first, *others = sorted(examples, key=lambda e: e.input_ids)
    groups = [(_unlearned(first), [first])]
    for example in others:
        shared, group = groups[-1]
        common = min(shared, _common(group[0], example), _unlearned(example))
        if common >= LEAST and common * len(group) > shared * (len(group) - 1):
            groups[-1] = (common, [*group, example])
        else:
            groups.append((_unlearned(example), [example]))
    return [(shared if len(group) > 1 else 0, group) for shared, group in groups]


def _unlearned(example: Example) -> int:
    """The tokens before the one that a supervised token follows, or before the last."""
    learns = (i for i, label in enumerate(example.labels) if i and label != IGNORE)
    return next(learns, len(example.labels)) - 1


def _common(one: Example, other: Example) -> int:
    alike = (i for i, (a, b) in enumerate(zip(one.input_ids, other.input_ids, strict=False)) if a != b)
    return next(alike, min(len(one.input_ids), len(other.input_ids)))


def usual_beginning(examples: Sequence[Example]) -> list[int]:
    """The longest beginning that at least half of the examples have: a task's system prompt, as a rule."""
    ordered = sorted(examples, key=lambda e: e.input_ids)
    half = len(ordered) // 2
    if not half:
        return []
    pairs = [(ordered[i], ordered[i + half], i) for i in range(len(ordered) - half)]
    common, first = max((min(_common(a, b), _unlearned(a), _unlearned(b)), i) for a, b, i in pairs)
    return ordered[first].input_ids[:common] if common >= LEAST else []


def own_size(example: Example, beginning: Sequence[int]) -> int:
    """The tokens of an example without the beginning that stands in a row once for all that have it."""
    shared = len(beginning)
    return len(example.input_ids) - (shared if example.input_ids[:shared] == [*beginning] else 0)


def share_out(
    batches: Sequence[Sequence[Example]], budget: int, beginnings: Sequence[Sequence[int]] = ()
) -> list[list[Example]]:
    """Which sequences of each waiting batch go into the next row; earlier batches have the right of way.

    The first batch goes in whole, or, if it alone exceeds the budget, as many of its groups as fit (the rest follows
    in the next rows, before its optimizer step). The space that is left goes to the largest of the other batches that
    fit whole (best fit decreasing). A group longer than the budget has a row of its own. `beginnings` are those that
    the rows of each batch share, where they stand in the row once.
    """
    prefixes = beginnings or [()] * len(batches)
    wholes = [
        len(prefix) + sum(own_size(e, prefix) for e in batch) if batch else 0
        for batch, prefix in zip(batches, prefixes, strict=True)
    ]
    chosen: list[list[Example]] = [[] for _ in batches]
    left = budget - len(prefixes[0])
    for group in sorted(grouped(batches[0]), key=lambda group: -size(group)):
        needed = sum(own_size(example, prefixes[0]) for example in group)
        if needed <= left or not chosen[0]:
            chosen[0] += group
            left -= needed
    for i in sorted(range(1, len(batches)), key=lambda i: -wholes[i]):
        if wholes[i] <= left:
            chosen[i] = list(batches[i])
            left -= wholes[i]
    return chosen
