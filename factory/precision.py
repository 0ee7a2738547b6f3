"""In which precision this machine computes: one place decides, for training, answers and the engine alike.

The 4-bit weights are the same everywhere; what differs is the type they are dequantised to. Where a processor has bf16
instructions (AVX512-BF16, AMX, Arm's BF16) or a GPU has, bf16 is two to five times as fast as fp32. Where it has not,
every bf16 product is emulated and five to thirteen times slower than fp32. The processor's own word decides, not a
timing, so that a busy machine never computes otherwise than an idle one.
"""

import functools
import os
from dataclasses import dataclass
from typing import Any, Literal

from factory.errors import InputError

Name = Literal["bf16", "fp32"]
VARIABLE = "FACTORY_PRECISION"
NAMES: dict[str, Name] = {"bf16": "bf16", "fp32": "fp32"}


@dataclass(frozen=True)
class Precision:
    """`bf16` or `fp32`, and why."""

    name: Name
    why: str

    @property
    def dtype(self) -> Any:
        """The torch type."""
        import torch

        return torch.bfloat16 if self.name == "bf16" else torch.float32

    @property
    def engine(self) -> str:
        """As vLLM calls it."""
        return "bfloat16" if self.name == "bf16" else "float32"


def precision(asked: str = "auto") -> Precision:
    """What is asked for, else what FACTORY_PRECISION says, else what this machine computes fast.

    Errors: InputError if the variable holds anything else.
    """
    if name := NAMES.get(asked):
        return Precision(name, "the recipe says so (train.precision)")
    said = os.environ.get(VARIABLE, "").strip()
    if name := NAMES.get(said):
        return Precision(name, f"{VARIABLE} says so")
    if said:
        raise InputError(f"{VARIABLE}={said[:40]}: bf16 or fp32, or leave it out for what the machine computes fast")
    return _of_machine()


@functools.cache
def _of_machine() -> Precision:
    import torch

    if torch.cuda.is_available():
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision("bf16", f"{torch.cuda.get_device_name()} has bf16")
        return Precision("fp32", f"{torch.cuda.get_device_name()} has no bf16 of its own")
    able = torch.cpu.get_capabilities()
    found = [said for key, said in _INSTRUCTIONS.items() if able.get(key)]
    name = able.get("cpu_name") or able.get("architecture") or "this processor"
    if not found:
        return Precision("fp32", f"{name} has no bf16 instructions ({torch.backends.cpu.get_cpu_capability()})")
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return Precision("fp32", f"{name} has {' and '.join(found)}, but is held to less (ONEDNN_MAX_CPU_ISA)")
    return Precision("bf16", f"{name} has {' and '.join(found)}")


# torch.cpu.get_capabilities()'s keys of what multiplies bf16 natively.
_INSTRUCTIONS = {"avx512_bf16": "AVX512-BF16", "amx_bf16": "AMX-BF16", "bf16": "Arm BF16", "sve_bf16": "SVE BF16"}


def speeds() -> dict[Name, float]:
    """GFLOP/s of one linear layer [1024, 576] → [1024, 1536] on this processor in both precisions."""
    import torch
    from torch.utils.benchmark import Timer

    found: dict[Name, float] = {}
    for name in NAMES.values():
        dtype = Precision(name, "").dtype
        given = {"x": torch.randn(1024, 576, dtype=dtype), "w": torch.randn(1536, 576, dtype=dtype), "torch": torch}
        timer = Timer("torch.nn.functional.linear(x, w)", globals=given, num_threads=torch.get_num_threads())
        found[name] = 2 * 1024 * 576 * 1536 / timer.blocked_autorange(min_run_time=0.1).median / 1e9
    return found
