"""Many adapters on one base: a layer's frozen weight is applied once to the row, each adapter adds to its own part.

For the part of adapter i, y += s_i · (x A_iᵀ) B_iᵀ. Parameters are disjoint, so every gradient is that of a run alone.
An adapter's weights lie in one flat fp32 vector (all A, then all B), its gradients in another: clipping, AdamW and
checkpoints are single operations, and the products read a copy in the precision of the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from factory.errors import FactoryError, InputError
from factory.home import write_file
from factory.recipe import Lora
from factory.train.lora import config

KEPT_BYTES = 256 * 2**20  # a base whose dequantised layers need no more than this is dequantised once


@dataclass(frozen=True)
class Slot:
    """One adapter at one layer: A [r, in], B [out, r] as computed with, their fp32 gradients, and the factor s."""

    a: torch.Tensor
    b: torch.Tensor
    grad_a: torch.Tensor
    grad_b: torch.Tensor
    scale: float


class Adapter:
    """The weights of one adapter as PEFT initialises and saves them: `weights`, `grads`, `computed` [n]; A's first."""

    def __init__(self, model: Any, lora: Lora, seed: int) -> None:
        self.config, found = _initialised(model, lora, seed)
        order = sorted(found, key=lambda key: "lora_B" in key)
        self.shapes = {key: found[key][0].shape for key in order}
        if isinstance(self.config.target_modules, set):
            self.config.target_modules = sorted(self.config.target_modules)  # a set is saved in another order each time
        self.weights = torch.cat([found[key][0].flatten() for key in order])
        self.grads = torch.zeros_like(self.weights)
        self.computed = self.weights.to(model.dtype)
        self.a_size = sum(shape.numel() for key, shape in self.shapes.items() if "lora_A" in key)
        computed, grads = self.tensors(self.computed), self.tensors(self.grads)
        self.slots: dict[str, Slot] = {}
        for key in order:
            if "lora_A" in key:
                layer, b = key.removesuffix(".lora_A.weight"), key.replace("lora_A", "lora_B")
                name = layer.removeprefix("base_model.model.")
                self.slots[name] = Slot(computed[key], computed[b], grads[key], grads[b], found[key][1])

    def tensors(self, flat: torch.Tensor) -> dict[str, torch.Tensor]:
        """Views of a flat vector [n] by the names PEFT saves them under."""
        parts = flat.split([shape.numel() for shape in self.shapes.values()])
        return {key: part.view(shape) for (key, shape), part in zip(self.shapes.items(), parts, strict=True)}

    def refresh(self) -> None:
        """Carry changed weights over to the copy that is computed with."""
        self.computed.copy_(self.weights)

    def save(self, folder: Path, weights: torch.Tensor) -> None:
        """Write `weights` [n] as PEFT does: bf16, as they are graded and served."""
        from safetensors.torch import save

        tensors = {k: t.contiguous() for k, t in self.tensors(weights.to("cpu", torch.bfloat16)).items()}
        folder.mkdir(parents=True, exist_ok=True)
        write_file(folder / "adapter_model.safetensors", save(tensors, metadata={"format": "pt"}))
        trained = self.config.inference_mode
        self.config.inference_mode = True
        self.config.save_pretrained(str(folder))
        self.config.inference_mode = trained


def alone(lora: Lora) -> str:
    """What of the recipe cannot be trained beside others over one base, in words; empty if all can."""
    if lora.dora:
        return "lora.dora"
    if lora.dropout:
        return "lora.dropout"
    if lora.modules_to_save:
        return "lora.modules_to_save"
    return f"lora.init={lora.init}" if lora.init in ("pissa", "olora") else ""


def _initialised(model: Any, lora: Lora, seed: int) -> tuple[Any, dict[str, tuple[torch.Tensor, float]]]:
    """PEFT's own initial weights and factors by the names it saves them under; the model is left as it was."""
    from peft import get_peft_model, get_peft_model_state_dict
    from peft.tuners.lora import LoraLayer

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            peft = get_peft_model(model, config(lora))
        except ValueError as error:
            raise InputError(f"lora.targets: {str(error).splitlines()[0]}") from error
    try:
        scales = {n: m.scaling["default"] for n, m in peft.named_modules() if isinstance(m, LoraLayer)}
        state = get_peft_model_state_dict(peft)
        found = {k: (v.detach().clone().float(), scales[k.rsplit(".lora_", 1)[0]]) for k, v in state.items()}
        return peft.peft_config["default"], found
    finally:
        peft.unload()
        if hasattr(model, "peft_config"):
            del model.peft_config
        model.requires_grad_(False)


class Layers:
    """The base's linear layers, with the means to add adapters to them while a row goes through."""

    def __init__(self, model: Any) -> None:
        self.modules = {name: m for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
        self.weights: dict[str, torch.Tensor] = {}
        self.dtype = model.dtype
        self.keep = sum(m.in_features * m.out_features for m in self.modules.values()) * 2 <= KEPT_BYTES
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

            weight = dequantize_4bit(weight.data, state)
        elif not weight.is_floating_point():
            raise FactoryError(f"{name} is a {type(module).__name__}: only NF4 and unquantised layers can be shared")
        weight = weight.detach().to(self.dtype)
        if self.keep:
            self.weights[name] = weight
        return weight

    @contextmanager
    def carrying(self, adapters: Sequence[Adapter], slices: Sequence[tuple[int, int]]) -> Iterator[None]:
        """Within, adapter i is added to the tokens of slice i of any row that goes through the model."""
        tokens = slices[-1][1]
        changed = []
        for name in {name for adapter in adapters for name in adapter.slots}:
            module = self.modules.get(name)
            if module is None:
                raise InputError(f"lora.targets: {name} is no linear layer of this base")
            parts = [(*s, a.slots[name]) for s, a in zip(slices, adapters, strict=True) if name in a.slots]
            changed.append((module, vars(module).get("forward")))
            vars(module)["forward"] = self._forward(name, module.bias, parts, tokens)
        try:
            yield
        finally:
            for module, before in changed:
                vars(module)["forward"] = before
                if before is None:
                    del vars(module)["forward"]

    def _forward(self, name: str, bias: torch.Tensor | None, parts: list[tuple[int, int, Slot]], tokens: int) -> Any:
        def forward(x: torch.Tensor) -> torch.Tensor:
            if x.shape[:-1] != (1, tokens):
                raise FactoryError(f"{name} is not given the whole row (a router sits before it): train it alone")
            return _Shared.apply(x, self.anchor, lambda: self.weight(name), bias, parts)

        return forward


class _Shared(torch.autograd.Function):
    """x [1, N, in] → [1, N, out]: the frozen layer on all tokens, adapters on their parts (start, end, slot)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, anchor: torch.Tensor, weight: Any, bias: Any, parts: Any) -> torch.Tensor:
        x = x[0]
        y = F.linear(x, weight(), bias)
        hidden = []
        for start, end, slot in parts:
            h = x[start:end] @ slot.a.t()
            y[start:end].addmm_(h, slot.b.t(), alpha=slot.scale)
            hidden.append(h)
        ctx.save_for_backward(x, *hidden)
        ctx.weight, ctx.parts = weight, parts
        return y[None]

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, *hidden = ctx.saved_tensors
        grad = grad[0]
        dx = grad @ ctx.weight() if ctx.needs_input_grad[0] else None
        for (start, end, slot), h in zip(ctx.parts, hidden, strict=True):
            g = grad[start:end]
            dh = (g @ slot.b).mul_(slot.scale)
            slot.grad_b.add_(g.t() @ h, alpha=slot.scale)
            slot.grad_a.add_(dh.t() @ x[start:end])
            if dx is not None:
                dx[start:end].addmm_(dh, slot.a)
        return dx if dx is None else dx[None], None, None, None, None
