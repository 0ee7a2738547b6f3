"""How many tokens a row may have: found from what a token really keeps for the backward pass and from free memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

# Rows longer than MOST gain nothing more; rows shorter than ENOUGH leave the processor waiting between layers.
MOST = {"cpu": 4096, "cuda": 32_768}
ENOUGH = {"cpu": 1024, "cuda": 8192}
SHARE = {"cpu": 0.4, "cuda": 0.8}  # of free memory; a CPU process that asks for too much is killed without a word
TRANSIENT = 1.5  # gradients and temporaries beside what is kept


def free(device: torch.device) -> int:
    """Bytes that this process can still take on the device."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").is_file() else []
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
    limit, used = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
    if limit.is_file() and used.is_file() and limit.read_text().strip() != "max":
        found.append(int(limit.read_text()) - int(used.read_text()))
    return min(found, default=8 * 2**30)


def kept_bytes(model: Any, forward: Callable[[], Any]) -> int:
    """Bytes that `forward()` keeps for its backward pass, the model's own weights aside."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = forward()
    del result
    return sum(kept.values())


def plan(model: Any, per_token: float, longest: int, wanted: set[bool | str]) -> tuple[int, bool]:
    """(tokens of a row, whether to recompute activations) from the bytes a token keeps without recomputing.

    Recomputing (gradient checkpointing) keeps one hidden state a layer and, for a moment, one layer's whole share. It
    is on where a recipe asks for it, or where `auto` meets too little memory for rows of a useful length. The tokens
    are a power of two, so that a little more or less free memory makes the same rows, and the same adapter to the bit.
    """
    device = model.device
    config = model.config.get_text_config()
    layers = config.num_hidden_layers
    available = SHARE[device.type] * free(device) / TRANSIENT
    checkpointed = per_token / layers + layers * config.hidden_size * model.dtype.itemsize
    full = int(available / per_token)
    on = True in wanted or ("auto" in wanted and full < max(longest, ENOUGH[device.type]))
    tokens = int(available / checkpointed) if on else full
    return max(longest, min(MOST[device.type], 1 << tokens.bit_length() - 1 if tokens else 0)), on


def is_out_of_memory(error: BaseException) -> bool:
    said = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and ("allocate memory" in said or "out of memory" in said)
    )
