"""Direct preference optimisation (arXiv 2305.18290): of two answers the chosen one becomes likelier than the other,
measured from what the adapter said before; and its length-normalised form (Tulu 3, arXiv 2411.15124)."""

from typing import ClassVar, Literal

from pydantic import Field

from factory.train.methods.method import Losses, Onward, Seen


class Pairs(Onward):
    """What both have. `beta` holds the adapter to its parent. A larger share of the base's learning rate lost what was
    known: SmolLM2-135M had 51 % of `sql` right before, 38 after learning at a quarter of it, 50 at a twentieth."""

    beta: float
    sft: float = Field(0.1, ge=0, description="weight of a supervised term that keeps chosen answers likely")

    rows = "pairs"
    share = 0.05
    refers = True
    figures = ("chosen", "rejected", "accuracy")
    by_length: ClassVar[bool] = False

    def loss(self, seen: Seen) -> Losses:
        """Beside the loss: the mean change of a chosen and of a rejected token's log-probability, and the share of
        pairs told apart rightly."""
        from torch.nn.functional import logsigmoid

        liked, each = seen.rewards > 0, seen.ratios / seen.counts
        scores = each if self.by_length else seen.ratios
        margins, groups = scores[liked] - scores[~liked], seen.totals.groups
        loss = -logsigmoid(self.beta * margins).sum() / groups
        if self.sft:
            loss = loss - self.sft * seen.logps[liked[seen.of]].sum() / seen.totals.liked
        right = (margins > 0).float().sum()
        return loss, each[liked].sum() / groups, each[~liked].sum() / groups, right / groups


class Dpo(Pairs):
    """TRL's loss type `sigmoid`."""

    method: Literal["dpo"] = "dpo"
    beta: float = Field(0.1, gt=0)


class DpoNorm(Pairs):
    """TRL's loss type `sigmoid_norm`: means over an answer's tokens, so that length earns nothing."""

    method: Literal["dpo_norm"] = "dpo_norm"
    beta: float = Field(5.0, gt=0)

    by_length = True
