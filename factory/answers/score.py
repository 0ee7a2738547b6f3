"""Scores of answers by a reward model (`factory/train/methods/reward.py`), many in one packed row."""

from collections.abc import Sequence
from typing import Any

import torch

from factory.answers.greedy import PREFILL
from factory.train.fused.attention import packed_attention
from factory.train.fused.forward import supervised_log_probs
from factory.train.fused.packing import pack, share_out
from factory.train.methods.reward import log_odds
from factory.train.tokens import Example


def scores(model: Any, examples: Sequence[Example]) -> list[float]:
    """One score for each example, whose only supervised token is the last; `model` has PEFT's layers in it."""
    model.eval()
    causal, rest = model.get_base_model(), list(examples)
    found: dict[int, float] = {}
    with torch.inference_mode(), packed_attention(causal):
        while rest:
            (batch,) = share_out([rest], PREFILL[model.device.type])
            row = pack([batch], model.device)
            logps = supervised_log_probs(causal, row)
            found |= {id(batch[n]): s for n, s in zip(row.of.tolist(), log_odds(logps).tolist(), strict=True)}
            rest = [example for example in rest if id(example) not in found]
    return [found[id(example)] for example in examples]
