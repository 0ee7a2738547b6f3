"""Greedy answers of many prompts at once, with the training's own packed rows: no padding, shared beginnings read once.

transformers' `generate` pads every prompt of a batch, reads a task's system prompt anew for each row, repeats the keys
for every group of heads and copies the whole cache at every token. Here prompts are read as one packed row
(`train/fused/attention.py`), their keys and values are put into one buffer, and sequences leave the batch as they end.
On two cores in bf16 64 summaries took 17 s instead of 81 (the machine was not equally busy).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from transformers import AttentionInterface

from factory.shares import shares, trim
from factory.train.fused.attention import can_share, packed_attention
from factory.train.fused.forward import Head, hidden
from factory.train.fused.packing import pack
from factory.train.tokens import IGNORE, Example

NAME = "greedy"
PREFILL = {"cpu": 2048, "cuda": 16_384}  # prompt tokens that are read as one row
ROWS = {"cpu": 64, "cuda": 256}  # sequences that are answered side by side

Allowed = Callable[[int, Sequence[int]], Sequence[int] | torch.Tensor | None]  # the prompt's number, its answer so far
Sample = Callable[[torch.Tensor], tuple[list[int], list[float]]]


@dataclass
class Answer:
    """The tokens said to prompt `number`, without the one that ends an answer; `ended` is False where the limit cut it
    off. `drawn` are those that were sampled, the last one too, with their log-probabilities."""

    number: int
    ids: list[int] = field(default_factory=list)
    ended: bool = False
    drawn: list[tuple[int, float]] = field(default_factory=list)


def greedy(
    model: Any,
    prompts: Sequence[Sequence[int]],
    ends: Sequence[int],
    most: int,
    allowed: Allowed | None = None,
    progress: Callable[[int], None] = lambda done: None,
    sample: Sample | None = None,
) -> list[Answer]:
    """One answer for each prompt, of at most `most` tokens, always the likeliest token (of those that `allowed` lets
    follow that answer so far), or the one that `sample` draws from logits [answers, vocabulary], with its
    log-probability. `model` is a causal language model, with PEFT's layers in it or without."""
    answers = [Answer(number) for number in range(len(prompts))]
    done = 0
    with torch.inference_mode():
        for batch in _batches(model, [len(p) for p in prompts], most):
            _answer(model, [prompts[i] for i in batch], [answers[i] for i in batch], set(ends), most, allowed, sample)
            trim()
            done += len(batch)
            progress(done)
    return answers


def drawing(model: Any, temperature: float, seed: int) -> Sample:
    """For `greedy`: tokens at random at that temperature, with their log-probabilities at temperature 1."""
    generator = torch.Generator(model.device).manual_seed(seed)

    def sample(logits: torch.Tensor) -> tuple[list[int], list[float]]:
        said = torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)
        return said[:, 0].tolist(), logits.log_softmax(-1).gather(1, said)[:, 0].tolist()

    return sample


def _batches(model: Any, lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Indices of the longest prompts first, in batches whose keys and values fit their share of the memory."""
    config, device = model.config.get_text_config(), model.device.type
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    tokens = shares(model.device).answers() // (2 * config.num_hidden_layers * heads * width * model.dtype.itemsize)
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and (len(batch) == ROWS[device] or (len(batch) + 1) * (lengths[batch[0]] + most) > tokens):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _answer(
    model: Any,
    prompts: list[Sequence[int]],
    answers: list[Answer],
    ends: set[int],
    most: int,
    allowed: Allowed | None,
    sample: Sample | None,
) -> None:
    order = sorted(range(len(prompts)), key=lambda i: list(prompts[i]))  # as `pack` lays them
    prompts, answers = [prompts[i] for i in order], [answers[i] for i in order]
    cache = _Cache(len(prompts), max(map(len, prompts)) + most)
    last = torch.cat([_prefill(model, rows, prompts, cache) for rows in _rows(model, prompts)])
    cache.advance(torch.tensor([len(p) for p in prompts], device=model.device))
    before, body = model.config._attn_implementation, _causal(model).base_model
    model.set_attn_implementation(NAME)
    try:
        for _ in range(most):
            if sample:  # by the logits as the model makes them; the likeliest is the same without their scale
                said, logps = sample(Head(_causal(model))(last).float())
                for answer, token, logp in zip(answers, said, logps, strict=True):
                    answer.drawn.append((token, logp))
            else:
                said = _likeliest(model.get_output_embeddings()(last).float(), answers, allowed)
            open_ = []
            for i, (answer, token) in enumerate(zip(answers, said, strict=True)):
                answer.ended = token in ends
                if not answer.ended:
                    answer.ids.append(token)
                    if len(answer.ids) < most:
                        open_.append(i)
            if not open_:
                return
            if len(open_) < len(answers):
                order = cache.keep(open_)
                answers, said = [answers[i] for i in order], [said[i] for i in order]
            ids, at = torch.tensor(said, device=model.device)[:, None], cache.lengths
            made = body(input_ids=ids, position_ids=at[:, None], past_key_values=cache, use_cache=True, lengths=at)
            last = made.last_hidden_state[:, -1]
            cache.advance(cache.lengths + 1)
    finally:
        model.set_attn_implementation(before)


def _rows(model: Any, prompts: Sequence[Sequence[int]]) -> Iterator[range]:
    """Neighbours whose tokens are read together. What they share is counted as if it stood there each time."""
    first = tokens = 0
    for i, prompt in enumerate(prompts):
        if i > first and tokens + len(prompt) > PREFILL[model.device.type]:
            yield range(first, i)
            first, tokens = i, 0
        tokens += len(prompt)
    yield range(first, len(prompts))


def _prefill(model: Any, which: range, prompts: Sequence[Sequence[int]], cache: _Cache) -> torch.Tensor:
    """The hidden state at the end of each prompt, [prompts, H]; keys and values go into `cache`."""
    examples = [Example(list(prompts[i]), [IGNORE] * len(prompts[i])) for i in which]
    row = pack([examples], model.device, can_share(model, max(len(e.input_ids) for e in examples)))
    prefill = _Prefill()
    with packed_attention(model):
        states = hidden(_causal(model), row, prefill)
    shared = set(row.prefixes)
    spans = [
        (span, prefix)
        for span, prefix in zip(pairwise(row.bounds.tolist()), row.prefixes, strict=True)
        if span not in shared or span[0] == span[1]
    ]
    for i, ((start, end), (begun, ended)) in zip(which, spans, strict=True):
        cache.fill(i, prefill, [(begun, ended), (start, end)])
    return states[[end - 1 for (_, end), _ in spans]]


def _causal(model: Any) -> Any:
    """The causal language model, without what wraps it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _likeliest(logits: torch.Tensor, answers: Sequence[Answer], allowed: Allowed | None) -> list[int]:
    """The next token of each answer, from logits [answers, vocabulary]."""
    if allowed is None:
        return [int(token) for token in logits.argmax(-1).tolist()]
    found = []
    for answer, of in zip(answers, logits, strict=True):
        if (may := allowed(answer.number, answer.ids)) is None:
            found.append(int(of.argmax()))
            continue
        which = torch.as_tensor(may, device=of.device)
        found.append(int(which[of[which].argmax()]))
    return found


class _Prefill:
    """Keys and values [1, kv heads, N, D] of a packed row, layer by layer, as transformers hands them to a cache."""

    def __init__(self) -> None:
        self.layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.layers[layer] = keys, values
        return keys, values


class _Cache:
    """Keys and values of sequences of unlike `lengths`, [sequences, kv heads, room, D] a layer."""

    def __init__(self, sequences: int, room: int) -> None:
        self.sequences, self.room = sequences, room
        self.layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def advance(self, lengths: torch.Tensor) -> None:
        """The next token of each sequence comes after so many. What every layer asks of them is worked out once."""
        self.lengths = lengths
        self.each = torch.arange(len(lengths), device=lengths.device)
        self.used = int(lengths.max()) + 1

    def fill(self, sequence: int, row: _Prefill, spans: Sequence[tuple[int, int]]) -> None:
        """Sequence number `sequence` is made of the row's tokens in `spans`."""
        for layer, parts in row.layers.items():
            if layer not in self.layers:
                k, v = (t.new_empty(self.sequences, t.shape[1], self.room, t.shape[3]) for t in parts)
                self.layers[layer] = k.zero_(), v.zero_()
            for buffer, part in zip(self.layers[layer], parts, strict=True):
                at = 0
                for start, end in spans:
                    buffer[sequence, :, at : at + end - start] = part[0, :, start:end]
                    at += end - start

    def keep(self, staying: list[int]) -> list[int]:
        """Keep only these sequences, in the order that is returned: the last ones go where others have left, so that
        no more is copied than those."""
        count = len(staying)
        moved = dict(zip(sorted({*range(count)} - {*staying}), (i for i in staying if i >= count), strict=True))
        order = [moved.get(i, i) for i in range(count)]
        to, of = (
            torch.tensor([*which], dtype=torch.long, device=self.lengths.device) for which in (moved, moved.values())
        )
        for layer, buffers in self.layers.items():
            for buffer in buffers:
                buffer[to.to(buffer.device), :, : self.used] = buffer[of.to(buffer.device), :, : self.used]
            self.layers[layer] = buffers[0][:count], buffers[1][:count]
        self.advance(self.lengths[order])
        return order

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add one token's keys and values [sequences, kv heads, 1, D]; returns those of all so far."""
        k, v = self.layers[layer]
        for buffer, new in ((k, keys), (v, values)):
            buffer[self.each.to(buffer.device), :, self.lengths.to(buffer.device)] = new[:, :, 0]
        return k[:, :, : self.used], v[:, :, : self.used]


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    lengths: torch.Tensor,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """One query a sequence, [B, heads, 1, D], to the `lengths` [B] tokens before it and itself; transformers'
    signature. Heads that share keys are rows of one product, so nothing is repeated."""
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    batch, heads, _, width = query.shape
    grouped = query.reshape(batch, key.shape[1], heads // key.shape[1], width)
    scores = (grouped @ key.mT).mul_(scale)
    at = torch.arange(key.shape[2], device=key.device)
    unseen = at > lengths[:, None]
    if sliding_window:
        unseen |= at <= lengths[:, None] - sliding_window
    weights = scores.masked_fill_(unseen[:, None, None], float("-inf")).softmax(-1, dtype=torch.float32)
    return (weights.to(value.dtype) @ value).reshape(batch, 1, heads, width), None


AttentionInterface.register(NAME, _attend)
