"""Quantise a merged model with GPTQ (arXiv 2210.17323) through optimum: 4 bits, groups of 128, calibrated on the task.

It sees what it will see in use: the task's conversations as the chat template writes them, from the rows that were
trained on. Those that grade it are kept from it.

GPTQ has fast kernels where NF4 has none, so this is the form for one adapter under heavy load. It is another model than
the one that was graded: it gets a score of its own.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from factory.data.rows import Row
from factory.errors import FactoryError
from factory.registry.store import Version
from factory.train.tokens import prompt_text

SAMPLES = 128  # conversations that it is calibrated on
GROUP = 128


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
