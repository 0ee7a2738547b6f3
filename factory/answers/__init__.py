"""Answers of the base or of an adapter over it, in this process: greedy, in batches, as the server would give them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from factory.data.rows import Row
from factory.decoding import Decoding, Forms
from factory.train.tokens import prompt_ids


@contextmanager
def dequantised(model: Any) -> Iterator[None]:
    """Within, on a CPU, the 4-bit layers of a small base dequantise their weights once instead of for every token, and
    its head is multiplied as they are.

    bitsandbytes does just this there, anew at each call, so the numbers are the same (in fp32 but for rounding). A
    base whose weights would need too much memory stays as it is.
    """
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit

    from factory.frozen import laid_out, product
    from factory.train.fused.layers import worth_keeping
    from factory.train.fused.replaced import replaced

    layers: list[Any] = [m for m in model.modules() if isinstance(m, Linear4bit) and m.weight.device.type == "cpu"]
    if not worth_keeping(layers):
        layers = []

    def forward(layer: Any) -> Callable[[Any], Any]:
        weight = laid_out(dequantize_4bit(layer.weight.data, layer.weight.quant_state).to(layer.compute_dtype))
        bias = None if layer.bias is None else layer.bias.to(layer.compute_dtype)
        return lambda x: product(x.to(layer.compute_dtype), weight, bias).to(x.dtype)

    head = model.get_output_embeddings()
    changes = [(layer, forward(layer)) for layer in layers]
    if not isinstance(head, Linear4bit):
        changes.append((head, lambda x: product(x, head.weight, head.bias)))
    with replaced(changes):
        yield


@contextmanager
def adapted(model: Any, adapter: Path) -> Iterator[Any]:
    """The base with a saved adapter on it, its bf16 weights in the precision of the base; the base alone afterwards."""
    from peft import PeftModel

    peft = PeftModel.from_pretrained(model, str(adapter), autocast_adapter_dtype=False)
    for name, parameter in peft.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.to(model.dtype)
    try:
        yield peft
    finally:
        peft.unload()
        if hasattr(model, "peft_config"):
            del model.peft_config


def answer(
    model: Any,
    tokenizer: Any,
    rows: Sequence[Row],
    decoding: Decoding,
    labels: Sequence[str] = (),
    progress: Callable[[int], None] = lambda done: None,
    seed: int | None = None,
    whole: bool = False,
) -> list[str]:
    """One answer per row, in the rows' order; with `labels` always one of them, else of the form that
    `decoding` asks for, as in the server. Where it is to be `whole`, what did not come to its end is empty.

    Greedy, whatever `decoding.temperature` says: grading wants the same answer every time. With a `seed` it is drawn at
    that temperature, whatever the form.
    """
    from factory.answers.greedy import drawing

    most, allowed, sample = decoding.max_tokens, None, None
    if seed is not None:
        sample = drawing(model, decoding.temperature, seed)
    elif labels:
        most = max(most, *(len(ids) for ids in _label_ids(labels, tokenizer)))
        allowed = _only(labels, tokenizer)
    elif decoding.held:
        allowed = _of_form(Forms(decoding, tokenizer, model.config.get_text_config().vocab_size), rows)
    said = complete(model, tokenizer, rows, most, allowed, progress, sample)
    return [text if ended or not whole else "" for text, ended in said]


def complete(
    model: Any,
    tokenizer: Any,
    rows: Sequence[Row],
    most: int,
    allowed: Callable[[int, Sequence[int]], Any] | None = None,
    progress: Callable[[int], None] = lambda done: None,
    sample: Any = None,
) -> list[tuple[str, bool]]:
    """(answer, whether it came to its end within `most` tokens) per row, greedy or as `sample` draws."""
    from factory.answers.greedy import greedy

    model.eval()
    with dequantised(model):
        prompts = [prompt_ids(tokenizer, row.turns) for row in rows]
        said = greedy(model, prompts, ends(model, tokenizer), most, allowed, progress, sample)
    return [(tokenizer.decode(one.ids, skip_special_tokens=True).strip(), one.ended) for one in said]


def ends(model: Any, tokenizer: Any) -> list[int]:
    configured = model.generation_config.eos_token_id
    ends = configured if isinstance(configured, list) else [configured]
    return sorted({tokenizer.eos_token_id, *(end for end in ends if end is not None)})


def _label_ids(labels: Sequence[str], tokenizer: Any) -> list[list[int]]:
    return [[*tokenizer(label, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id] for label in labels]


def _of_form(forms: Forms, rows: Sequence[Row]) -> Callable[[int, Sequence[int]], Any]:
    """A function from a row and the tokens so far to those that may follow; None: any."""

    def allowed(number: int, so_far: Sequence[int]) -> Any:
        form = forms.of(rows[number].turns)
        return form.allowed(so_far) if form else None

    return allowed


def _only(labels: Sequence[str], tokenizer: Any) -> Callable[[int, Sequence[int]], list[int]]:
    """A function from a row and the tokens so far to those that may follow, if the whole is to be one of the labels."""
    following: dict[tuple[int, ...], set[int]] = {}
    for ids in _label_ids(labels, tokenizer):
        for n, token in enumerate(ids):
            following.setdefault(tuple(ids[:n]), set()).add(token)
    over = [tokenizer.eos_token_id]
    return lambda _, so_far: sorted(following.get(tuple(so_far), over))
