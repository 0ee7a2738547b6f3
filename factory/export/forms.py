"""The forms a version can be exported in, one function each: it fills the folder, and returns what is to be said of it
and the model that is in it, where that can be asked here and now."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from factory.base.build import Base, load_tokenizer
from factory.data.rows import Row
from factory.errors import FactoryError
from factory.export.gguf_lora import write as gguf_lora
from factory.export.gptq import conversations, needs, quantise
from factory.export.merge import Parity, merge, parity
from factory.registry.store import Version

Form = Callable[[Version, Base, Sequence[Row], Path], tuple[dict[str, Any], Any]]


def merged_bf16(version: Version, base: Base, rows: Sequence[Row], folder: Path) -> tuple[dict[str, Any], Any]:
    """A plain bf16 model folder. FactoryError if it does not answer as the adapter does; then nothing is written."""
    model, found = _merged(version, base, rows)
    model.save_pretrained(folder)
    load_tokenizer(base).save_pretrained(folder)
    return {"parity": vars(found)}, model


def gguf(version: Version, base: Base, rows: Sequence[Row], folder: Path) -> tuple[dict[str, Any], Any]:
    """The adapter alone, for llama.cpp's `--lora` over a GGUF of the same base."""
    return gguf_lora(version, base, folder / f"{version.task}-lora.gguf"), None


def gptq(version: Version, base: Base, rows: Sequence[Row], folder: Path) -> tuple[dict[str, Any], Any]:
    """The merged model in 4 bits by GPTQ, calibrated on rows that the adapter was trained on."""
    needs()
    model, found = _merged(version, base, rows)
    tokenizer = load_tokenizer(base)
    quantised = quantise(model, tokenizer, conversations(tokenizer, version, rows), folder)
    tokenizer.save_pretrained(folder)
    return {"parity": vars(found), "bits": 4}, quantised


FORMS: dict[str, Form] = {"merged-bf16": merged_bf16, "gguf-lora": gguf, "gptq": gptq}


def _merged(version: Version, base: Base, rows: Sequence[Row]) -> tuple[Any, Parity]:
    model = merge(version, base)
    found = parity(model, version, base, rows)
    if not found.holds():
        raise FactoryError(f"{version.name} merged does not answer as it does over the 4-bit base: {found.says()}")
    return model, found
