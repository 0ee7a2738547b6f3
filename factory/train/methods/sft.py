"""Supervised fine-tuning: the answers of the rows become likelier, token by token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from factory.train.methods.method import Method, Seen

if TYPE_CHECKING:
    import torch


class Supervised(Method):
    """The mean over all supervised tokens of a step, never of means (Tulu 3). It may start from nothing."""

    usual = (5e-5, 2e-3)

    def loss(self, seen: Seen) -> tuple[torch.Tensor, ...]:
        return (-(seen.logps * (1 / seen.totals.tokens)).sum(),)


class Sft(Supervised):
    """Of the answers' tokens."""

    method: Literal["sft"] = "sft"
