"""How many tokens a row may have: found from what a token really keeps for the backward pass and from free memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from factory.shares import shares
from factory.train.memory import recomputed

# Rows longer than MOST, or that keep more than CAP bytes, gain nothing more; rows shorter than ENOUGH leave the
# processor waiting between layers. Two cores, SmolLM2-135M in fp32: 275 tokens/s in rows of 512, 299 in rows of 1,024.
MOST = {"cpu": 4096, "cuda": 32_768}
ENOUGH = {"cpu": 512, "cuda": 8192}
CAP = {"cpu": 2**29, "cuda": 2**40}
TRANSIENT = 1.5  # gradients and temporaries beside what is kept


def kept_bytes(model: Any, forward: Callable[[], Any]) -> int:
    """Bytes that `forward()` keeps for its backward pass, the model's own weights aside."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # the tensor itself would hold the node that holds it, for ever

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = forward()
    del result
    return sum(kept.values())


@dataclass(frozen=True)
class Plan:
    """How rows are made: of so many tokens at most (a longer sequence has a row of its own), each keeping `per_token`
    bytes for the backward pass; rows of more than `recompute_from` tokens compute their activations anew instead."""

    tokens: int
    per_token: float
    recompute_from: float

    def says(self) -> str:
        if self.recompute_from < self.tokens:
            return f"rows of {self.tokens:,} tokens, activations recomputed"
        longer = f", longer ones than {self.recompute_from:,.0f} recomputed" if self.recompute_from < 1e9 else ""
        return f"rows of {self.tokens:,} tokens, {self.tokens * self.per_token / 1e9:.1f} GB of activations{longer}"


def plan(model: Any, per_token: float, longest: int, wanted: set[bool | str], states: float = 0) -> Plan:
    """What fits, from the bytes a token keeps without recomputing; `wanted` are the recipes' gradient_checkpointing,
    `states` the bytes of the adapters that are yet to join, with their optimizers.

    Recomputing (`recomputed` says what it keeps) is on for every row where a recipe asks for it, or where `auto` meets
    too little memory for rows of a useful length; a single sequence so long that it would keep more than a useful row
    is recomputed by itself. The tokens are a power of two, so that a little more or less free memory makes the same
    rows, and the same adapter to the bit.
    """
    kind = model.device.type
    config = model.config.get_text_config()
    available = shares(model.device).training(states) / TRANSIENT
    checkpointed = recomputed(per_token, config.num_hidden_layers, config.hidden_size, model.dtype.itemsize)
    full, useful = int(available / per_token), max(ENOUGH[kind], int(CAP[kind] / per_token))
    always = True in wanted or ("auto" in wanted and full < min(longest, ENOUGH[kind]))
    fit = int(available / checkpointed) if always else full
    tokens = 1 << max(1, min(fit, useful, MOST[kind])).bit_length() - 1
    return Plan(tokens, per_token, 0 if always else min(full, useful) if "auto" in wanted else float("inf"))


def is_out_of_memory(error: BaseException) -> bool:
    said = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and ("allocate memory" in said or "out of memory" in said)
    )
