"""The keys and values of answers that are given side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


class Prefill:
    """Keys and values [1, kv heads, N, D] of a packed row, layer by layer, as transformers hands them to a cache."""

    def __init__(self) -> None:
        self.layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.layers[layer] = keys, values
        return keys, values


class Cache:
    """Keys and values of sequences of unlike `lengths`, [sequences, kv heads, room, D] a layer."""

    def __init__(self, sequences: int, room: int, lengths: torch.Tensor) -> None:
        self.sequences, self.room, self.lengths, self.used = sequences, room, lengths, 0
        self.layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def larger(self, sequences: int, room: int) -> Cache:
        """One with places for more sequences, its first those of this one, which loses them layer by layer."""
        larger = Cache(sequences, room, self.lengths)
        for layer in [*self.layers]:
            larger.layers[layer] = larger._empty(self.layers[layer])
            for buffer, old in zip(larger.layers[layer], self.layers.pop(layer), strict=True):
                buffer[: len(old), :, : self.used] = old[:, :, : self.used]
        return larger

    def _empty(self, like: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        k, v = (t.new_zeros(self.sequences, t.shape[1], self.room, t.shape[3]) for t in like)
        return k, v

    def advance(self, lengths: torch.Tensor) -> None:
        """The next token of each sequence comes after so many. What every layer asks of them is worked out once."""
        self.lengths = lengths
        self.each = torch.arange(len(lengths), device=lengths.device)
        self.used = int(lengths.max()) + 1 if len(lengths) else 0

    def fill(self, sequence: int, row: Prefill, spans: Sequence[tuple[int, int]]) -> None:
        """Sequence number `sequence` is made of the row's tokens in `spans`."""
        for layer, parts in row.layers.items():
            if layer not in self.layers:
                self.layers[layer] = self._empty(parts)
            for buffer, part in zip(self.layers[layer], parts, strict=True):
                at = 0
                for start, end in spans:
                    buffer[sequence, :, at : at + end - start] = part[0, :, start:end]
                    at += end - start

    def keep(self, staying: list[int]) -> list[int]:
        """Keep only these sequences, in the order that is returned: the last ones go where others have left, so that
        no more is copied than those."""
        count = len(staying)
        moved = dict(zip(sorted({*range(count)} - {*staying}), (i for i in staying if i >= count), strict=True))
        order = [moved.get(i, i) for i in range(count)]
        to, of = (
            torch.tensor([*which], dtype=torch.long, device=self.lengths.device) for which in (moved, moved.values())
        )
        for layer, buffers in self.layers.items():
            for buffer in buffers:
                buffer[to.to(buffer.device), :, : self.used] = buffer[of.to(buffer.device), :, : self.used]
            self.layers[layer] = buffers[0][:count], buffers[1][:count]
        self.advance(self.lengths[order])
        return order

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add one token's keys and values [sequences, kv heads, 1, D]; returns those of all so far."""
        k, v = self.layers[layer]
        for buffer, new in ((k, keys), (v, values)):
            buffer[self.each.to(buffer.device), :, self.lengths.to(buffer.device)] = new[:, :, 0]
        return k[:, :, : self.used], v[:, :, : self.used]
