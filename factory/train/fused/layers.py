"""Many adapters on one base: a layer's frozen weight is applied once to the row, each adapter adds to its own segment.

For that of adapter i, y += s_i · (x A_iᵀ) B_iᵀ. Parameters are disjoint, so every gradient is that of a run alone. The
segments are gone through one by one, or, when they are many, all at once as grouped products over rank-padded stacks
(the idea of punica's and S-LoRA's kernels, arXiv 2310.18547 and 2311.03285, with PyTorch's own `grouped_mm`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Protocol

import torch
import torch.nn.functional as F

from factory.errors import FactoryError, InputError
from factory.train.fused.dropout import Dropout, Dropping
from factory.train.fused.group import codes_of, is_divided
from factory.train.fused.lora import Adapter, Slot

KEPT_BYTES = 512 * 2**20  # a base whose layers, dequantised to 16 bits, need no more than this is dequantised once
# From how many segments on grouped products win. Two CPU cores: 16 segments of 128 tokens took 2.2 ms one by one and
# 3.1 ms grouped, 64 segments of 32 tokens 9.8 and 6.8. CUDA: not measured; each segment alone is six kernel launches.
MANY = {"cpu": 32, "cuda": 3}

Segment = tuple[int, int, Slot]


class Adding(Protocol):
    """What the adapters of a row add to a layer: its way there and back. x [N, in], y and grad [N, out]."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
        """Add to y in place; returns what the backward pass needs: each segment's x Aᵀ."""

    def backward(self, grad: torch.Tensor, x: torch.Tensor, dx: torch.Tensor | None, hidden: Any) -> None:
        """Add to every slot's gradients, and to dx in place where it is wanted."""


def worth_keeping(linears: Iterable[Any]) -> bool:
    """Whether these layers' weights, dequantised to 16 bits, need so little memory that once is enough."""
    return bool(2 * sum(layer.in_features * layer.out_features for layer in linears) <= KEPT_BYTES)


class Layers:
    """The base's linear layers, with the means to add adapters to them while a row goes through."""

    def __init__(self, model: Any) -> None:
        self.modules = {name: m for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
        self.weights: dict[str, torch.Tensor] = {}
        self.dtype = model.dtype
        self.kind = model.device.type
        self.many = MANY[self.kind]
        divided = any(is_divided(module.weight) for module in self.modules.values())
        self.keep = not divided and worth_keeping(self.modules.values())
        # An output computed from frozen tensors alone would have no backward; this makes every layer differentiable.
        self.anchor = torch.zeros(0, device=model.device, requires_grad=True)

    def weight(self, name: str) -> torch.Tensor:
        """The layer's weight [out, in] in the precision of the model, dequantised if it is in 4 bits."""
        if name in self.weights:
            return self.weights[name]
        module = self.modules[name]
        weight = module.weight
        if (state := getattr(weight, "quant_state", None)) is not None:
            from bitsandbytes.functional import dequantize_4bit

            weight = dequantize_4bit(codes_of(weight), state)
        elif not weight.is_floating_point():
            raise FactoryError(f"{name} is a {type(module).__name__}: only NF4 and unquantised layers can be shared")
        weight = weight.detach().to(self.dtype)
        if self.keep:
            self.weights[name] = weight
        return weight

    @contextmanager
    def adapted(
        self, adapters: Sequence[Adapter], slices: Sequence[tuple[int, int]], dropouts: Sequence[Dropout | None] = ()
    ) -> Iterator[None]:
        """Within, adapter i is added to the tokens of slice i of any row that goes through the model; of its inputs
        dropout i leaves some out. Layers without an adapter are read through, and what lies below all adapters keeps
        nothing for the backward pass."""
        tokens = slices[-1][1]
        adapted = {name for adapter in adapters for name in adapter.slots}
        if unknown := sorted(adapted - self.modules.keys()):
            raise InputError(f"lora.targets: {unknown[0]} is no linear layer of this base")
        changed = []
        for name, module in self.modules.items():
            if name not in adapted and not hasattr(module.weight, "quant_state"):
                continue
            changed.append((module, vars(module).get("forward")))
            if name not in adapted:
                vars(module)["forward"] = self._frozen(name, module.bias)
                continue
            segments = [(*s, a.slots[name]) for s, a in zip(slices, adapters, strict=True) if name in a.slots]
            adding = self._adding(segments, tokens)
            if any(dropouts):
                adding = Dropping(adding, name, [(*s, d) for s, d in zip(slices, dropouts, strict=True)])
            vars(module)["forward"] = self._forward(name, module.bias, adding, tokens)
        try:
            yield
        finally:
            _put_back(changed)

    @contextmanager
    def answering(self, adapter: Adapter) -> Iterator[None]:
        """Within, whatever goes through the model goes through the adapter, without gradients. Nothing is merged: the
        base stays in 4 bits, and the numbers are those that the adapter trains with."""

        def forward(name: str, slot: Slot | None, bias: Any) -> Callable[[torch.Tensor], torch.Tensor]:
            def through(x: torch.Tensor) -> torch.Tensor:
                y = F.linear(x, self.weight(name), bias)
                return y if slot is None else y + (x @ slot.a.t()) @ slot.b.t() * slot.scale

            return through

        changed = [(name, module, vars(module).get("forward")) for name, module in self.modules.items()]
        changed = [one for one in changed if one[0] in adapter.slots or hasattr(one[1].weight, "quant_state")]
        for name, module, _ in changed:
            vars(module)["forward"] = forward(name, adapter.slots.get(name), module.bias)
        try:
            yield
        finally:
            _put_back([(module, before) for _, module, before in changed])

    def _frozen(self, name: str, bias: torch.Tensor | None) -> Callable[[torch.Tensor], torch.Tensor]:
        def forward(x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = _Frozen.apply(x, lambda: self.weight(name), bias)  # type: ignore[no-untyped-call]
            return out

        return forward

    def _adding(self, segments: list[Segment], tokens: int) -> Adding:
        gapless = sum(end - start for start, end, _ in segments) == tokens
        if len(segments) < self.many or not gapless:
            return OneByOne(segments)
        if self.dtype == torch.bfloat16:
            return Grouped(segments)
        return Masked(segments) if self.kind == "cuda" else OneByOne(segments)

    def _forward(
        self, name: str, bias: torch.Tensor | None, adding: Adding, tokens: int
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        def forward(x: torch.Tensor) -> torch.Tensor:
            if x.shape[:-1] != (1, tokens):
                raise FactoryError(f"{name} is not given the whole row: a router sits before it")
            out: torch.Tensor = _Shared.apply(x, self.anchor, lambda: self.weight(name), bias, adding)  # type: ignore[no-untyped-call]
            return out

        return forward


def _put_back(changed: Sequence[tuple[Any, Any]]) -> None:
    """Give modules the forward passes that they had; None is their class's."""
    for module, before in changed:
        vars(module)["forward"] = before
        if before is None:
            del vars(module)["forward"]


class _Frozen(torch.autograd.Function):
    """A layer without adapters: the backward pass makes the weight anew, where autograd would keep it dequantised."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: Any, bias: Any) -> torch.Tensor:
        ctx.weight = weight
        return F.linear(x, weight(), bias)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return grad @ ctx.weight(), None, None


class _Shared(torch.autograd.Function):
    """x [1, N, in] → [1, N, out]: the frozen layer on all tokens, each adapter on its segment; one autograd node."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, anchor: torch.Tensor, weight: Any, bias: Any, adding: Any) -> torch.Tensor:
        y = F.linear(x[0], weight(), bias)
        ctx.save_for_backward(x, *adding.forward(x[0], y))
        ctx.weight, ctx.adding = weight, adding
        return y[None]

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, *hidden = ctx.saved_tensors
        grad = grad[0].contiguous()
        dx = grad @ ctx.weight() if ctx.needs_input_grad[0] else None
        ctx.adding.backward(grad, x[0], dx, hidden)
        return dx if dx is None else dx[None], None, None, None, None


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
