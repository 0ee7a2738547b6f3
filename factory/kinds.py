"""The kinds of tasks, and what is different about each: a new kind is a word and a line here."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["summary", "identity", "classification", "judge", "general"]


@dataclass(frozen=True)
class About:
    """`labels`: an answer is one of a set, which the data gives where the recipe lists none. `pipeline`: the Hub's word
    for such a model."""

    labels: bool = False
    pipeline: str = "text-generation"


KINDS: dict[Kind, About] = {
    "summary": About(),
    "identity": About(),
    "classification": About(labels=True, pipeline="text-classification"),
    "judge": About(),
    "general": About(),
}
