"""The bases that have a short name. `base=` also takes any Hub id or local path of a causal language model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

TINY = Path(__file__).parent / "tiny" / "weights"


@dataclass(frozen=True)
class Entry:
    """A base model before quantisation. `lr` is the learning rate that `train.lr=auto` means for its adapters; adapters
    carry the base's `license` where their recipe names no other."""

    name: str
    source: str
    lr: float = 2e-4
    license: str = ""


CATALOG = {
    entry.name: entry
    for entry in (
        Entry("tiny", str(TINY), lr=2e-3, license="apache-2.0"),
        Entry("qwen3-0.6b", "Qwen/Qwen3-0.6B", lr=5e-4, license="apache-2.0"),
        Entry("qwen3-4b", "Qwen/Qwen3-4B-Instruct-2507", license="apache-2.0"),
        Entry("llama-3.1-8b", "meta-llama/Llama-3.1-8B-Instruct", license="llama3.1"),
    )
}


def entry(name: str) -> Entry:
    """The catalogue's entry for `name`; any other name is taken as a Hub id or a path, as it is."""
    return CATALOG.get(name) or Entry(name, name)


def default() -> str:
    """`qwen3-4b` where a CUDA GPU is to be seen, else the embedded `tiny`."""
    import torch

    return "qwen3-4b" if torch.cuda.is_available() else "tiny"
