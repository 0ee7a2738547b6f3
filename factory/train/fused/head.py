"""The loss: only positions whose next token is learned reach the LM head, a chunk of them at a time.

The head is frozen, so all it owes the backward pass is the gradient of its input, which is taken chunk by chunk in the
forward pass already (as Liger's fused linear cross entropy does, arXiv 2410.10989): no full logits are ever kept.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

LOGITS = {
    "cpu": 2**22,
    "cuda": 2**26,
}  # elements of one chunk's logits; a processor is fastest where they stay in its cache


def token_losses(hidden: torch.Tensor, head: Any, labels: torch.Tensor, weights: torch.Tensor) -> Any:
    """(Σ weight · loss, the loss of every token without gradient) of hidden [M, H], labels [M], weights [M]."""
    return _Head.apply(hidden, head, labels, weights)  # type: ignore[no-untyped-call]


class _Head(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, head: Any, labels: torch.Tensor, weights: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        rows = max(1, LOGITS[hidden.device.type] // head.weight.shape[0])
        losses, grads = [], []
        for h, y, w in zip(hidden.split(rows), labels.split(rows), weights.split(rows), strict=True):
            with torch.set_grad_enabled(ctx.needs_input_grad[0]):
                h = h.detach().requires_grad_(ctx.needs_input_grad[0])
                loss = F.cross_entropy(head(h).float(), y, reduction="none")
            if ctx.needs_input_grad[0]:
                grads.append(torch.autograd.grad(loss, h, w)[0])
            losses.append(loss.detach())
        each = torch.cat(losses)
        if grads:
            ctx.save_for_backward(torch.cat(grads))
        ctx.mark_non_differentiable(each)
        return (each * weights).sum(), each

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor, _: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (hidden,) = ctx.saved_tensors
        return hidden * grad.to(hidden.dtype), None, None, None
