"""Group relative policy optimisation (arXiv 2402.03300) with rewards that can be checked: several answers to a question
are drawn, and those better than their group's mean become likelier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from factory.train.methods.method import Method, Seen

if TYPE_CHECKING:
    import torch


class Grpo(Method):
    """Each step draws anew (strictly on-policy, so no ratio is ever clipped) for `batch` questions. The loss is summed
    over tokens, of answers however long: `dapo` divides by how many there are (arXiv 2503.14476), `dr_grpo` by as many
    as there could be, and leaves spreads as they are (arXiv 2503.20783). `gold` are dimensions of the rubric that pay
    nothing: they are watched on held-out questions, and stop the run."""

    method: Literal["grpo"] = "grpo"
    over: Literal["dapo", "dr_grpo"] = "dapo"
    group: int = Field(8, ge=2, le=64, description="answers to a question")
    temperature: float = Field(1.0, gt=0, le=2)
    gold: list[str] = []
    epochs: float | None = Field(1, gt=0)
    batch: int | None = Field(4, ge=1, description="questions a step")

    usual = (5e-6, 5e-4)
    share = 0.25
    draws = True

    def advantages(self, rewards: Sequence[float]) -> list[float]:
        """Of the answers of one group; all 0 where none is better than another."""
        mean = sum(rewards) / len(rewards)
        spread = (sum((reward - mean) ** 2 for reward in rewards) / (len(rewards) - 1)) ** 0.5
        scale = 1.0 if self.over == "dr_grpo" else spread + 1e-4
        return [(reward - mean) / scale for reward in rewards]

    def loss(self, seen: Seen) -> tuple[torch.Tensor, ...]:
        ratios = (seen.logps - seen.logps.detach()).exp()
        possible = seen.totals.groups * seen.totals.longest
        tokens = seen.totals.tokens if self.over == "dapo" else possible
        return (-(ratios * seen.rewards[seen.of]).sum() / tokens,)
