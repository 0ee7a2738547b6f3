"""The forms a version can be exported in, one function each: it fills the folder, and returns what is to be said of it
and the model that is in it, where that can be asked here and now."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from factory.base.build import Base, load_tokenizer
from factory.data.rows import Row
from factory.errors import FactoryError
from factory.export.merge import Parity, merge, parity
from factory.registry.preflight import PREFIX
from factory.registry.store import CONFIG, WEIGHTS, Version
from factory.train.tokens import prompt_text

ARCHITECTURES = {"qwen2": "QWEN2", "qwen3": "QWEN3"}  # transformers' model_type → gguf's MODEL_ARCH
SAMPLES, GROUP = 128, 128  # of GPTQ: conversations that it is calibrated on, weights that share a scale

Form = Callable[[Version, Base, Sequence[Row], Path], tuple[dict[str, Any], Any]]


def merged_bf16(version: Version, base: Base, rows: Sequence[Row], folder: Path) -> tuple[dict[str, Any], Any]:
    """A plain bf16 model folder. FactoryError if it does not answer as the adapter does; then nothing is written."""
    model, found = _merged(version, base, rows)
    model.save_pretrained(folder)
    load_tokenizer(base).save_pretrained(folder)
    return {"parity": vars(found)}, model


def gguf_lora(version: Version, base: Base, rows: Sequence[Row], folder: Path) -> tuple[dict[str, Any], Any]:
    """The adapter alone, for llama.cpp's `--lora` over a GGUF of the same base. FactoryError: the package is not here,
    or the base's architecture is none of ARCHITECTURES.

    llama.cpp knows one alpha for the whole adapter and scales each module by alpha over that module's rank. PEFT's
    scales may differ by module (patterns, rsLoRA), so what remains of each is multiplied into B. The weights of Llama's
    q and k would have to be reordered for llama.cpp's kind of rotary embedding; Qwen's need not, and only those are
    written here.
    """
    try:
        import gguf
    except ImportError:
        raise FactoryError("form=gguf-lora needs a package that is not here: pip install gguf") from None
    import torch
    from safetensors.torch import load_file

    kind = json.loads((base.folder / "config.json").read_text())
    if kind["model_type"] not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise FactoryError(f"form=gguf-lora knows the architectures {known}; {base.label} is {kind['model_type']}")
    arch = getattr(gguf.MODEL_ARCH, ARCHITECTURES[kind["model_type"]])
    names = gguf.get_tensor_name_map(arch, kind["num_hidden_layers"])
    config = json.loads((version.folder / CONFIG).read_text())
    weights = load_file(version.folder / WEIGHTS)
    writer = gguf.GGUFWriter(folder / f"{version.task}-lora.gguf", gguf.MODEL_ARCH_NAMES[arch])
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_name(version.name)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(config["lora_alpha"]))
    modules = sorted({name.removeprefix(PREFIX).rpartition(".lora_")[0] for name in weights})
    for module in modules:
        a, b = (weights[f"{PREFIX}{module}.lora_{part}.weight"].to(torch.float32) for part in "AB")
        rest = _scale(module, len(a), config) / (config["lora_alpha"] / len(a))
        target = names.get_name(f"{module}.weight", try_suffixes=(".weight",))
        if target is None:
            raise FactoryError(f"llama.cpp has no name for {module}")
        writer.add_tensor(f"{target}.lora_a", a.numpy())
        writer.add_tensor(f"{target}.lora_b", (b * rest).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return {"architecture": gguf.MODEL_ARCH_NAMES[arch], "modules": len(modules)}, None


def gptq(version: Version, base: Base, rows: Sequence[Row], folder: Path) -> tuple[dict[str, Any], Any]:
    """The merged model in 4 bits by GPTQ (arXiv 2210.17323), which has fast kernels where NF4 has none: for one adapter
    under heavy load. It is another model than the one that was graded, and gets a score of its own.

    It is calibrated on what it will see in use: conversations that were trained on, as the chat template writes them.
    Those that grade it are kept from it."""
    needs()
    model, found = _merged(version, base, rows)
    tokenizer = load_tokenizer(base)
    quantised = quantise(model, tokenizer, conversations(tokenizer, version, rows), folder)
    tokenizer.save_pretrained(folder)
    return {"parity": vars(found), "bits": 4}, quantised


FORMS: dict[str, Form] = {"merged-bf16": merged_bf16, "gguf-lora": gguf_lora, "gptq": gptq}


def _merged(version: Version, base: Base, rows: Sequence[Row]) -> tuple[Any, Parity]:
    model = merge(version, base)
    found = parity(model, version, base, rows)
    if not found.holds():
        raise FactoryError(f"{version.name} merged does not answer as it does over the 4-bit base: {found.says()}")
    return model, found


def needs() -> None:
    """FactoryError if gptqmodel or a GPU is not here: known before a model is merged for it."""
    import torch
    from optimum.utils import is_gptqmodel_available

    if not is_gptqmodel_available():
        raise FactoryError(
            "form=gptq needs a package that is not here: pip install gptqmodel (on a machine with a GPU)"
        )
    if not torch.cuda.is_available():
        raise FactoryError("form=gptq needs a CUDA GPU")


def conversations(tokenizer: Any, version: Version, rows: Sequence[Row]) -> list[str]:
    """The first rows as texts, each from the version's prompt to the end of its answer."""
    asked = [row.with_system(version.facts.prompt) for row in rows[:SAMPLES]]
    return [prompt_text(tokenizer, row.turns) + row.answer + tokenizer.eos_token for row in asked]


def quantise(model: Any, tokenizer: Any, texts: Sequence[str], folder: Path) -> Any:
    """Write the quantised model into `folder` and return it."""
    from optimum.gptq import GPTQQuantizer

    quantizer = GPTQQuantizer(bits=4, group_size=GROUP, dataset=list(texts), model_seqlen=1024)
    quantised = quantizer.quantize_model(model.cuda(), tokenizer)
    quantizer.save(quantised, str(folder))
    return quantised


def _scale(module: str, rank: int, config: dict[str, Any]) -> float:
    """What PEFT multiplies B·A with."""
    patterns = (config.get("alpha_pattern") or {}).items()
    alpha = next((v for k, v in patterns if module == k or module.endswith(f".{k}")), config["lora_alpha"])
    return float(alpha / (rank**0.5 if config.get("use_rslora") else rank))
