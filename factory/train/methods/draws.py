"""What learns from answers of its own, paid by checks: GRPO (arXiv 2402.03300), and draws for other methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from factory.train.methods.method import Onward, Seen, Settings

if TYPE_CHECKING:
    import torch

LEARNED = 0.005  # `beta` of GRPO that a reward model pays
MISMATCH = 0.1  # KL of the answers' distribution from the trainer's, in nats a token, beyond which a run ends
CAP = 2.0  # the most that a token counts, however much likelier the trainer takes it to be than what drew it


def divergence(behind: torch.Tensor) -> torch.Tensor:
    """KL(p||q) of each token drawn from p, from log q - log p: the estimator k3, as TRL has it, never below 0
    (http://joschu.net/blog/kl-approx.html)."""
    return behind.exp() - behind - 1


class Drawing(Settings):
    """What both have. `gold` are dimensions of the rubric that pay nothing."""

    group: int = Field(8, ge=2, le=64, description="answers to a question")
    temperature: float = Field(1.0, gt=0, le=2)
    gold: list[str] = []


class Generate(Drawing):
    """Trains nothing: the best answers become rows and the best and worst pairs, which later stages learn from
    (rejection sampling, arXiv 2304.06767; with them Llama 3's rounds, arXiv 2407.21783)."""

    method: Literal["generate"] = "generate"
    questions: int = Field(0, ge=0, description="so many of the rows, others for each version; 0: all")


class Grpo(Drawing, Onward):
    """Each step draws `group` answers to each of `batch` questions with the adapter as it is, and learns from them
    once: those better than their group's mean become likelier, the others less so. Strictly on-policy, so no ratio is
    ever clipped. The loss is summed over tokens: `dapo` divides by how many there are (arXiv 2503.14476), `dr_grpo` by
    as many as there could be, and leaves spreads as they are (arXiv 2503.20783). `beta` weighs a penalty, the KL from
    the parent. What drew the answers and what learns from them are the same weights, but for rounding: tokens count by
    the ratio of the two, CAP at most (truncated importance sampling, TRL's `token_truncate`); `mismatch` is their KL.
    `gold` is watched on held-out questions and stops the run."""

    method: Literal["grpo"] = "grpo"
    batch: int | None = Field(4, ge=1, description="questions a step")
    over: Literal["dapo", "dr_grpo"] = "dapo"
    beta: float = Field(0.0, ge=0, description=f"weight of the KL from the parent; {LEARNED} behind a reward model")

    figures = ("mismatch",)
    divides = False  # all processes would have to draw the same answers to the last token, or wait for ever

    def advantages(self, rewards: Sequence[float]) -> list[float]:
        """What each answer of one group is worth to learning, from its reward, 0 to 1; all 0: it is drawn again."""
        mean = sum(rewards) / len(rewards)
        spread = (sum((reward - mean) ** 2 for reward in rewards) / (len(rewards) - 1)) ** 0.5
        scale = 1.0 if self.over == "dr_grpo" else spread + 1e-4
        return [(reward - mean) / scale for reward in rewards]

    def loss(self, seen: Seen) -> tuple[torch.Tensor, ...]:
        now = seen.logps.detach()
        apart = now - seen.told("drawn")
        gains = (seen.logps - now).exp() * apart.exp().clamp(max=CAP) * seen.rewards[seen.of]
        if self.beta:
            gains = gains - self.beta * divergence(seen.told("parent") - seen.logps)
        possible = seen.totals.groups * seen.totals.longest
        tokens = seen.totals.tokens if self.over == "dapo" else possible
        return -gains.sum() / tokens, divergence(apart).sum() / max(1, seen.totals.learned)

    def fault(self, told: Sequence[float]) -> str:
        if told[1] <= MISMATCH:
            return ""
        return (
            f"answers are not drawn as they are learned from: their log-probabilities differ by a KL of {told[1]:.3f} "
            f"a token, more than {MISMATCH:g}; train.precision=fp32 takes away what rounding does"
        )
