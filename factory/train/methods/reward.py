"""A reward model: how much an answer is liked, learned from pairs (Bradley and Terry; arXiv 2203.02155)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from factory.train.methods.method import Onward, Seen
from factory.train.tokens import IGNORE, Example

if TYPE_CHECKING:
    import torch

# What a pair's two sides lie apart at least, by what is known of where it comes from (Llama 2, arXiv 2307.09288).
MARGINS = {"edited": 1.0, "good over poor": 1.0, "good over average": 0.5, "average over poor": 0.5}


def log_odds(logps: torch.Tensor) -> torch.Tensor:
    """Scores from the log-probabilities of the token that stands for "liked", fp32."""
    return logps - (-logps.clamp(max=-1e-6).expm1()).log()


def liked(tokenizer: Any) -> int:
    """The token that stands for it: the first of the word."""
    return int(tokenizer("good", add_special_tokens=False)["input_ids"][0])


def asked(example: Example, tokenizer: Any) -> Example:
    """The whole answer with the question behind it whether it is liked, which alone is supervised."""
    token = liked(tokenizer)
    labels = [IGNORE] * len(example.input_ids) + [token]
    return replace(example, input_ids=[*example.input_ids, token], labels=labels)


class Reward(Onward):
    """TRL's reward loss, margins and centring too. The score of an answer is the log-odds of one token after its end:
    its head is that token's row of the base's own, which all of the engine has already, and what is trained is the
    LoRA before it. An example's `reward` is 1 and its pair's margin, or -1."""

    method: Literal["reward"] = "reward"
    centre: float = Field(0.01, ge=0, description="weight of a penalty that keeps the mean score at 0")
    floor: float = Field(0.5, ge=0, lt=1, description="accuracy on held-out pairs must lie above with 95 % confidence")

    rows = "pairs"
    figures = ("accuracy", "score")
    divides = False  # it is tried, and pays, where the base is whole

    def loss(self, seen: Seen) -> tuple[torch.Tensor, ...]:
        """Beside the loss: the share of pairs told apart rightly, and the mean score."""
        from torch.nn.functional import logsigmoid

        scores = log_odds(seen.logps.new_zeros(len(seen.examples)).index_add(0, seen.of, seen.logps))
        liked, groups = seen.rewards > 0, seen.totals.groups
        chosen, rejected, margins = scores[liked], scores[~liked], seen.rewards[liked] - 1
        loss = -logsigmoid(chosen - rejected - margins).sum() + self.centre * ((chosen + rejected) ** 2).sum()
        right = (chosen > rejected).float().sum()
        return loss / groups, right / groups, scores.sum() / (2 * groups)
