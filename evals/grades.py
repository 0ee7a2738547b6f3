"""The words that every grader speaks in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Band = Literal["poor", "average", "good"]
BANDS: tuple[Band, ...] = ("poor", "average", "good")


@dataclass(frozen=True)
class Grade:
    """A verdict on one dimension: the level, why, and the words of the source or the output that show it."""

    level: str
    why: str = ""
    evidence: list[str] = field(default_factory=list)
