"""Attention over one packed row: every sequence attends to itself alone, at a cost that sums over the sequences.

transformers recognises a packed row by its position ids, but then SDPA gets a mask over the whole row and its cost
grows with the square of the row. A registered attention function gets no mask at all (`masking_utils` builds none for
names it does not know) and the sequence boundaries as the keyword arguments transformers has for flash attention.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

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
    scaling: float | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each sequence; transformers' attention signature.

    query [1, heads, N, D], key and value [1, kv heads, N, D] → [1, N, heads, D]. `cu_seq_lens_q` [sequences + 1] are
    the boundaries. Errors: a feature of a model's attention that is not built here.
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
        return Short.apply(query[0], key[0], value[0], scale, bounds)[None], None
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


class Short(torch.autograd.Function):
    """Attention of short sequences by plain products, the probabilities kept for the way back.

    q, k, v [H, N, D] → [N, H, D]. One autograd node for the whole row. Sequences of like length go together, the
    shorter ones filled up with zeros at their ends, which causal attention never looks at.
    """

    @staticmethod
    def forward(
        ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, bounds: list[tuple[int, int]]
    ) -> torch.Tensor:
        heads, n, width = q.shape
        out = q.new_empty(n, heads, width)
        longest = max(b - a for a, b in bounds)
        future = torch.full((longest, longest), float("-inf"), dtype=q.dtype, device=q.device).triu(1)
        groups, kept = _alike(bounds, heads), []
        for group in groups:
            length = _longest(group)
            qs, ks, vs = (_gather(t, group, length) for t in (q, k, v))
            scores = torch.baddbmm(future[:length, :length], qs, ks.mT, alpha=scale)
            p = torch.softmax(scores, -1)
            _scatter(p @ vs, group, out.transpose(0, 1))
            kept += [qs, ks, vs, p]
        ctx.save_for_backward(*kept)
        ctx.scale, ctx.groups, ctx.shape = scale, groups, q.shape
        return out

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        grad = grad.transpose(0, 1)
        dq, dk, dv = (grad.new_empty(ctx.shape) for _ in range(3))
        kept = iter(ctx.saved_tensors)
        for group, (qs, ks, vs, p) in zip(ctx.groups, zip(kept, kept, kept, kept, strict=True), strict=True):
            g = _gather(grad, group, p.shape[-1])
            _scatter(p.mT @ g, group, dv)
            ds = torch._softmax_backward_data(g @ vs.mT, p, -1, p.dtype).mul_(ctx.scale)
            _scatter(ds @ ks, group, dq)
            _scatter(ds.mT @ qs, group, dk)
        return dq, dk, dv, None, None


Group = list[tuple[int, int]]


def _alike(bounds: Group, heads: int) -> list[Group]:
    """The sequences in groups of nearly the same length whose scores stay in the cache: the longest first."""
    first, *others = sorted(bounds, key=lambda s: s[0] - s[1])
    groups = [[first]]
    for a, b in others:
        longest, size = _longest(groups[-1]), len(groups[-1]) + 1
        if b - a < longest * ALIKE or size * heads * longest**2 > CACHED:
            groups.append([])
        groups[-1].append((a, b))
    return groups


def _longest(group: Group) -> int:
    return group[0][1] - group[0][0]


def _gather(t: torch.Tensor, group: Group, length: int) -> torch.Tensor:
    """[H, N, D] → [group · H, length, D], contiguous."""
    heads, _, width = t.shape
    out = t.new_empty(len(group), heads, length, width)
    for i, (a, b) in enumerate(group):
        out[i, :, : b - a] = t[:, a:b]
        out[i, :, b - a :] = 0
    return out.flatten(0, 1)


def _scatter(t: torch.Tensor, group: Group, out: torch.Tensor) -> None:
    """[group · H, length, D] into [H, N, D], the filling left out."""
    for (a, b), part in zip(group, t.unflatten(0, (len(group), -1)), strict=True):
        out[:, a:b] = part[:, : b - a]


AttentionInterface.register(NAME, attend)
