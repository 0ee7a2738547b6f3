"""Products with weights that stay as they are."""

from __future__ import annotations

from collections.abc import Callable

import torch


def linear(weight: torch.Tensor, bias: torch.Tensor | None = None) -> Callable[[torch.Tensor], torch.Tensor]:
    """x [..., in] to x weightᵀ + bias [..., out], without a backward pass; `weight` is [out, in].

    In fp32 on a CPU oneDNN multiplies, over a copy of the weight that it has laid out once: on two cores held to AVX2
    243 GFLOP/s, where `torch.nn.functional.linear`, which calls MKL there, had 204. Both round in fp32.
    """
    if weight.device.type != "cpu" or weight.dtype != torch.float32 or not torch.backends.mkldnn.is_available():
        return lambda x: torch.nn.functional.linear(x, weight, bias)
    laid = torch.ops.mkldnn._reorder_linear_weight(weight.detach())
    return lambda x: torch.ops.mkldnn._linear_pointwise(x, laid, bias, "none", [], "")
