"""A row through the base to its log-probabilities, and the check that a base takes several sequences in one row."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutputWithPast

from factory.errors import FactoryError, first_line
from factory.recipe import Lora
from factory.train.fused.attention import packed_attention
from factory.train.fused.head import log_probs
from factory.train.fused.layers import Layers
from factory.train.fused.lora import Adapter
from factory.train.fused.packing import PackedBatch, pack
from factory.train.fused.replaced import replaced
from factory.train.tokens import Example

TOLERANCE = 0.05  # how far packed logits may be from those of unpacked sequences, relative; bf16 rounding gives 0.01


def supervised_log_probs(model: Any, row: PackedBatch, taught: Sequence[torch.Tensor | None] = ()) -> torch.Tensor:
    """The log-probability of each supervised token [M]; within `packed_attention`. Where a segment is `taught` another
    model's hidden states, what `log_probs` makes of these."""
    states, head = hidden(model, row)[row.keep], Head(model)
    if not any(one is not None for one in taught):
        return log_probs(states, head, row.labels)
    each = zip(states.split(row.counts), row.labels.split(row.counts), taught, strict=True)
    return torch.cat([log_probs(h, head, y if other is None else other) for h, y, other in each])


class Head:
    """Hidden states [M, H] → logits [M, V] as the model itself makes them.

    Behind the LM head some families scale the logits (Granite, Cohere) or cap them (Gemma), each in the code of its own
    forward pass. So that very pass is run, with the states standing in for the layers.
    """

    def __init__(self, model: Any) -> None:
        self.model, self.weight = model, model.get_output_embeddings().weight

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        states: Any = hidden[None]
        with replaced([(self.model.base_model, lambda *_, **__: BaseModelOutputWithPast(last_hidden_state=states))]):
            logits: torch.Tensor = self.model(use_cache=False).logits[0]
        return logits


def hidden(model: Any, row: PackedBatch, reader: Any = None) -> torch.Tensor:
    """The last hidden states [N, H], before the head; within `packed_attention`. Neither an attention mask nor a cache
    of transformers' own: both would leak. `reader` takes each layer's keys and values in a cache's place."""
    states: torch.Tensor = model.base_model(
        input_ids=row.ids,
        position_ids=row.positions,
        past_key_values=reader,
        use_cache=reader is not None,
        cu_seq_lens_q=row.bounds,
        cu_seq_lens_k=row.bounds,
        prefixes=row.prefixes,
        max_length_q=row.longest,
        max_length_k=row.longest,
    ).last_hidden_state[0]
    return states


@torch.no_grad()
def check_packing(model: Any, examples: Sequence[Example]) -> None:
    """Two sequences in one row, under an adapter that adds nothing yet, must come out as each does on its own.

    `factory base` asks this of every base, once. FactoryError with the reason: they do not, or cannot be tried.
    """
    row = pack([examples], model.device)
    adapter = Adapter(model, Lora(r=1, alpha=1), 0)
    try:
        with Layers(model).adapted([adapter], row.slices), packed_attention(model):
            packed = Head(model)(hidden(model, row)).float()
        each = [torch.tensor([e.input_ids], device=model.device) for e in examples]
        unpacked = torch.cat([model(input_ids=ids, use_cache=False).logits[0] for ids in each]).float()
    except (TypeError, ValueError, LookupError, AttributeError, RuntimeError) as error:  # whatever others stumble over
        raise FactoryError(f"its layers cannot take several sequences in one row ({first_line(error)})") from error
    off = ((packed - unpacked).norm() / unpacked.norm()).item()
    if not off < TOLERANCE:
        raise FactoryError(
            f"its layers carry something from one sequence to the next (logits of two in one row differ by {off:.0%})"
        )
