"""The head: only positions whose next token is supervised reach it, a chunk of them at a time.

The head is frozen, so all it owes the backward pass is the gradient of its input. A token's log-probability depends on
its own hidden state alone: its gradient is taken in the forward pass already, chunk by chunk (as Liger's fused linear
cross entropy does, arXiv 2410.10989), and multiplied by whatever a loss makes of the log-probability. So no full logits
are ever kept, no loss needs a second pass over the vocabulary, and every training method is a loss over `log_probs`.
"""

from typing import Any

import torch
import torch.nn.functional as F

LOGITS = {
    "cpu": 2**22,
    "cuda": 2**26,
}  # elements of one chunk's logits; a processor is fastest where they stay in its cache


def log_probs(hidden: torch.Tensor, head: Any, wanted: torch.Tensor) -> torch.Tensor:
    """[M], fp32, of hidden states [M, H]: the log-probability of each label, where `wanted` are labels [M]; where it is
    the hidden states of another model with the same head, -KL(theirs || ours) over the whole vocabulary."""
    found: torch.Tensor = _LogProbs.apply(hidden, head, wanted)  # type: ignore[no-untyped-call]
    return found


def _score(logits: torch.Tensor, head: Any, wanted: torch.Tensor) -> torch.Tensor:
    if wanted.dim() == 1:
        return -F.cross_entropy(logits, wanted, reduction="none")
    theirs = head(wanted.to(head.weight.dtype)).float().log_softmax(-1)
    return torch.sum(theirs.exp() * (logits.log_softmax(-1) - theirs), -1)


class _LogProbs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, head: Any, wanted: torch.Tensor) -> torch.Tensor:
        rows, learns = max(1, LOGITS[hidden.device.type] // head.weight.shape[0]), ctx.needs_input_grad[0]
        found, grads = [], []
        for h, y in zip(hidden.split(rows), wanted.split(rows), strict=True):
            with torch.set_grad_enabled(learns):
                h = h.detach().requires_grad_(learns)
                each = _score(head(h).float(), head, y)
            if learns:
                grads.append(torch.autograd.grad(each, h, torch.ones_like(each))[0])
            found.append(each.detach())
        if learns:
            ctx.save_for_backward(torch.cat(grads))
        return torch.cat(found)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (hidden,) = ctx.saved_tensors
        return (hidden * grad[:, None]).to(hidden.dtype), None, None
