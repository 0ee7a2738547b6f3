"""Which rows an adapter sees at which step, and with what learning rate: transformers' Trainer's rules, defined once.

Steps are optimizer steps, counted from 0. `tests/factory/train/test_schedule.py` holds every rule against the Trainer.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

from factory.recipe import Train


@dataclass(frozen=True)
class Schedule:
    """The course of one run over `rows` training rows with peak learning rate `rate`, going on behind the `before` that
    an earlier run over the same rows went through."""

    rows: int
    rate: float
    settings: Train
    before: int = 0

    @property
    def per_epoch(self) -> int:
        return math.ceil(self.rows / self.settings.batch)

    @property
    def steps(self) -> int:
        """All steps of the run; a fraction of an epoch is rounded up to a whole step."""
        return math.ceil(self.settings.epochs * self.per_epoch)

    @property
    def through(self) -> int:
        """Rows that are gone through at the end, with those before: where a later run goes on."""
        epochs, steps = divmod(self.steps, self.per_epoch)
        return self.before + epochs * self.rows + steps * self.settings.batch

    @property
    def eval_every(self) -> int:
        return max(1, self.steps // self.settings.evals)

    def evaluates_after(self, step: int) -> bool:
        """Whether the eval loss is taken once `step` steps are done: every `eval_every` of them and at the end."""
        return step % self.eval_every == 0 or step == self.steps

    def rate_at(self, step: int) -> float:
        """The learning rate of a step: linear warm-up from 0, then as `settings.schedule` says, to 0 at the end. A run
        of one step has no warm-up: it would learn nothing."""
        warmup, schedule = min(math.ceil(self.settings.warmup * self.steps), self.steps - 1), self.settings.schedule
        if step < warmup and schedule != "constant":
            return self.rate * (step / warmup)
        left = self.steps - warmup
        shares = {
            "linear": (self.steps - step) / left,
            "cosine": 0.5 * (1 + math.cos(math.pi * (step - warmup) / left)),
        }
        return self.rate * shares.get(schedule, 1.0)

    def batch(self, step: int) -> list[int]:
        """The rows of a step: each epoch shuffles anew by seed and ends with what is left, however few."""
        epoch, at = divmod(step, self.per_epoch)
        gone, first = divmod(self.before, self.rows)
        order = _order(self.rows, self.settings.seed + gone + epoch)
        start = at * self.settings.batch
        return list((order[first:] + order[:first])[start : start + self.settings.batch])


@lru_cache(maxsize=64)
def _order(rows: int, seed: int) -> tuple[int, ...]:
    import torch

    return tuple(torch.randperm(rows, generator=torch.Generator().manual_seed(seed)).tolist())
