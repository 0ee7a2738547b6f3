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
    from transformers import AutoModelForCausalLM

    try:
        theirs = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.bfloat16, device_map={"": "cpu"}, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise FactoryError(f"{folder} cannot be loaded to compare it: {first_line(error)}") from error
    ours, others = _tensors(load_model(base)), _tensors(theirs)
    for name in sorted(ours.keys() | others.keys()):
        (mine, rounded), (other, theirs_rounded) = ours.get(name, (None, False)), others.get(name, (None, False))
        if mine is None or other is None or mine().shape != other().shape:
            return f"{name} has another shape, or only one of the two has it"
        a, b = mine().float(), other().float()
        if not (rounded or theirs_rounded):
            if not torch.equal(a, b):
                return f"{name} is not equal"
        elif (far := float((a - b).norm() / b.norm())) > ROUNDING:
            return f"{name} differs by {far:.2f} of its length, more than rounding to 4 bits does ({ROUNDING})"
    return ""


def _tensors(model: Any) -> dict[str, tuple[Any, bool]]:
    """Name → (a function that gives the tensor in bf16, whether it was in 4 bits)."""
    import torch
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Params4bit

    def plain(parameter: Any) -> Any:
        if isinstance(parameter, Params4bit):
            return dequantize_4bit(parameter.data, parameter.quant_state).to("cpu", torch.bfloat16)
        return parameter.detach().to("cpu", torch.bfloat16)

    return {
        name: (lambda parameter=parameter: plain(parameter), isinstance(parameter, Params4bit))
        for name, parameter in model.named_parameters()
    }
