"""What every trainer returns."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True)
class Trained:
    """A finished run. `adapter` is a PEFT folder; `train_tokens` counts every token that went through the model.

    `stopped` is empty for a run that went its whole way, else "early" (or "paused", for one that is to go on). `probe`
    is what `factory.probe` asks of it, from who trained over a base that its caller may have no room for.
    """

    adapter: Path
    run: Path
    train_tokens: int
    seconds: float
    steps: int
    stopped: str
    eval_loss: float
    probe: Sequence[Sequence[float]] = ()

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.train_tokens / max(self.seconds, 1e-9)

    def to_json(self) -> dict[str, Any]:
        loss = None if math.isnan(self.eval_loss) else self.eval_loss
        facts = asdict(self) | {"adapter": str(self.adapter), "run": str(self.run), "eval_loss": loss}
        if not self.probe:  # so that earlier releases read it too
            del facts["probe"]
        return facts

    @classmethod
    def of_json(cls, facts: dict[str, Any]) -> Self:
        loss = math.nan if facts["eval_loss"] is None else facts["eval_loss"]
        return cls(**facts | {"adapter": Path(facts["adapter"]), "run": Path(facts["run"]), "eval_loss": loss})
