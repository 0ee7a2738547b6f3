"""On a CPU vLLM gets the 4-bit base dequantised once, while it loads; on a GPU it keeps the 4 bits.

bitsandbytes' plugin for vLLM dequantises every layer anew at each forward pass, always computes in bf16, and takes the
packed size from the width of the compute type, so that it cannot load NF4 in fp32 at all. A processor gains nothing
from 4 bits but memory, so this loader reads the very same checkpoint, writes the weights out in the type that the
engine computes in, and vLLM runs its ordinary layers over them: the numbers are those that training computes with.
"""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from serve import lora_cpu

FORMAT = "adapter_factory_nf4"
_PACKED = ".quant_state.bitsandbytes__nf4"


def register() -> None:
    """Tell vLLM of the loader, and of our LoRA; it runs this in each of its processes (entry point
    vllm.general_plugins)."""
    lora_cpu.register()
    from vllm.model_executor.model_loader import register_model_loader
    from vllm.model_executor.model_loader.default_loader import DefaultModelLoader

    class Dequantising(DefaultModelLoader):
        """vLLM's own loader, except for where the weights come from."""

        def get_all_weights(self, model_config: Any, model: Any) -> Generator[tuple[str, Any], None, None]:
            yield from weights(Path(model_config.model), model_config.dtype)

        def download_model(self, model_config: Any) -> None:
            """It is a folder of this machine."""

    register_model_loader(FORMAT)(Dequantising)


def weights(folder: Path, dtype: Any) -> Iterator[tuple[str, Any]]:
    """(name, tensor in `dtype`) of every weight of an NF4 checkpoint of transformers, one after the other."""
    from bitsandbytes.functional import QuantState, dequantize_4bit
    from safetensors import safe_open

    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as tensors:
            names = set(tensors.keys())
            packed = {name.removesuffix(_PACKED) for name in names if name.endswith(_PACKED)}
            for name in sorted(names):
                if name in packed:
                    parts = {key: tensors.get_tensor(key) for key in names if key.startswith(f"{name}.")}
                    state = QuantState.from_dict(parts, device="cpu")  # type: ignore[arg-type]
                    state.dtype = dtype
                    yield name, dequantize_4bit(tensors.get_tensor(name), state)
                elif not any(name.startswith(f"{whole}.") for whole in packed):
                    tensor = tensors.get_tensor(name)
                    yield name, tensor.to(dtype) if tensor.is_floating_point() else tensor
