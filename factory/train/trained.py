"""What every trainer returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Trained:
    """A finished run. `adapter` is a PEFT folder; `train_tokens` counts every token that went through the model.

    `stopped` is empty for a run that went its whole way, else "early" (or "paused", for one that is to go on).
    """

    adapter: Path
    run: Path
    train_tokens: int
    seconds: float
    steps: int
    stopped: str
    eval_loss: float
