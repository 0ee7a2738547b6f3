"""Supervised learning: of the answers of rows, or of texts, every token of them (continued pre-training, recovery)."""

from typing import Literal

from pydantic import Field

from factory.train.methods.method import Losses, Method, Seen


class Supervised(Method):
    """The mean over all supervised tokens of a step, never of means (Tulu 3). It may start from nothing."""

    usual = (5e-5, 2e-3)

    def loss(self, seen: Seen) -> Losses:
        return (-(seen.logps * (1 / seen.totals.tokens)).sum(),)


class Sft(Supervised):
    """Of the answers' tokens."""

    method: Literal["sft"] = "sft"


class Texts(Supervised):
    epochs: float | None = Field(1, gt=0)
    batch: int | None = Field(4, ge=1, description="sequences of train.max_length tokens a step, packed")

    rows = "texts"


class Pretrain(Texts):
    """The texts of a domain become likelier; general rows among them are against forgetting (arXiv 2403.08763)."""

    method: Literal["pretrain"] = "pretrain"
    replay: float = Field(0.05, ge=0, le=0.5, description="share of general rows")

    share = 0.5  # arXiv 2405.09673: less than half of what fine-tuning takes


class Recover(Texts):
    """Undoes what 4 bits cost (Apple, arXiv 2407.21075): at every token of general texts the base in 4 bits becomes
    what it is in 16, by KL(16 bits || 4 bits) over the whole vocabulary. The engine gives what that lacks of 0 in the
    place of log-probabilities."""

    method: Literal["recover"] = "recover"
    epochs: float | None = Field(2, gt=0)

    divides = False  # the base in 16 bits would stand in every process
