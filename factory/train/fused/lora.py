"""One adapter's weights: as PEFT makes and saves them, in between as flat vectors.

All A, then all B lie in one fp32 vector, their gradients in another: clipping, AdamW and checkpoints are single
operations, and the products read a copy in the precision of the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from factory.errors import InputError
from factory.home import write_file
from factory.recipe import Lora
from factory.train.lora import config


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

    def read(self, folder: Path) -> torch.Tensor:
        """The weights [n] of an adapter that PEFT or `save` wrote. InputError: it is on other layers."""
        from safetensors.torch import load_file

        found = load_file(folder / "adapter_model.safetensors")
        if {key: t.shape for key, t in found.items()} != self.shapes:
            raise InputError("lora.targets and lora.layers are not those of the version to start from")
        return torch.cat([found[key].flatten().to(self.weights) for key in self.shapes])

    def load(self, folder: Path) -> None:
        """Take the weights of such an adapter."""
        self.weights.copy_(self.read(folder))
        self.refresh()

    @contextmanager
    def being(self, weights: torch.Tensor) -> Iterator[None]:
        """Within, other weights [n] are computed with."""
        now = self.weights.detach().clone()  # in fp32 what is computed with is these very weights
        self.computed.copy_(weights)
        try:
            yield
        finally:
            self.computed.copy_(now)

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


def _initialised(model: Any, lora: Lora, seed: int) -> tuple[Any, dict[str, tuple[torch.Tensor, float]]]:
    """PEFT's own initial weights and factors by the names it saves them under; the model is left as it was."""
    from peft import get_peft_model, get_peft_model_state_dict
    from peft.tuners.lora import LoraLayer

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            peft = get_peft_model(model, config(lora, model))
        except ValueError as error:
            raise InputError(f"lora: {str(error).splitlines()[0]}") from error
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
