"""Attention over one packed row: every sequence attends to itself alone, at a cost that sums over the sequences.

transformers recognises a packed row by its position ids, but then SDPA gets a mask over the whole row and its cost
grows with the square of the row. A registered attention function gets no mask at all (`masking_utils` builds none for
names it does not know) and the sequence boundaries as the keyword arguments transformers has for flash attention.
Sequences that begin alike may share their beginning: it stands in the row once and they attend to it (`prefixes`; the
idea of prefix sharing, arXiv 2410.20305).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from transformers import AttentionInterface

from factory.errors import FactoryError

NAME = "packed"
ALIKE = 0.85  # sequences at least this share of a group's longest join it
CACHED = 2**19  # scores of a group: 1 MB in bf16
SHORT = 512  # up to here plain products beat the CPU's flash kernel


@contextmanager
def packed_attention(model: Any) -> Iterator[None]:
    """Let the model attend by sequences; what it did before comes back at the end."""
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    cu_seq_lens_q: torch.Tensor,
    max_length_q: int,
    prefixes: Sequence[tuple[int, int]] | None = None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each sequence; transformers' attention signature.

    query [1, heads, N, D], key and value [1, kv heads, N, D] → [1, N, heads, D]. `cu_seq_lens_q` [sequences + 1] are
    the boundaries; sequence i also attends to the tokens prefixes[i], which must come before it in meaning (only where
    `can_share` says so). Errors: a feature of a model's attention that is not built here.
    """
    for unknown in ("softcap", "s_aux", "position_bias"):
        if others.get(unknown) is not None:
            raise FactoryError(f"its attention has {unknown}, which cannot be trained here")
    window = sliding_window if sliding_window and sliding_window < max_length_q else None
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    if query.is_cuda and query.dtype in (torch.bfloat16, torch.float16) and query.shape[-1] <= 256:
        from torch.nn.attention.varlen import varlen_attn

        q, k, v = (t[0].transpose(0, 1) for t in (query, key, value))
        sides = (-1 if window is None else window - 1, 0)
        out = varlen_attn(
            q, k, v, cu_seq_lens_q, cu_seq_lens_q, max_length_q, max_length_q,
            scale=scale, window_size=sides, enable_gqa=q.shape[1] != k.shape[1],
        )  # fmt: skip
        return torch.as_tensor(out)[None], None
    if not query.is_cuda and max_length_q <= SHORT and window is None:
        bounds = list(pairwise(cu_seq_lens_q.tolist()))
        spans = [Span(a, b, *prefix) for (a, b), prefix in zip(bounds, prefixes or [(0, 0)] * len(bounds), strict=True)]
        return Short.apply(query[0], key[0], value[0], scale, spans)[None], None  # type: ignore[no-untyped-call]
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    if query.is_cuda:
        return padded(query, key, value, cu_seq_lens_q, scale, window), None
    outs = []
    for a, b in pairwise(cu_seq_lens_q.tolist()):
        mask = None
        if window is not None and b - a > window:
            mask = torch.ones(b - a, b - a, dtype=torch.bool, device=query.device).tril().triu(1 - window)
        outs.append(
            F.scaled_dot_product_attention(
                query[:, :, a:b], key[:, :, a:b], value[:, :, a:b], mask, is_causal=mask is None, scale=scale
            )
        )
    return torch.cat(outs, 2).transpose(1, 2), None


def padded(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bounds: torch.Tensor, scale: float, window: int | None
) -> torch.Tensor:
    """[1, heads, N, D] → [1, N, heads, D] on a GPU in fp32, for which PyTorch has no kernel with boundaries: sequences
    of like length as one batch, filled up at their ends, which causal attention never looks at."""
    outs = []
    lots, places = _lots(bounds)
    for length, tokens in lots:
        q, k, v = (t[0].index_select(1, tokens).unflatten(1, (-1, length)).transpose(0, 1) for t in (query, key, value))
        mask = None
        if window is not None and length > window:
            mask = torch.ones(length, length, dtype=torch.bool, device=query.device).tril().triu(1 - window)
        out = F.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None, scale=scale)
        outs.append(out.transpose(1, 2).flatten(0, 1))
    return torch.cat(outs).index_select(0, places)[None]


@lru_cache(maxsize=2)
def _lots(bounds: torch.Tensor) -> tuple[list[tuple[int, torch.Tensor]], torch.Tensor]:
    """The sequences by length, doubling from lot to lot: each lot's length and tokens [sequences · length], and where
    among the tokens of all lots each token of the row stands. The same for every layer, so it is made once a row."""
    lots: dict[int, list[tuple[int, int]]] = {}
    spans = [span for span in pairwise(bounds.tolist()) if span[0] < span[1]]
    for start, end in spans:
        lots.setdefault((end - start - 1).bit_length(), []).append((start, end))
    made, places, at = [], torch.empty(spans[-1][1], dtype=torch.long), 0
    for lot in lots.values():
        length, tokens = max(end - start for start, end in lot), []
        for start, end in lot:
            tokens.append(torch.arange(start, start + length).clamp(max=end - 1))
            places[start:end] = torch.arange(at, at + end - start)
            at += length
        made.append((length, torch.cat(tokens).to(bounds.device)))
    return made, places.to(bounds.device)


def can_share(model: Any, longest: int) -> bool:
    """Whether sequences of up to `longest` tokens may share beginnings: where plain products attend.

    CUDA's kernel takes queries and keys of unlike length too, but that was not tried.
    """
    window = getattr(model.config, "sliding_window", None) or longest
    return model.device.type == "cpu" and longest <= min(SHORT, window)


class Span(NamedTuple):
    """Tokens start..end of a row, which attend to prefix_start..prefix_end and, causally, to themselves."""

    start: int
    end: int
    prefix_start: int = 0
    prefix_end: int = 0

    @property
    def own(self) -> int:
        return self.end - self.start

    @property
    def prefix(self) -> int:
        return self.prefix_end - self.prefix_start


class Group(NamedTuple):
    """Sequences that go together: they share one prefix, and are filled up to the longest's `own` tokens. Their queries
    stand at `place` among those of all groups; `keys` says which tokens of the row they attend to, and `mask`
    [H / KV · own, prefix + own] which of those a query must not see."""

    own: int
    first: int
    prefix: int
    place: slice
    keys: torch.Tensor
    mask: torch.Tensor


class Plan(NamedTuple):
    """How a row attends: its groups, which token each of their queries is, those that only fill up, and back again:
    the place of each token's query."""

    groups: list[Group]
    queries: torch.Tensor
    filled: torch.Tensor
    places: torch.Tensor


@lru_cache(maxsize=2)
def _plan(spans: tuple[Span, ...], heads: int, shared: int, dtype: torch.dtype, device: torch.device) -> Plan:
    """The same for every layer, so it is made once a row; its `heads` have `shared` keys and values."""
    groups: list[Group] = []
    queries: list[torch.Tensor] = []
    filled: list[int] = []
    places = torch.empty(spans[-1].end, dtype=torch.long)
    longest, most = max(s.own for s in spans), max(s.prefix for s in spans)
    future = torch.full((longest, most + longest), float("-inf"), dtype=dtype, device=device).triu(most + 1)
    at = 0
    for group in _alike(spans, heads):
        own, first, prefix, begun, keys = group[0].own, group[0].prefix_start, group[0].prefix, at, []
        for span in group:
            queries.append(torch.arange(span.start, span.start + own).clamp(max=span.end - 1))
            keys += [torch.arange(span.prefix_start, span.prefix_end), queries[-1]]
            places[span.start : span.end] = torch.arange(at, at + span.own)
            filled += range(at + span.own, at + own)
            at += own
        mask = future[:own, most - prefix : most + own].repeat(heads // shared, 1)
        groups.append(Group(own, first, prefix, slice(begun, at), torch.cat(keys).to(device), mask))
    fillers = torch.tensor(filled, dtype=torch.long, device=device)
    return Plan(groups, torch.cat(queries).to(device), fillers, places.to(device))


class Short(torch.autograd.Function):
    """Attention of short sequences by plain products; the probabilities are made anew in the backward pass.

    q [H, N, D], k, v [KV, N, D] → [N, H, D]; the spans cover the row. One autograd node for the whole row. Sequences of
    like length go together, the shorter ones filled up at their ends, which causal attention never looks at. Heads that
    share keys and values are one batch of products with these.
    """

    @staticmethod
    def forward(
        ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, spans: Sequence[Span]
    ) -> torch.Tensor:
        ctx.save_for_backward(q, k, v)
        ctx.scale, ctx.plan = scale, _plan(tuple(spans), len(q), len(k), q.dtype, q.device)
        out = q.new_empty(len(ctx.plan.queries), len(q), q.shape[2])
        for group, _, _, vs, p in _by_group(ctx.plan, q, k, v, scale):
            _put(p @ vs, out[group.place], group.own)
        return out.index_select(0, ctx.plan.places)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        plan, (q, k, v), width = ctx.plan, ctx.saved_tensors, grad.shape[-1]
        grads = grad.contiguous().index_select(0, plan.queries).index_fill_(0, plan.filled, 0)
        dq, dk, dv = (grads.new_empty(len(grads), t.shape[0], width) for t in (q, k, v))
        # A shared beginning is owed something by every sequence after it: summed in fp32.
        owed = {
            (g.first, g.prefix): grad.new_zeros(2, len(k), g.prefix, width, dtype=torch.float32) for g in plan.groups
        }
        for group, qs, ks, vs, p in _by_group(plan, q, k, v, ctx.scale):
            g = _heads_first(grads[group.place], group.own, len(k))
            ds = torch._softmax_backward_data(g @ vs.mT, p, -1, p.dtype).mul_(ctx.scale)
            _put(ds @ ks, dq[group.place], group.own)
            for d, to, of_prefix in zip((ds.mT @ qs, p.mT @ g), (dk, dv), owed[group.first, group.prefix], strict=True):
                _put(d[:, group.prefix :], to[group.place], group.own)
                of_prefix += d[:, : group.prefix].unflatten(0, (-1, len(k))).sum(0, dtype=torch.float32)
        dq, dk, dv = (t.index_select(0, plan.places) for t in (dq, dk, dv))
        for (first, prefix), sums in owed.items():
            for t, of_prefix in zip((dk, dv), sums, strict=True):
                t[first : first + prefix] += of_prefix.transpose(0, 1)
        return *(t.transpose(0, 1) for t in (dq, dk, dv)), None, None


def _by_group(
    plan: Plan, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float
) -> Iterator[tuple[Group, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Each group with its queries [sequences · KV, H / KV · own, D], keys, values and probabilities."""
    shared = len(k)
    q, k, v = (t.transpose(0, 1) for t in (q, k, v))
    for group in plan.groups:
        qs = _heads_first(q.index_select(0, plan.queries[group.place]), group.own, shared)
        ks, vs = (_heads_first(t.index_select(0, group.keys), group.prefix + group.own, shared) for t in (k, v))
        yield group, qs, ks, vs, torch.softmax(torch.baddbmm(group.mask, qs, ks.mT, alpha=scale), -1)


def _alike(spans: Sequence[Span], heads: int) -> list[list[Span]]:
    """The sequences in groups of one prefix and nearly equal length whose scores stay in the cache, longest first."""
    first, *others = sorted(spans, key=lambda s: (s[2:], -s.own))
    groups = [[first]]
    for span in others:
        longest, size = groups[-1][0], len(groups[-1]) + 1
        scores = size * heads * longest.own * (longest.prefix + longest.own)
        if span[2:] != longest[2:] or span.own < longest.own * ALIKE or scores > CACHED:
            groups.append([])
        groups[-1].append(span)
    return groups


def _heads_first(t: torch.Tensor, length: int, shared: int) -> torch.Tensor:
    """[sequences · length, H, D] → [sequences · shared, H / shared · length, D], contiguous."""
    by_sequence: torch.Tensor = t.unflatten(1, (shared, -1)).unflatten(0, (-1, length))
    return by_sequence.permute(0, 2, 3, 1, 4).flatten(2, 3).flatten(0, 1)


def _put(t: torch.Tensor, out: torch.Tensor, length: int) -> None:
    """[sequences · shared, H / shared · length, D] into [sequences · length, H, D]."""
    sequences, shared = out.shape[0] // length, t.shape[0] * length // out.shape[0]
    by_sequence = t.unflatten(1, (-1, length)).unflatten(0, (sequences, shared))
    out.view(sequences, length, shared, -1, out.shape[2]).copy_(by_sequence.permute(0, 3, 1, 2, 4))


AttentionInterface.register(NAME, attend)
