"""The forms a version can be exported in: one function each, `(version, base, rows, folder) → Exported`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.base.build import Base, load_tokenizer
from factory.data.rows import Row
from factory.errors import FactoryError
from factory.export.gguf_lora import write as gguf_lora
from factory.export.gptq import conversations, needs, quantise
from factory.export.merge import Parity, merge, parity
from factory.registry.store import Version


@dataclass(frozen=True)
class Exported:
    """`files` were written into the folder; `model` is what they hold, where it can be asked here and now."""

    files: list[str]
    facts: dict[str, Any]
    model: Any = None


Form = Callable[[Version, Base, Sequence[Row], Path], Exported]


def merged_bf16(version: Version, base: Base, rows: Sequence[Row], folder: Path) -> Exported:
    """A plain bf16 model folder. FactoryError if it does not answer as the adapter does; then nothing is written."""
    model, found = _merged(version, base, rows)
    model.save_pretrained(folder)
    load_tokenizer(base).save_pretrained(folder)
    return Exported(_files(folder), {"parity": vars(found)}, model)


def gguf(version: Version, base: Base, rows: Sequence[Row], folder: Path) -> Exported:
    """The adapter alone, for llama.cpp's `--lora` over a GGUF of the same base."""
    facts = gguf_lora(version, base, folder / f"{version.task}-lora.gguf")
    return Exported(_files(folder), facts)


def gptq(version: Version, base: Base, rows: Sequence[Row], folder: Path) -> Exported:
    """The merged model in 4 bits by GPTQ, calibrated on rows that the adapter was trained on."""
    needs()
    model, found = _merged(version, base, rows)
    tokenizer = load_tokenizer(base)
    quantised = quantise(model, tokenizer, conversations(tokenizer, version, rows), folder)
    tokenizer.save_pretrained(folder)
    return Exported(_files(folder), {"parity": vars(found), "bits": 4}, quantised)


FORMS: dict[str, Form] = {"merged-bf16": merged_bf16, "gguf-lora": gguf, "gptq": gptq}


def _merged(version: Version, base: Base, rows: Sequence[Row]) -> tuple[Any, Parity]:
    model = merge(version, base)
    found = parity(model, version, base, rows)
    if not found.holds():
        raise FactoryError(f"{version.name} merged does not answer as it does over the 4-bit base: {found.says()}")
    return model, found


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
