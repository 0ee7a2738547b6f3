"""A row through the base to its losses, and the check that a base can carry several sequences in one row at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from factory.errors import FactoryError
from factory.train.fused.attention import packed_attention
from factory.train.fused.head import token_losses
from factory.train.fused.rows import Row, pack
from factory.train.tokens import Example

APART = 0.05  # how far packed logits may be from those of sequences on their own, relative; bf16 rounding gives 0.01


def losses(model: Any, row: Row) -> tuple[torch.Tensor, torch.Tensor]:
    """(Σ weight · loss, each learned token's loss [M] without gradient); within `packed_attention`."""
    loss: tuple[torch.Tensor, torch.Tensor] = token_losses(
        _hidden(model, row)[row.keep], model.get_output_embeddings(), row.labels, row.weights
    )
    return loss


def _hidden(model: Any, row: Row) -> torch.Tensor:
    """The last hidden states [N, H], before the head. Neither an attention mask nor a cache: both would leak."""
    states: torch.Tensor = model.base_model(
        input_ids=row.ids,
        position_ids=row.positions,
        use_cache=False,
        cu_seq_lens_q=row.bounds,
        cu_seq_lens_k=row.bounds,
        leads=row.leads,
        max_length_q=row.longest,
        max_length_k=row.longest,
    ).last_hidden_state[0]
    return states


@torch.no_grad()
def check_packing(model: Any, name: str, examples: Sequence[Example]) -> None:
    """Two short sequences in one row must come out as each does on its own. FactoryError: they do not."""
    short = sorted(examples, key=lambda e: len(e.input_ids))[:2]
    with packed_attention(model):
        packed = model.get_output_embeddings()(_hidden(model, pack([(short, 1.0)], model.device))).float()
    apart = torch.cat(
        [model(input_ids=torch.tensor([e.input_ids], device=model.device), use_cache=False).logits[0] for e in short]
    ).float()
    error = ((packed - apart).norm() / apart.norm()).item()
    if not error < APART:
        raise FactoryError(
            f"{name} cannot train several sequences in one row (logits differ by {error:.0%}): its layers carry "
            "something from one sequence to the next, or its head is no plain one; train one task at a time"
        )
