"""The kinds of tasks, and what is different about each: a new kind is a word here, and a line where it is unlike."""

import re
from dataclasses import dataclass
from typing import Literal, get_args

TASK = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")  # a task's name, in files and in model=
Kind = Literal["summary", "identity", "classification", "judge", "general"]


@dataclass(frozen=True)
class About:
    """`labels`: an answer is one of a set, which the data gives where the recipe lists none. `pipeline`: the Hub's word
    for such a model."""

    labels: bool = False
    pipeline: str = "text-generation"


KINDS = dict.fromkeys(get_args(Kind), About()) | {
    "classification": About(labels=True, pipeline="text-classification"),
}
