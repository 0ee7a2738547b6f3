"""LoRA's dropout on the inputs of an adapter, drawn so that neither company nor an interruption changes what it is.

Each mask comes from a generator of its own, seeded with the recipe's seed, the optimizer step, the layer and the row's
place in the batch. So it does not matter which other rows it shares a forward pass with, the backward pass draws it
again instead of keeping it, and a resumed run goes on as if nothing had happened.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Dropout:
    """What one adapter drops with `share` in one step. `sequences` are (place in the batch, tokens), in their order."""

    share: float
    seed: int
    step: int
    sequences: Sequence[tuple[int, int]]

    def mask(self, layer: str, like: torch.Tensor) -> torch.Tensor:
        """0 where an input is dropped, else 1 / (1 - share): [tokens, in], for a segment of a row like `like`."""
        mask = torch.empty_like(like, dtype=torch.float32)
        at = 0
        for place, tokens in self.sequences:
            word = hashlib.blake2b(f"{self.seed} {self.step} {layer} {place}".encode(), digest_size=7)
            generator = torch.Generator(like.device).manual_seed(int.from_bytes(word.digest()))
            mask[at : at + tokens].bernoulli_(1 - self.share, generator=generator)
            at += tokens
        return mask.div_(1 - self.share).to(like.dtype)


class Dropping:
    """`adding` (see `layers`) on inputs of which each segment drops its own: segments are (start, end, its dropout)."""

    def __init__(self, adding: Any, layer: str, segments: Sequence[tuple[int, int, Dropout | None]]) -> None:
        self.adding, self.layer, self.segments = adding, layer, segments

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
        hidden: list[torch.Tensor] = self.adding.forward(x * self._mask(x), y)
        return hidden

    def backward(self, grad: torch.Tensor, x: torch.Tensor, dx: torch.Tensor | None, hidden: Any) -> None:
        mask = self._mask(x)
        if dx is None:
            self.adding.backward(grad, x * mask, None, hidden)
            return
        own = torch.zeros_like(dx)
        self.adding.backward(grad, x * mask, own, hidden)
        dx += own * mask

    def _mask(self, x: torch.Tensor) -> torch.Tensor:
        mask = torch.ones_like(x)
        for start, end, dropout in self.segments:
            if dropout is not None:
                mask[start:end] = dropout.mask(self.layer, x[start:end])
        return mask
