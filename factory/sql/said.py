"""How questions speak of rows with conditions: gold customers, customers who live in Porto."""

from __future__ import annotations

import re
from collections.abc import Sequence

BEFORE = "^"  # begins what is said before the noun
CLAUSE = re.compile(r"(?:who|that) (?!are )(.+)")  # "who live in Porto": also a question's own verb


def english(noun: str, conditions: Sequence[str], between: str) -> dict[str, str]:
    """Slots for templates: `things` is the noun with all that is said, `said` what stands behind it, `plain` that
    without "that are", `do` its verb where it is a clause."""
    before = " ".join(said[1:] for said in conditions if said.startswith(BEFORE))
    said = between.join(said for said in conditions if not said.startswith(BEFORE))
    clause = CLAUSE.fullmatch(said) if len(conditions) == 1 else None
    noun = f"{before} {noun}".strip()
    return {"noun": noun, "things": f"{noun} {said}".strip(), "said": said, "plain": said.removeprefix("that are "),
            "do": clause[1] if clause else ""}  # fmt: skip


def chinese(noun: str, conditions: Sequence[str]) -> dict[str, str]:
    said = "".join(conditions)
    return {"noun": noun, "things": f"{said}{noun}", "said": said, "plain": said.removesuffix("的")}


def singular(noun: str) -> str:
    return re.sub(r"ies$", "y", noun) if noun.endswith("ies") else noun.removesuffix("s")
