"""What the adapters of a row add to a layer: for the segment of adapter i, y += s_i · (x A_iᵀ) B_iᵀ.

The segments are gone through one by one, or, when they are many, all at once as grouped products over rank-padded
stacks (the idea of punica's and S-LoRA's kernels, arXiv 2310.18547 and 2311.03285, with PyTorch's own `grouped_mm`).
"""

from functools import lru_cache
from typing import Any, Protocol

import torch
import torch.nn.functional as F

from factory.train.fused.lora import Slot

# From how many segments on grouped products win. Two CPU cores: 16 segments of 128 tokens took 2.2 ms one by one and
# 3.1 ms grouped, 64 segments of 32 tokens 9.8 and 6.8. CUDA: not measured; each segment alone is six kernel launches.
MANY = {"cpu": 32, "cuda": 3}

Segment = tuple[int, int, Slot]


class Adding(Protocol):
    """Its forward and backward pass; x [N, in], y and grad [N, out]."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
        """Add to y in place; returns what the backward pass needs: each segment's x Aᵀ."""

    def backward(self, grad: torch.Tensor, x: torch.Tensor, dx: torch.Tensor | None, hidden: Any) -> None:
        """Add to every slot's gradients, and to dx in place where it is wanted."""


def adding(segments: list[Segment], tokens: int, dtype: torch.dtype, kind: str) -> Adding:
    """What is fastest for these segments of a row of so many tokens, on a "cpu" or on "cuda"."""
    gapless = sum(end - start for start, end, _ in segments) == tokens
    if len(segments) < MANY[kind] or not gapless:
        return OneByOne(segments)
    if dtype == torch.bfloat16:
        return Grouped(segments)
    return Masked(segments) if kind == "cuda" else OneByOne(segments)


class OneByOne:
    """Six products a segment."""

    def __init__(self, segments: list[Segment]) -> None:
        self.segments = segments

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
        hidden = []
        for start, end, slot in self.segments:
            h = x[start:end] @ slot.a.t()
            y[start:end].addmm_(h, slot.b.t(), alpha=slot.scale)
            hidden.append(h)
        return hidden

    def backward(self, grad: torch.Tensor, x: torch.Tensor, dx: torch.Tensor | None, hidden: Any) -> None:
        for (start, end, slot), h in zip(self.segments, hidden, strict=True):
            g = grad[start:end]
            dh = (g @ slot.b).mul_(slot.scale)
            slot.grad_b.add_(g.t() @ h, alpha=slot.scale)
            slot.grad_a.add_(dh.t() @ x[start:end])
            if dx is not None:
                dx[start:end].addmm_(dh, slot.a)


class Grouped:
    """Six products in all: A [P, R, in] and s·B [P, out, R], ranks padded with zeros to R, a multiple of 8.

    The segments must cover the row without gaps. Same meaning as `OneByOne`.
    """

    def __init__(self, segments: list[Segment]) -> None:
        self.slots = [slot for _, _, slot in segments]
        first = self.slots[0].a
        self.ends = _on_device(tuple(end for _, end, _ in segments), torch.int32, first.device)
        self.scales = _on_device(tuple(s.scale for s in self.slots), torch.float32, first.device)[:, None, None]
        self.rank = -8 * (-max(s.a.shape[0] for s in self.slots) // 8)
        self.stacks: tuple[torch.Tensor, torch.Tensor] | None = None

    def stacked(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The stacks, made when the row first comes by and used again backward."""
        if self.stacks is None:
            first, count = self.slots[0], len(self.slots)
            a = first.a.new_zeros(count, self.rank, first.a.shape[1])
            b = first.b.new_zeros(count, first.b.shape[0], self.rank)
            torch._foreach_copy_([a[i, : s.a.shape[0]] for i, s in enumerate(self.slots)], [s.a for s in self.slots])
            torch._foreach_copy_([b[i, :, : s.b.shape[1]] for i, s in enumerate(self.slots)], [s.b for s in self.slots])
            self.stacks = a, b.mul_(self.scales)
        return self.stacks

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
        a, b = self.stacked()
        h = F.grouped_mm(x, a.mT, offs=self.ends)
        y += F.grouped_mm(h, b.mT, offs=self.ends)
        return [h]

    def backward(self, grad: torch.Tensor, x: torch.Tensor, dx: torch.Tensor | None, hidden: Any) -> None:
        (h,), (a, b) = hidden, self.stacked()
        dh = F.grouped_mm(grad, b, offs=self.ends)
        self._add(F.grouped_mm(dh.t(), x, offs=self.ends), F.grouped_mm(grad.t(), h, offs=self.ends))
        if dx is not None:
            dx += F.grouped_mm(dh, a, offs=self.ends)

    def _add(self, grad_a: torch.Tensor, grad_b: torch.Tensor) -> None:
        """To every slot its segment of grad_a [P, R, in] and, scaled, of grad_b [P, out, R]."""
        grad_a, grad_b = grad_a.float(), grad_b.float().mul_(self.scales)
        ranks = [slot.a.shape[0] for slot in self.slots]
        parts_a = [g[:r] for g, r in zip(grad_a, ranks, strict=True)]
        parts_b = [g[:, :r] for g, r in zip(grad_b, ranks, strict=True)]
        torch._foreach_add_([slot.grad_a for slot in self.slots], parts_a)
        torch._foreach_add_([slot.grad_b for slot in self.slots], parts_b)


class Masked(Grouped):
    """The same in any precision, where grouped products know bf16 alone: every A and B on all tokens, and what another
    segment owes set to zero. P times the adapters' own arithmetic, little beside the base's, in six products."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
        a, b = self.stacked()
        h = (x @ a.flatten(0, 1).t()).mul_(self._own(x))
        y += h @ b.mT.flatten(0, 1)
        return [h]

    def backward(self, grad: torch.Tensor, x: torch.Tensor, dx: torch.Tensor | None, hidden: Any) -> None:
        (h,), (a, b) = hidden, self.stacked()
        dh = (grad @ b.mT.flatten(0, 1).t()).mul_(self._own(x))
        count = len(self.slots)
        self._add((dh.t() @ x).unflatten(0, (count, -1)), (h.t() @ grad).unflatten(0, (count, -1)).mT)
        if dx is not None:
            dx += dh @ a.flatten(0, 1)

    def _own(self, x: torch.Tensor) -> torch.Tensor:
        """1 where a token belongs to the segment, else 0: [N, P · R]."""
        return _members(self.ends, x.shape[0], self.rank, x.dtype)


@lru_cache(maxsize=64)
def _on_device(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """A small tensor that all layers of a row ask for: copied to the device once."""
    return torch.tensor(values, dtype=dtype, device=device)


@lru_cache(maxsize=4)
def _members(ends: torch.Tensor, tokens: int, rank: int, dtype: torch.dtype) -> torch.Tensor:
    segment = torch.bucketize(torch.arange(tokens, device=ends.device), ends, right=True)
    return F.one_hot(segment, len(ends)).repeat_interleave(rank, 1).to(dtype)
