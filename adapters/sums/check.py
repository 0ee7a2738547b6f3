"""Is the form kept, the answer right, and the thinking in the question's language?"""

from __future__ import annotations

import logging
import re

from evals.grades import Grade, Limits
from evals.languages import language
from factory.data.rows import Row

NUMBER = r"-?[0-9]{1,9}(?:\.[0-9]{1,6}|/[0-9]{1,6})?"
FORM = re.compile(rf"<think>([^<>]*[^<>\s][^<>]*)</think><answer>({NUMBER})</answer>")


def parts(output: str) -> tuple[str, str] | None:
    """The thinking and the answer; None unless the whole output is of the form, one of each and nothing around them."""
    found = FORM.fullmatch(output.strip())
    return (found[1], found[2]) if found else None


def form(row: Row, output: str, limits: Limits) -> Grade | None:
    """Exactly `<think>…</think><answer>a number</answer>`."""
    return Grade("good") if parts(output) else Grade("poor", "not of the form", [output[:80]])


def right(row: Row, output: str, limits: Limits) -> Grade | None:
    """The answer equals the row's, as math-verify sees it: 0.5, 1/2 and 0.50 are the same."""
    gold, said = parts(row.answer), parts(output)
    if gold is None:
        return None
    if said is None:
        return Grade("poor", "no answer in its form")
    return Grade("good") if same(gold[1], said[1]) else Grade("poor", f"the answer is {gold[1]}", [said[1]])


def same(gold: str, said: str) -> bool:
    """What both are is held small by the form, so it needs none of the library's timers, which only the main thread
    can set."""
    from math_verify import parse, verify

    if said.endswith(tuple(f"/{'0' * n}" for n in range(1, 7))):
        return False
    for name in ("math_verify.parser", "math_verify.grader"):
        logging.getLogger(name).setLevel(logging.ERROR)  # it warns that there is no timer
    found = [parse(f"${text}$", parsing_timeout=None) for text in (gold, said)]
    return bool(verify(*found, timeout_seconds=None))


def thinking(row: Row, output: str, limits: Limits) -> Grade | None:
    """The thinking is in the question's language, and not figures alone."""
    said = parts(output)
    if said is None:
        return None
    asked, thought = language(row.source), language(said[0])
    return Grade("good") if thought == asked else Grade("poor", f"in {thought or 'no language'}", [said[0][:80]])
