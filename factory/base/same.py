"""Whether two checkpoints are one model: a base under another name, such as somebody's 4-bit copy of it.

The check: every tensor that is not in 4 bits (embeddings, norms, head) is equal to the bit in bf16, and every matrix
that is lies within the rounding of NF4, about 0.1 of its length, from the other's. A model that was trained on differs
in the first even where the second hides it.
"""

from pathlib import Path
from typing import Any

from factory.base.build import load_model
from factory.base.known import Base
from factory.errors import FactoryError, first_line

ROUNDING = 0.15  # of a matrix's Frobenius norm; two models that were not made from each other differ by more than 1


def difference(base: Base, folder: Path) -> str:
    """What tells the model in `folder` (full, or in 4 bits by bitsandbytes) from the base; empty if nothing does."""
    import torch
    from bitsandbytes.nn import Params4bit
    from transformers import AutoModelForCausalLM

    try:
        theirs = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.bfloat16, device_map={"": "cpu"}, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise FactoryError(f"{folder} cannot be loaded to compare it: {first_line(error)}") from error
    ours, others = (dict(model.named_parameters()) for model in (load_model(base), theirs))
    for name in sorted(ours.keys() | others.keys()):
        a, b = (_plain(tensors[name]) if name in tensors else None for tensors in (ours, others))
        if a is None or b is None or a.shape != b.shape:
            return f"{name} has another shape, or only one of the two has it"
        if not any(isinstance(tensors[name], Params4bit) for tensors in (ours, others)):
            if not torch.equal(a, b):
                return f"{name} is not equal"
        elif (far := float((a - b).norm() / b.norm())) > ROUNDING:
            return f"{name} differs by {far:.2f} of its length, more than rounding to 4 bits does ({ROUNDING})"
    return ""


def _plain(parameter: Any) -> Any:
    """What is computed with, of a tensor in 4 bits too: as bf16 has it, on the CPU, in fp32."""
    import torch
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Params4bit

    plain = parameter.detach()
    if isinstance(parameter, Params4bit):
        plain = dequantize_4bit(parameter.data, parameter.quant_state)
    return plain.to("cpu", torch.bfloat16).float()
