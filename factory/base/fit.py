"""Whether a base fits: asked once, when it is prepared, so that nothing is trained that could not be served.

    before its weights are read   text only, not quantised by others, known to vLLM, a template that can be asked
    once they are in 4 bits       every layer is in 4 bits, and takes several sequences in one row, with adapters

What passed is noted in the base's folder under CHECKED; a base that an earlier release prepared is asked when it is
used next.
"""

from typing import Any

from factory.base import template
from factory.base.engine import objection
from factory.errors import FactoryError, InputError

CHECKED = 1  # of base.json: another number when another question is asked
TEXTS = ("The meeting moves to Friday.", "Who was it that asked for the small room on the second floor?")
SHORT = (9, 14)  # tokens of the two sequences that are tried in one row
INSTEAD = "take another base (base=…)"


def check_form(name: str, config: Any, tokenizer: Any, cuda: bool) -> bool:
    """What configuration and tokenizer tell, all of it at once; True if the template was changed to take system
    prompts. InputError names every fault of the base `name`."""
    faults, merged = [], False
    if config.get_text_config() is not config:
        faults.append("it reads more than text: only models of text alone can be a base")
    elif why := objection(config, cuda):
        faults.append(why)
    method = (getattr(config, "quantization_config", None) or {}).get("quant_method", "")
    if method and method != "bitsandbytes":
        faults.append(f"it is quantised already ({method}): take the full-precision model, a base is quantised here")
    if tokenizer.eos_token_id is None:
        faults.append("its tokenizer names no eos_token, so its answers would have no end")
    try:
        merged = template.settle(tokenizer)
    except ValueError as error:
        faults.append(str(error))
    if faults:
        raise InputError(*(f"base {name} cannot be used: {fault}" for fault in faults))
    return merged


def check_layers(name: str, model: Any, tokenizer: Any) -> None:
    """What only its layers can tell. InputError with the reason; the model is left as it was."""
    import torch

    from factory.train.fused.forward import check_packing
    from factory.train.fused.precision import computing_in
    from factory.train.tokens import Example, prompt_ids

    if whole := not_in_4_bits(model):
        raise InputError(
            f"base {name} cannot be used: NF4 holds linear layers only, and {len(whole)} of its matrices are none "
            f"({whole[0]}), as those of experts and recurrent layers; {INSTEAD}"
        )
    prompts = [prompt_ids(tokenizer, [{"role": "user", "content": text}]) for text in TEXTS]
    highest, rows = max(tokenizer.eos_token_id, *map(max, prompts)), model.get_input_embeddings().weight.shape[0]
    if highest >= rows:
        raise InputError(
            f"base {name} cannot be used: its tokenizer and its weights belong to different models (token {highest} of "
            f"a prompt has no row among the {rows} of its embedding)"
        )
    examples = [Example(ids[-most:], ids[-most:]) for ids, most in zip(prompts, SHORT, strict=True)]
    try:
        with computing_in(model, torch.float32 if model.device.type == "cpu" else model.dtype):
            check_packing(model, examples)
    except FactoryError as error:
        raise InputError(f"base {name} cannot be used: {error}; {INSTEAD}") from error


def not_in_4_bits(model: Any) -> list[str]:
    """The matrices that are neither in 4 bits nor an embedding nor the head."""
    from bitsandbytes.nn import Params4bit
    from torch.nn import Embedding

    apart = {id(m.weight) for m in model.modules() if isinstance(m, Embedding)}
    apart.add(id(model.get_output_embeddings().weight) if model.get_output_embeddings() is not None else 0)
    return [
        name
        for name, parameter in model.named_parameters()
        if parameter.ndim > 1 and not isinstance(parameter, Params4bit) and id(parameter) not in apart
    ]
