"""What every training method has: settings of its own, and a loss over the log-probabilities of one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from pydantic import Field, field_validator

from factory.strict import Strict

if TYPE_CHECKING:
    import torch

    from factory.train.tokens import Example

Losses: TypeAlias = "tuple[torch.Tensor, ...]"
FAR = 10  # times beyond the usual range and a learning rate is refused


@dataclass(frozen=True)
class Totals:
    """Of a whole optimizer step, however many packed batches it is spread over: its groups, its supervised tokens,
    those of them in liked examples, the baseline (KTO), how many its answers could have and how many are learned from
    (GRPO)."""

    groups: int
    tokens: int
    liked: int
    baseline: float = 0.0
    longest: int = 0
    learned: int = 0

    @classmethod
    def of(cls, examples: Sequence[Example], baseline: float = 0.0, longest: int = 0, learned: int = 0) -> Totals:
        """Those of a group that are only measured are no part of it. A sequence's first token follows nothing."""
        part = [example for example in examples if example.reward or example.group is None]
        counted = [(example, sum(label >= 0 for label in example.labels[1:])) for example in part]
        liked = sum(count for example, count in counted if example.reward > 0)
        groups = len({n if example.group is None else -1 - example.group for n, (example, _) in enumerate(counted)})
        return cls(groups, max(1, sum(count for _, count in counted)), max(1, liked), baseline, longest, learned)


@dataclass(frozen=True)
class Seen:
    """What a forward pass tells of n examples of one adapter, whose groups are whole: `logps` [m] are the
    log-probabilities of their supervised tokens, fp32 and with gradient, `of` [m] the example of each, `references` [n]
    the summed log-probabilities of the examples before training (none where the method needs none)."""

    examples: Sequence[Example]
    logps: torch.Tensor
    of: torch.Tensor
    references: torch.Tensor | None
    totals: Totals

    @cached_property
    def rewards(self) -> torch.Tensor:
        """[n]"""
        return self.logps.new_tensor([example.reward for example in self.examples])

    @cached_property
    def counts(self) -> torch.Tensor:
        """Supervised tokens of each example, [n]."""
        return self.of.bincount(minlength=len(self.examples)).clamp(min=1)

    @cached_property
    def ratios(self) -> torch.Tensor:
        """log p(answer) - log p(answer) before training, [n]."""
        assert self.references is not None
        sums = self.logps.new_zeros(len(self.examples)).index_add(0, self.of, self.logps)
        return sums - self.references

    def told(self, key: Literal["drawn", "parent"]) -> torch.Tensor:
        """What the examples hold of each supervised token, [m]: those of one follow each other."""
        each = [value for n in self.of.unique_consecutive().tolist() for value in getattr(self.examples[n], key)]
        return self.logps.new_tensor(each)


class Settings(Strict):
    """The settings that all stages have. `parent` is a version to start from, empty for the stage before; `data` are
    its rows, where they are not the usual ones."""

    parent: str = ""
    data: str | list[str] = []

    rows: ClassVar[str] = "train"  # the key of `data` that names its files
    divides: ClassVar[bool] = True  # whether it can do with a base of which every process holds a part

    @property
    def name(self) -> str:
        return str(vars(self)["method"])


class Method(Settings):
    """Those of a stage that trains. Without a value those of `train` hold."""

    lr: float | Literal["auto"] = "auto"
    epochs: float | None = Field(None, gt=0)
    batch: int | None = Field(None, ge=1, description="rows, pairs or thumbs a step")

    usual: ClassVar[tuple[float, float]]  # learning rates of a LoRA
    share: ClassVar[float] = 1.0  # of the base's own learning rate, where lr is auto
    refers: ClassVar[bool] = False  # whether it compares with what the adapter said before training
    figures: ClassVar[tuple[str, ...]] = ()  # what `loss` tells beside the loss

    @field_validator("lr")
    @classmethod
    def usual_rate(cls, value: Any) -> Any:
        """The learning rate, if it is not far too small or large for a LoRA; else ValueError."""
        low, high = cls.usual
        if value != "auto" and not low / FAR <= value <= high * FAR:
            size = "small" if value < low else "large"
            raise ValueError(f"lr is far too {size} for a LoRA: usual are {low:g} to {high:g}, or auto")
        return value

    def loss(self, seen: Seen) -> Losses:
        """The examples' share of the step's loss, then of its `figures`: summed over all its packed batches each is
        that of the step."""
        raise NotImplementedError

    def fault(self, told: Sequence[float]) -> str:
        """Why a step of this loss and these figures ends the run, in words; empty if it does not."""
        return ""


class Onward(Method):
    """What goes on from a version that is trained already: once through, and gently."""

    epochs: float | None = Field(1, gt=0)

    usual = (5e-6, 5e-4)
    share = 0.25
