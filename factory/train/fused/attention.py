"""Attention over one packed row: every sequence attends to itself alone, at a cost that sums over the sequences.

transformers recognises a packed row by its position ids, but then SDPA gets a mask over the whole row and its cost
grows with the square of the row. A registered attention function gets no mask at all (`masking_utils` builds none for
names it does not know) and the sequence boundaries as the keyword arguments transformers has for flash attention.
Sequences that begin alike may share their beginning: it stands in the row once and they attend to it (`leads`; the idea
of prefix sharing, arXiv 2410.20305).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from transformers import AttentionInterface

from factory.errors import FactoryError

NAME = "packed"
ALIKE = 0.85  # sequences at least this share of a group's longest join it
CACHED = 2**19  # scores of a group: 1 MB in bf16
SHORT = 512  # up to here plain products beat the CPU's flash kernel, and their scores are small enough to keep


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
    leads: Sequence[tuple[int, int]] | None = None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each sequence; transformers' attention signature.

    query [1, heads, N, D], key and value [1, kv heads, N, D] → [1, N, heads, D]. `cu_seq_lens_q` [sequences + 1] are
    the boundaries; sequence i also attends to the tokens leads[i], which must come before it in meaning (only where
    `can_share` says so). Errors: a feature of a model's attention that is not built here.
    """
    for unknown in ("softcap", "s_aux", "position_bias"):
        if others.get(unknown) is not None:
            raise FactoryError(f"attention with {unknown} cannot be packed; train this base one task at a time")
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
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    bounds = list(pairwise(cu_seq_lens_q.tolist()))
    if max_length_q <= SHORT and window is None:
        spans = [Span(a, b, *lead) for (a, b), lead in zip(bounds, leads or [(0, 0)] * len(bounds), strict=True)]
        return Short.apply(query[0], key[0], value[0], scale, spans)[None], None
    outs = []
    for a, b in bounds:
        mask = None
        if window is not None and b - a > window:
            mask = torch.ones(b - a, b - a, dtype=torch.bool, device=query.device).tril().triu(1 - window)
        outs.append(
            F.scaled_dot_product_attention(
                query[:, :, a:b], key[:, :, a:b], value[:, :, a:b], mask, is_causal=mask is None, scale=scale
            )
        )
    return torch.cat(outs, 2).transpose(1, 2), None


def can_share(model: Any, longest: int) -> bool:
    """Whether sequences of up to `longest` tokens may share beginnings: where plain products attend.

    CUDA's kernel takes queries and keys of unlike length too, but that was not tried.
    """
    window = getattr(model.config, "sliding_window", None) or longest
    return model.device.type == "cpu" and longest <= min(SHORT, window)


class Span(NamedTuple):
    """Tokens start..end of a row, which attend to lead_start..lead_end and, causally, to themselves."""

    start: int
    end: int
    lead_start: int = 0
    lead_end: int = 0

    @property
    def own(self) -> int:
        return self.end - self.start

    @property
    def lead(self) -> int:
        return self.lead_end - self.lead_start


class Short(torch.autograd.Function):
    """Attention of short sequences by plain products, the probabilities kept for the way back.

    q, k, v [H, N, D] → [N, H, D]. One autograd node for the whole row. Sequences of like length go together, the
    shorter ones filled up with zeros at their ends, which causal attention never looks at.
    """

    @staticmethod
    def forward(
        ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, spans: list[Span]
    ) -> torch.Tensor:
        heads, n, width = q.shape
        out = q.new_empty(n, heads, width)
        longest, lead = max(s.own for s in spans), max(s.lead for s in spans)
        future = torch.full((longest, lead + longest), float("-inf"), dtype=q.dtype, device=q.device).triu(lead + 1)
        groups, kept = _alike(spans, heads), []
        for group in groups:
            first = group[0]
            qs = _gather(q, group, first.own)
            ks, vs = (_gather(t, group, first.own, first.lead) for t in (k, v))
            scores = torch.baddbmm(future[: first.own, lead - first.lead : lead + first.own], qs, ks.mT, alpha=scale)
            p = torch.softmax(scores, -1)
            _scatter(p @ vs, group, out.transpose(0, 1))
            kept += [qs, ks, vs, p]
        ctx.save_for_backward(*kept)
        ctx.scale, ctx.groups, ctx.shape = scale, groups, q.shape
        return out

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        grad = grad.transpose(0, 1)
        dq = grad.new_empty(ctx.shape)
        # A shared beginning is owed something by every sequence after it: summed in fp32.
        dk, dv = (grad.new_zeros(ctx.shape, dtype=torch.float32) for _ in range(2))
        kept = iter(ctx.saved_tensors)
        for group, (qs, ks, vs, p) in zip(ctx.groups, zip(kept, kept, kept, kept, strict=True), strict=True):
            g = _gather(grad, group, group[0].own)
            _add(p.mT @ g, group, dv)
            ds = torch._softmax_backward_data(g @ vs.mT, p, -1, p.dtype).mul_(ctx.scale)
            _scatter(ds @ ks, group, dq)
            _add(ds.mT @ qs, group, dk)
        return dq, dk.to(grad.dtype), dv.to(grad.dtype), None, None


def _alike(spans: Sequence[Span], heads: int) -> list[list[Span]]:
    """The sequences in groups of equal leads and nearly equal length whose scores stay in the cache, longest first."""
    first, *others = sorted(spans, key=lambda s: (s.lead, -s.own))
    groups = [[first]]
    for span in others:
        longest, size = groups[-1][0], len(groups[-1]) + 1
        scores = size * heads * longest.own * (longest.lead + longest.own)
        if span.lead != longest.lead or span.own < longest.own * ALIKE or scores > CACHED:
            groups.append([])
        groups[-1].append(span)
    return groups


def _gather(t: torch.Tensor, group: list[Span], own: int, lead: int = 0) -> torch.Tensor:
    """[H, N, D] → [group · H, lead + own, D], contiguous."""
    heads, _, width = t.shape
    out = t.new_empty(len(group), heads, lead + own, width)
    for i, span in enumerate(group):
        out[i, :, :lead] = t[:, span.lead_start : span.lead_start + lead]
        out[i, :, lead : lead + span.own] = t[:, span.start : span.end]
        out[i, :, lead + span.own :] = 0
    return out.flatten(0, 1)


def _scatter(t: torch.Tensor, group: list[Span], out: torch.Tensor) -> None:
    """[group · H, own, D] into [H, N, D], the filling left out."""
    for span, part in zip(group, t.unflatten(0, (len(group), -1)), strict=True):
        out[:, span.start : span.end] = part[:, : span.own]


def _add(t: torch.Tensor, group: list[Span], out: torch.Tensor) -> None:
    """Add [group · H, lead + own, D] to [H, N, D] where the sequences and their leads stand."""
    lead = group[0].lead
    for span, part in zip(group, t.unflatten(0, (len(group), -1)), strict=True):
        out[:, span.start : span.end] += part[:, lead : lead + span.own]
        if lead:
            out[:, span.lead_start : span.lead_end] += part[:, :lead]


AttentionInterface.register(NAME, attend)
