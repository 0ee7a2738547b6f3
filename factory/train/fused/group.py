"""One base over several devices: every process holds its part of each 4-bit layer and carries its part of each row.

What FSDP and ZeRO-3 do for a base that is trained, cut down to one that is frozen: its codes are gathered when a layer
is used, forward and backward, and let go of; of gradients only the adapters' exist, and they are summed once an
optimizer step. Embeddings, head, norms and the scales of the codes (3 % of them) stay whole on every device.

FSDP itself was tried with two processes over gloo: `fully_shard` runs the 4-bit layers forward to the bit, but leaves
DTensors where bitsandbytes' parameters were, and PEFT makes no adapter over those. `bnb_4bit_quant_storage`, with which
older FSDP flattens codes and other weights together, is not needed where codes alone are divided. A layer is gathered
when it is asked for and not ahead of that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from factory.train.tokens import Example, grouped


@dataclass(frozen=True)
class Group:
    """This process among the `size` that train together. Alone, nothing is divided and nothing sent."""

    rank: int = 0
    size: int = 1

    def part(self, examples: Sequence[Example]) -> list[Example]:
        """Which of them this process passes: the longest group first, each to whoever has the fewest tokens yet."""
        if self.size == 1:
            return [*examples]
        mine: list[Example] = []
        tokens = [0] * self.size
        sizes = [(sum(len(e.input_ids) for e in group), group) for group in grouped(examples)]
        for size, group in sorted(sizes, key=lambda sized: -sized[0]):
            lightest = tokens.index(min(tokens))
            tokens[lightest] += size
            if lightest == self.rank:
                mine += group
        return mine

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def most(self, value: float) -> float:
        """The largest that any process has."""
        if self.size == 1:
            return value
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return float(max(found))


ALONE = Group()


def join(rank: int, size: int, meeting: Path, device: torch.device) -> Group:
    """Meet the other processes, by a file on this machine that does not exist yet."""
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=meeting.resolve().as_uri(), rank=rank, world_size=size)
    return Group(rank, size)


def divide(model: Any, group: Group, device: torch.device) -> Any:
    """Leave of each 4-bit layer this process's part, on the device; the rest of the model goes there whole."""
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit) and group.size > 1:
            weight: Any = module.weight
            codes = weight.data.flatten()
            weight.whole = codes.numel(), weight.data.shape  # what `codes_of` puts together again
            each = -(-codes.numel() // group.size)
            part = codes.new_zeros(each)
            own = codes[group.rank * each : (group.rank + 1) * each]
            part[: own.numel()] = own
            weight.data = part.to(device)
            weight.quant_state.to(device)
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.to(device)
    return model


def codes_of(weight: Any) -> torch.Tensor:
    """The 4-bit codes of a layer, gathered from all processes where they are divided."""
    if not is_divided(weight):
        codes: torch.Tensor = weight.data
        return codes
    count, shape = weight.whole
    size = dist.get_world_size()
    gathered = weight.data.new_empty(size * weight.data.numel())
    dist.all_gather_into_tensor(gathered, weight.data)
    whole: torch.Tensor = gathered[:count].view(shape)
    return whole


def is_divided(weight: Any) -> bool:
    return hasattr(weight, "whole")
