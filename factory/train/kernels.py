"""Liger's fused Triton kernels for norms, rotary embeddings and gated MLPs, put into a base whose recipe asks for them.

On two CPU cores nothing of the kind pays. Measured in turns over the same rows of the three shipped tasks: these
functions with backward passes written by hand saved between 7 % of a step and nothing (three runs); torch.compile 8 %
(one run), at the price of compiling, a C++ compiler and gradients further from TRL's. On a GPU nothing was measured:
`make bench-gpu` tells, and until then it is off.
"""

import importlib.util
from typing import Any

import torch

from factory.errors import InputError
from factory.recipe import Recipe


def check_kernels(recipe: Recipe) -> None:
    """InputError if the recipe asks for kernels that cannot run here."""
    if recipe.train.use_liger_kernel and not liger_runs():
        raise InputError(
            f"{recipe.task}: train.use_liger_kernel needs an NVIDIA GPU and the package liger-kernel "
            "(requirements/gpu.txt has it); without it the adapter is the same but for rounding"
        )


def liger_runs() -> bool:
    return torch.cuda.is_available() and importlib.util.find_spec("liger_kernel") is not None


def use_liger(model: Any) -> None:
    """Put the kernels into the model, for good; its head stays, for the fused engine has its own."""
    from transformers.integrations.liger import apply_liger_kernel

    apply_liger_kernel(model, {"cross_entropy": False, "fused_linear_cross_entropy": False})
