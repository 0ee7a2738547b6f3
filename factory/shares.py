"""Who may take how much of a device's memory: training, answers in this process, and the engine in one of its own.

They take turns. What one no longer uses goes back (`give_back`) before the next asks what is free, so nobody's share
has to be set aside for another. The rules are plain arithmetic on what is free and what there is. They were tried on
CPUs, and by calculation for GPUs of several sizes; they were not run on a GPU.
"""

import ctypes
import gc
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TRAINING = {"cpu": 0.4, "cuda": 0.8}  # of free memory; a CPU process that asks for too much is killed without a word
ANSWERS = {"cpu": 2**29, "cuda": 2**32}  # bytes of keys and values; more of them gain nothing
ENGINE = 0.92  # of the whole: what vLLM takes where nothing else is on the GPU
CONTEXT = 2**29  # bytes that the engine's own CUDA context takes before it asks what is free


@dataclass(frozen=True)
class Shares:
    """What is to be given out: `free` of a device's `total` bytes, on a "cpu" or on "cuda"."""

    kind: str
    free: int
    total: int

    def training(self, states: float = 0) -> int:
        """Bytes for what backward passes need kept, beside the `states` of adapters that are yet to join: at most
        half of what is free is kept for those, and who finds no room then waits."""
        return int(TRAINING[self.kind] * (self.free - min(states, self.free / 2)))

    def answers(self) -> int:
        """Bytes for the keys and values of sequences that are answered side by side, as many again for reading."""
        return min(ANSWERS[self.kind], self.free // 4) if self.kind == "cuda" else ANSWERS[self.kind]

    def engine(self, needed: float, beside: int = 1) -> float:
        """The share of a GPU's whole memory that one of `beside` engines on it takes, in hundredths; 0 where what is
        free does not hold the `needed` bytes."""
        share = int(100 * min(ENGINE / beside, (self.free - CONTEXT) / self.total)) / 100
        return share if share * self.total >= needed else 0.0


def shares(device: Any) -> Shares:
    """What a torch device has to give out now, to this process."""
    import torch

    cuda = device.type == "cuda"
    return Shares(device.type, free(device), torch.cuda.mem_get_info(device)[1] if cuda else 0)


def free(device: Any) -> int:
    """Bytes that this process can still take on a torch device."""
    import torch

    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").is_file() else []
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
    limit, used = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
    if limit.is_file() and used.is_file() and limit.read_text().strip() != "max":
        found.append(int(limit.read_text()) - int(used.read_text()))
    return min(found, default=8 * 2**30)


def give_back() -> None:
    """Hand what this process holds and does not use back to the machine, where another wants it."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    trim()


def trim() -> None:
    """Hand freed memory back to the machine: glibc keeps it, gigabytes of it after rows of many lengths."""
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


def gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return [name.strip() for name in named.split(",")] if named else [*map(str, range(torch.cuda.device_count()))]


def on_gpu(visible: str) -> Shares | None:
    """What the first of these GPUs (as CUDA_VISIBLE_DEVICES names them; "" is the first of all) has to give, asked of
    the driver: this process takes nothing of it. None where the driver does not say."""
    try:
        import pynvml

        pynvml.nvmlInit()
        first = visible.split(",")[0].strip() or "0"
        by_number = first.isdecimal()
        handle = pynvml.nvmlDeviceGetHandleByIndex(int(first)) if by_number else pynvml.nvmlDeviceGetHandleByUUID(first)
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    except Exception:  # no driver, no such GPU, a part of one: vLLM will tell
        return None
    return Shares("cuda", int(memory.free), int(memory.total))
