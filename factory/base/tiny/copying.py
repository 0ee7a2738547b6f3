"""Copying random tokens, and the guide that shows heads where to look while they do (see `pretrain.py`)."""

from __future__ import annotations

import torch
from transformers import Qwen2ForCausalLM

from factory.base.tiny.packing import attending


def copy_rows(
    n_rows: int, length: int, alphabet: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Random tokens of `alphabet` repeated to the end: ids, labels (-100 on the first round), and the round's length.

    In a small alphabet a token follows several others, so the place to copy from shows only in the last few tokens
    together; that is what names in pieces and numbers in digits need.
    """
    period = int(torch.randint(4, length // 2, (1,), generator=generator))
    once = alphabet[torch.randint(len(alphabet), (n_rows, period), generator=generator)]
    ids = once.repeat(1, length // period + 1)[:, :length]
    labels = ids.clone()
    labels[:, :period] = -100
    return ids, labels, period


def alphabet(vocabulary: int, generator: torch.Generator) -> torch.Tensor:
    """A random part of the vocabulary, 8 tokens to all of it; each order of magnitude is as likely."""
    share = torch.rand(1, generator=generator).item()
    size = int(8 * (vocabulary / 8) ** share)
    return 3 + torch.randperm(vocabulary - 3, generator=generator)[:size]


def guided_copy(
    model: Qwen2ForCausalLM, rows: int, length: int, tokens: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of copying random tokens, and the guide: −log of the attention where it belongs. Heads 0, 1 and 2 of
    layer 0 belong one, two and three tokens back, heads 0 and 1 of layer 1 on what follows the place copied from."""
    ids, labels, period = copy_rows(rows, length, tokens, generator)
    with attending(model, "eager"), torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(input_ids=ids, labels=labels, output_attentions=True, use_cache=False)
    first, second = (attention.float() for attention in out.attentions[:2])
    here = torch.arange(length)
    again = here[period:]
    looks = [first[:, n - 1][:, here[n:], here[:-n]] for n in (1, 2, 3)]
    looks += [second[:, head][:, again, again - period + 1] for head in (0, 1)]
    return out.loss, torch.stack([-(look + 1e-6).log().mean() for look in looks]).sum()
