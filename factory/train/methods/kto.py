"""KTO (arXiv 2402.01306): learns from thumbs up and down on single answers, no pairs needed."""

from typing import Literal

from pydantic import Field

from factory.train.methods.method import Losses, Onward, Seen


class Kto(Onward):
    """TRL's loss type `kto`. The baseline is how far the adapter has moved from its parent, estimated from answers
    beside questions that are not theirs (`Totals.baseline`). The weights even out unlike numbers of thumbs."""

    method: Literal["kto"] = "kto"
    beta: float = Field(0.1, gt=0)
    desirable: float = Field(1.0, gt=0, description="weight of a thumb up")
    undesirable: float = Field(1.0, gt=0, description="weight of a thumb down")

    rows = "thumbs"
    refers = True
    figures = ("accuracy",)

    def loss(self, seen: Seen) -> Losses:
        """Beside the loss: the share of answers moved the right way."""
        moved = seen.rewards.sign() * (seen.ratios - seen.totals.baseline)
        weights = (seen.rewards > 0).float() * (self.desirable - self.undesirable) + self.undesirable
        losses = weights * (1 - (self.beta * moved).sigmoid())
        return losses.sum() / seen.totals.groups, (moved > 0).float().sum() / seen.totals.groups
