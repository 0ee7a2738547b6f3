"""The base in bf16 or wholly in fp32, for as long as it takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def computing_in(model: Any, dtype: torch.dtype) -> Iterator[None]:
    """Within, everything but the 4-bit codes is `dtype`, and these are dequantised to it forward and backward alike.

    (bitsandbytes on its own rounds the weight to the checkpoint's dtype in the backward pass only.) A checkpoint's
    weights are in bf16, so either way and back loses nothing, and the base is afterwards what it was. Buffers in fp32,
    such as the frequencies of rotary embeddings, stay in fp32 in either precision.
    """
    before = model.dtype
    halves = [t for t in model.buffers() if t.dtype != torch.float32]
    cast = [t for t in (*model.parameters(), *halves) if t.dtype == before] if dtype != before else []
    states = [(m, m.weight.quant_state) for m in model.modules() if hasattr(getattr(m, "weight", None), "quant_state")]

    def change(to: torch.dtype) -> None:
        for tensor in cast:
            tensor.data = tensor.data.to(to)
        for module, state in states:
            state.dtype = module.compute_dtype = to

    change(dtype)
    try:
        yield
    finally:
        change(before)
