"""The words that every grader speaks in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field

from factory.strict import Strict

Band = Literal["poor", "average", "good"]
BANDS: tuple[Band, ...] = ("poor", "average", "good")


class Limits(Strict):
    """The form that a rubric demands of an output, in words and sentences. 0 means no limit."""

    max_words: int = Field(default=0, ge=0)
    max_sentences: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class Grade:
    """A verdict on one dimension: the level, why, and the words of the source or the output that show it.

    `figures`: shares (0 to 1) that a check measured beside it, by name; the scorecard has their means over the rows.
    """

    level: str
    why: str = ""
    evidence: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)


Grades = Mapping[str, Mapping[str, Grade]]  # by output and dimension
