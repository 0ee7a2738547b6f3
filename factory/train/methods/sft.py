"""Supervised fine-tuning: the answers of the rows become likelier, token by token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from factory.train.methods.method import Method, Seen

if TYPE_CHECKING:
    import torch


class Sft(Method):
    """The mean over all supervised tokens of a step, never of means (Tulu 3)."""

    method: Literal["sft"] = "sft"

    usual = (5e-5, 2e-3)

    def loss(self, seen: Seen) -> tuple[torch.Tensor, ...]:
        return (-(seen.logps * (1 / seen.totals.tokens)).sum(),)
