"""Greedy answers of many prompts at once, with the training's own packed rows: no padding, shared beginnings read once.

transformers' `generate` pads every prompt of a batch, reads a task's system prompt anew for each row, repeats the keys
for every group of heads and copies the whole cache at every token. Here prompts are read as one packed row
(`train/fused/attention.py`), their keys and values are put into one buffer, and others take the places of those that
end. On two cores in bf16 64 summaries took 17 s instead of 81 (the machine was not equally busy).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from transformers import AttentionInterface

from factory.answers.cache import Cache, Prefill
from factory.shares import shares, trim
from factory.train.fused.attention import can_share, packed_attention
from factory.train.fused.forward import Head, hidden
from factory.train.fused.packing import own_size, pack, usual_beginning
from factory.train.tokens import IGNORE, Example

NAME = "greedy"
PREFILL = {"cpu": 2048, "cuda": 16_384}  # prompt tokens that are read as one row
ROWS = {"cpu": 64, "cuda": 256}  # sequences that are answered side by side

Allowed = Callable[[int, Sequence[int]], Sequence[int] | torch.Tensor | None]  # the prompt's number, its answer so far
Sample = Callable[[torch.Tensor], tuple[list[int], list[float]]]


@dataclass
class Answer:
    """The tokens said to prompt `number`, without the one that ends an answer; `ended` is False where the limit cut it
    off. `drawn` are those that were sampled, the last one too, with their log-probabilities. `may` are the tokens that
    may come next, None where any."""

    number: int
    ids: list[int] = field(default_factory=list)
    ended: bool = False
    drawn: list[tuple[int, float]] = field(default_factory=list)
    may: Sequence[int] | torch.Tensor | None = field(default=None, compare=False)


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
    waiting = deque(sorted(answers, key=lambda answer: -len(prompts[answer.number])))
    now = _Open(model, prompts, set(ends), most, allowed, sample)
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        with torch.inference_mode():
            while waiting or now.answers:
                if new := now.joining(waiting):
                    now.join(new)
                    trim()
                now.say()
                progress(len(answers) - len(waiting) - len(now.answers))
    finally:
        model.set_attn_implementation(before)
    return answers


def drawing(model: Any, temperature: float, seed: int) -> Sample:
    """For `greedy`: tokens at random at that temperature, with their log-probabilities at temperature 1."""
    generator = torch.Generator(model.device).manual_seed(seed)

    def sample(logits: torch.Tensor) -> tuple[list[int], list[float]]:
        said = torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)
        return said[:, 0].tolist(), logits.log_softmax(-1).gather(1, said)[:, 0].tolist()

    return sample


class _Open:
    """The answers that are given side by side, with the keys and values of each so far and `last` [answers, H], the
    hidden states that their next tokens come from. Others take the places of those that end, some at a time."""

    def __init__(
        self,
        model: Any,
        prompts: Sequence[Sequence[int]],
        ends: set[int],
        most: int,
        allowed: Allowed | None,
        sample: Sample | None,
    ) -> None:
        self.model, self.prompts, self.ends, self.most, self.allowed = model, prompts, ends, most, allowed
        self.sample, self.tokens = sample, _tokens(model)  # before they take any
        self.answers: list[Answer] = []
        self.cache = Cache(0, 0, torch.empty(0, dtype=torch.long, device=model.device))
        self.last = torch.empty(0, device=model.device)

    def _room(self, others: Sequence[Answer]) -> int:
        """How many tokens the longest of these and of the open ones may come to."""
        return max(len(self.prompts[answer.number]) for answer in (*self.answers, *others)) + self.most

    def joining(self, waiting: deque[Answer]) -> list[Answer]:
        """Who is to join now, taken from `waiting`: all that there are places for, if those are a quarter of all."""
        if not waiting:
            return []
        device = self.model.device
        places = min(ROWS[device.type], max(1, self.tokens // self._room([waiting[0]])))
        free = min(places - len(self.answers), len(waiting))
        enough = not self.answers or free >= min(math.ceil(places / 4), len(waiting))
        return [waiting.popleft() for _ in range(free)] if enough else []

    def join(self, new: list[Answer]) -> None:
        """Read their prompts."""
        new.sort(key=lambda answer: list(self.prompts[answer.number]))  # as `pack` lays them
        prompts = [[*self.prompts[answer.number]] for answer in new]
        examples = [Example(prompt, [IGNORE] * len(prompt)) for prompt in prompts]
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=self.model.device)
        self.cache = self.cache.larger(len(self.answers) + len(new), self._room(new))
        read, first = [], len(self.answers)
        for rows in _rows(self.model, examples):
            read.append(_prefill(self.model, examples[rows], self.cache, first + rows.start))
        self.cache.advance(torch.cat([self.cache.lengths, lengths]))
        self.last = torch.cat([self.last, *read] if self.answers else read)
        self.answers = [*self.answers, *new]
        if self.allowed:
            for answer in new:
                answer.may = self.allowed(answer.number, [])

    def say(self) -> None:
        """The next token of each; those that come to their end leave."""
        if self.sample:  # by the logits as the model makes them; the likeliest is the same without their scale
            said, logps = self.sample(Head(_causal(self.model))(self.last).float())
            for answer, token, logp in zip(self.answers, said, logps, strict=True):
                answer.drawn.append((token, logp))
        else:
            said = _likeliest(self.model.get_output_embeddings()(self.last).float(), self.answers)
        staying = [
            i for i, (one, token) in enumerate(zip(self.answers, said, strict=True)) if self._goes_on(one, token)
        ]
        if len(staying) < len(said):
            order = self.cache.keep(staying)
            self.answers, said = [self.answers[i] for i in order], [said[i] for i in order]
        if not said:
            return
        ids, at = torch.tensor(said, device=self.model.device)[:, None], self.cache.lengths
        body = _causal(self.model).base_model
        made = body(input_ids=ids, position_ids=at[:, None], past_key_values=self.cache, use_cache=True, lengths=at)
        self.last = made.last_hidden_state[:, -1]
        self.cache.advance(at + 1)

    def _goes_on(self, answer: Answer, token: int) -> bool:
        """Whether anything is to be found out after this token of an answer. Where only one thing may follow up to its
        end, such as the rest of a label, that is said."""
        if token in self.ends:
            answer.ended = True
            return False
        answer.ids.append(token)
        if self.allowed is None or len(answer.ids) == self.most:
            return len(answer.ids) < self.most
        answer.may = self.allowed(answer.number, answer.ids)
        ids, may = [*answer.ids], answer.may
        while may is not None and len(may) == 1 and len(ids) < self.most:
            if int(may[0]) in self.ends:
                answer.ids, answer.ended = ids, True
                return False
            ids.append(int(may[0]))
            may = self.allowed(answer.number, ids)
        return True


def _tokens(model: Any) -> int:
    """How many tokens' keys and values fit the share of the memory that answers have."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    each: int = 2 * config.num_hidden_layers * heads * width * model.dtype.itemsize
    return shares(model.device).answers() // each


def _rows(model: Any, prompts: Sequence[Example]) -> Iterator[slice]:
    """Neighbours whose tokens are read together; of a beginning that they share, once."""
    beginning = usual_beginning(prompts) if _may_share(model, prompts) else []
    first = tokens = 0
    for i, example in enumerate(prompts):
        own = own_size(example, beginning)
        if i > first and tokens + own > PREFILL[model.device.type]:
            yield slice(first, i)
            first, tokens = i, 0
        tokens += own
    yield slice(first, len(prompts))


def _may_share(model: Any, prompts: Sequence[Example]) -> bool:
    return can_share(model, max(len(prompt.input_ids) for prompt in prompts))


def _prefill(model: Any, prompts: Sequence[Example], cache: Cache, first: int) -> torch.Tensor:
    """The hidden state at the end of each prompt, [prompts, H]; keys and values go into `cache`, from its sequence
    number `first` on."""
    row = pack([prompts], model.device, _may_share(model, prompts))
    prefill = Prefill()
    with packed_attention(model):
        states = hidden(_causal(model), row, prefill)
    shared = set(row.prefixes)
    spans = [
        (span, prefix)
        for span, prefix in zip(pairwise(row.bounds.tolist()), row.prefixes, strict=True)
        if span not in shared or span[0] == span[1]
    ]
    for i, ((start, end), (begun, ended)) in enumerate(spans, first):
        cache.fill(i, prefill, [(begun, ended), (start, end)])
    return states[[end - 1 for (_, end), _ in spans]]


def _causal(model: Any) -> Any:
    """The causal language model, without what wraps it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _likeliest(logits: torch.Tensor, answers: Sequence[Answer]) -> list[int]:
    """The next token of each answer, from logits [answers, vocabulary]."""
    found = [int(token) for token in logits.argmax(-1).tolist()]
    for i, (answer, of) in enumerate(zip(answers, logits, strict=True)):
        if answer.may is not None:
            which = torch.as_tensor(answer.may, device=of.device)
            found[i] = int(which[of[which].argmax()])
    return found


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
