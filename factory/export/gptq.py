"""Quantise a merged model with GPTQ (arXiv 2210.17323) through optimum: 4 bits, groups of 128, calibrated on the task.

GPTQ has fast kernels where NF4 has none, so this is the form for one adapter under heavy load. It is another model than
the one that was graded: it gets a score of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from factory.errors import FactoryError

SAMPLES = 128  # texts that it is calibrated on
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


def quantise(model: Any, tokenizer: Any, texts: Sequence[str], folder: Path) -> Any:
    """Write the quantised model into `folder` and return it."""
    from optimum.gptq import GPTQQuantizer

    quantizer = GPTQQuantizer(bits=4, group_size=GROUP, dataset=list(texts[:SAMPLES]), model_seqlen=1024)
    quantised = quantizer.quantize_model(model.cuda(), tokenizer)
    quantizer.save(quantised, str(folder))
    return quantised
