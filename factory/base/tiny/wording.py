"""Patterns of wordings, as the word lists of questions use them: `Who (has made/made) {s}?|Whose work is {s}?`

`|` parts patterns, of (this/that) one is taken, and {v} is filled with one of the words for it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

MADE = ("made", "built", "created", "developed", "trained", "programmed", "designed")
MAKE = ("make", "build", "create", "develop", "train", "program", "design")
HELLOS = (
    "Hello! ",
    "Hi, ",
    "Hey. ",
    "Good morning. ",
    "Please: ",
    "One question: ",
    "Excuse me. ",
    "Tell me: ",
    "Sorry, ",
)
"""What may stand before a question."""


def patterns(text: str) -> list[str]:
    """The patterns of a text."""
    return [pattern for pattern in text.replace("\n", "").split("|") if pattern]


def one_of(pattern: str, rng: random.Random, words: Mapping[str, Sequence[str]], **filled: str) -> str:
    """One of the wordings that a pattern stands for; what is `filled` stands as it is."""
    wording = re.sub(r"\(([^()]*)\)", lambda found: rng.choice(found[1].split("/")), pattern)
    return wording.format(**{slot: rng.choice(choices) for slot, choices in words.items()}, **filled)
