"""A small base on a CPU is dequantised once while it answers: the same logits, and afterwards the same model."""

from __future__ import annotations

from typing import Any

import torch
from bitsandbytes.nn import Linear4bit
from torch.utils._python_dispatch import TorchDispatchMode

from factory import answers
from factory.train.fused import layers


class InFourBits(TorchDispatchMode):
    """Counts the products with 4-bit weights."""

    times = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.times += str(func).startswith("bitsandbytes")
        return func(*args, **(kwargs or {}))


def asked(model: Any) -> tuple[torch.Tensor, int]:
    """Logits of some tokens, and how many products with 4-bit weights they took."""
    with torch.inference_mode(), InFourBits() as counted:
        return model(input_ids=torch.arange(5, 45).view(2, 20)).logits, counted.times


def test_the_logits_are_the_same_without_a_product_in_four_bits(model: Any) -> None:
    linear = sum(isinstance(module, Linear4bit) for module in model.modules())
    before, times = asked(model)
    assert times == linear > 0
    with answers.dequantised(model):
        within, times = asked(model)
        assert times == 0
    after, times = asked(model)
    assert times == linear
    assert torch.equal(within, before) and torch.equal(after, before)


def test_a_base_too_large_for_it_is_left_alone(model: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(layers, "KEPT_BYTES", 1000)
    with answers.dequantised(model):
        assert asked(model)[1] > 0
