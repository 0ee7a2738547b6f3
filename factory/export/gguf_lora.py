"""An adapter as a GGUF file, for llama.cpp's `--lora` over a GGUF of the same base (package `gguf`).

llama.cpp knows one alpha for the whole adapter and scales each module by alpha over that module's rank. PEFT's scales
may differ by module (patterns, rsLoRA), so what remains of each is multiplied into B. The weights of Llama's q and k
would have to be reordered for llama.cpp's kind of rotary embedding; Qwen's need not, and only those are written here.
"""

import json
from pathlib import Path
from typing import Any

from factory.base.build import Base
from factory.errors import FactoryError
from factory.registry.preflight import PREFIX
from factory.registry.store import CONFIG, WEIGHTS, Version

ARCHITECTURES = {"qwen2": "QWEN2", "qwen3": "QWEN3"}  # transformers' model_type → gguf's MODEL_ARCH


def write(version: Version, base: Base, path: Path) -> dict[str, Any]:
    """Write the file. FactoryError: the package is not here, or the base's architecture is not one of these."""
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
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[arch])
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
    return {"architecture": gguf.MODEL_ARCH_NAMES[arch], "modules": len(modules)}


def _scale(module: str, rank: int, config: dict[str, Any]) -> float:
    """What PEFT multiplies B·A with."""
    patterns = (config.get("alpha_pattern") or {}).items()
    alpha = next((v for k, v in patterns if module == k or module.endswith(f".{k}")), config["lora_alpha"])
    return float(alpha / (rank**0.5 if config.get("use_rslora") else rank))
