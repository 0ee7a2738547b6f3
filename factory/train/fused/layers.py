"""Many adapters on one base: a layer's frozen weight is applied once to the row, each adapter adds to its own segment.

Parameters are disjoint, so every gradient is that of a run alone.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from factory.errors import FactoryError, InputError
from factory.frozen import laid_out, product
from factory.train.fused.adding import Adding, adding
from factory.train.fused.dropout import Dropout, Dropping
from factory.train.fused.group import codes_of, is_divided
from factory.train.fused.lora import Adapter, Slot
from factory.train.fused.remade import again, maker, remade
from factory.train.fused.replaced import replaced

Forward = Callable[[torch.Tensor], torch.Tensor]
KEPT_BYTES = 512 * 2**20  # a base whose layers, dequantised to 16 bits, need no more than this is dequantised once


def worth_keeping(linears: Iterable[Any]) -> bool:
    """Whether these layers' weights, dequantised to 16 bits, need so little memory that once is enough."""
    return bool(2 * sum(layer.in_features * layer.out_features for layer in linears) <= KEPT_BYTES)


class Layers:
    """The base's linear layers, with the means to add adapters to them while a row goes through."""

    def __init__(self, model: Any) -> None:
        self.modules = {name: m for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
        self.weights: dict[str, torch.Tensor] = {}
        self.remade = remade(model)
        self.dtype = model.dtype
        self.kind = model.device.type
        divided = any(is_divided(module.weight) for module in self.modules.values())
        self.keep = not divided and worth_keeping(self.modules.values())
        # An output computed from frozen tensors alone would have no backward; this makes every layer differentiable.
        self.anchor = torch.zeros(0, device=model.device, requires_grad=True)

    def forward(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """x [..., in] through the layer, to [..., out]."""
        return product(x, self.weight(name), self.modules[name].bias)

    def backward(self, name: str, grad: torch.Tensor) -> torch.Tensor:
        """A gradient [..., out] back through the layer, to [..., in]."""
        return product(grad, self.weight(name).t())

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
        if self.keep and state is not None:
            self.weights[name] = weight = laid_out(weight)
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
        changes: list[tuple[Any, Callable[..., torch.Tensor]]] = [*self.remade]
        for name, module in self.modules.items():
            if name not in adapted:
                changes.append((module, self._frozen(name)))
                continue
            segments = [(*s, a.slots[name]) for s, a in zip(slices, adapters, strict=True) if name in a.slots]
            added = adding(segments, tokens, self.dtype, self.kind)
            if any(dropouts):
                added = Dropping(added, name, [(*s, d) for s, d in zip(slices, dropouts, strict=True)])
            changes.append((module, self._forward(name, added, tokens)))
        with replaced(changes):
            yield

    @contextmanager
    def answering(self, adapter: Adapter) -> Iterator[None]:
        """Within, whatever goes through the model goes through the adapter, without gradients. Nothing is merged: the
        base stays in 4 bits, and the numbers are those that the adapter trains with."""

        def forward(name: str, slot: Slot | None) -> Forward:
            def through(x: torch.Tensor) -> torch.Tensor:
                y = self.forward(name, x)
                return y if slot is None else y + (x @ slot.a.t()) @ slot.b.t() * slot.scale

            return through

        with replaced((module, forward(name, adapter.slots.get(name))) for name, module in self.modules.items()):
            yield

    def _frozen(self, name: str) -> Forward:
        def forward(x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = _Frozen.apply(x, self, name)  # type: ignore[no-untyped-call]
            return out

        return forward

    def _forward(self, name: str, adding: Adding, tokens: int) -> Forward:
        def forward(x: torch.Tensor) -> torch.Tensor:
            if x.shape[:-1] != (1, tokens):
                raise FactoryError(f"{name} is not given the whole row: a router sits before it")
            out: torch.Tensor = _Shared.apply(x, self.anchor, self, name, adding)  # type: ignore[no-untyped-call]
            return out

        return forward


class _Frozen(torch.autograd.Function):
    """A layer without adapters: the backward pass makes a 4-bit weight anew, where autograd would keep it."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, layers: Layers, name: str) -> torch.Tensor:
        ctx.layers, ctx.name = layers, name
        return layers.forward(name, x)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return ctx.layers.backward(ctx.name, grad), None, None


class _Shared(torch.autograd.Function):
    """x [1, N, in] → [1, N, out]: the frozen layer on all tokens, each adapter on its segment; one autograd node."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, anchor: torch.Tensor, layers: Layers, name: str, adding: Adding
    ) -> torch.Tensor:
        y = layers.forward(name, x[0])
        ctx.maker = maker(x)
        ctx.save_for_backward(*([x] if ctx.maker is None else []), *adding.forward(x[0], y))
        ctx.layers, ctx.name, ctx.adding = layers, name, adding
        return y[None]

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        saved = ctx.saved_tensors
        x, *hidden = saved if ctx.maker is None else (again(ctx.maker), *saved)
        grad = grad[0].contiguous()
        dx = ctx.layers.backward(ctx.name, grad) if ctx.needs_input_grad[0] else None
        ctx.adding.backward(grad, x[0], dx, hidden)
        return dx if dx is None else dx[None], None, None, None, None
