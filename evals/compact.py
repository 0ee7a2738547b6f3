"""How a small judge is asked: it reads, and what it read is compared by code.

A model of a few million parameters copies well and compares badly, so it is asked for quotes, never for a comparison
(extract first, compare one detail at a time; as question-answering metrics do: QAGS, arXiv 2004.04228, and FEQA,
arXiv 2005.03754). What a dimension asks for stands in its rubric:

`gaps`      the output with every number, day and name taken out; the judge fills it from the source, without having
            seen what the output said. A filling that differs from the output is a fault.
`points`    the judge lists the points that matter, without having seen the output. A point the output lacks is a fault.
`findings`  the judge writes lines `quote: finding`, and at last `level: ...` itself.

Every quote must stand in the texts, or the reply is unreadable: a slip in copying abstains and is never a grade. What
it cannot see: a word that is neither number, day nor name, and a point said in words that the source does not use.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from evals.details import details, says
from evals.grades import Grade, missing_band
from factory.strict import Strict

NOTHING = "nothing"
"""What stands in a gap for which the source has no words."""
SHAPES = {
    "time": r"\S+(?: [ap]\.?m\b\.?)?",
    "number": r"\S+(?: [%€])?",
    "code": r"\S+",
    "day": r"[a-z]+ \d{1,2}(?:st|nd|rd|th)?(?![\d:.]\d)|\d{1,2}(?:st|nd|rd|th)?\.? [a-z]+|\S+",
}
"""What fills a gap of a kind, so that `[day] [time]` can be told apart in `April 8 19:20`."""


class Unreadable(ValueError):
    """A reply that is not what was asked for, or an output that nothing can be asked about; the message says why."""


class Compact(Strict):
    """A short question with {source} and {output}, and what comes back; with `gaps`, {output} has gaps."""

    ask: str
    reads: Literal["gaps", "points", "findings"] = "findings"


@dataclass(frozen=True)
class Texts:
    """What is graded: `dimension` of `output`, made from `source`."""

    dimension: Any
    source: str
    output: str


def question(compact: Compact, source: str, output: str) -> str:
    """The question. Errors: Unreadable if the output has nothing that could be asked about."""
    shown = " ".join(output.split())
    if compact.reads == "gaps":
        shown = gapped(shown, source)
    return compact.ask.replace("{output}", shown).replace("{source}", source.strip(), 1)


def gapped(output: str, source: str) -> str:
    """`Sync moved to [day] at [time], says [name].`"""
    found = details(output, source)
    if not found:
        raise Unreadable("no number, day or name to check")
    pieces, at = [], 0
    for detail in found:
        pieces += [output[at : detail.start], f"[{detail.kind}]"]
        at = detail.end
    return "".join([*pieces, output[at:]])


def fillings(reply: str, output: str, source: str) -> list[tuple[str, str]]:
    """Each detail of the output with what the reply has in its place."""
    found = details(output, source)
    bounds = [0, *(end for detail in found for end in (detail.start, detail.end)), len(output)]
    between = [output[a:b] for a, b in zip(bounds[::2], bounds[1::2], strict=True)]
    fitted = _fit(" ".join(reply.split()), between, [SHAPES.get(detail.kind) for detail in found])
    if fitted is None:
        raise Unreadable("not the text with its gaps filled")
    return [(output[d.start : d.end], filling) for d, filling in zip(found, fitted, strict=True)]


def _fit(text: str, between: list[str], shapes: list[str | None]) -> list[str] | None:
    """What fills the gaps if `text` is the texts `between` them, whatever their case, with something in each gap: a
    name as short as can be (no shape), else the longest that has the shape. None if it is something else.

    As one regular expression this takes seconds for ten gaps and minutes for more; where a gap began in vain is
    therefore kept in mind.
    """
    if not re.match(re.escape(between[0]), text, re.I):
        return None
    begins = [re.compile(f"(?={re.escape(after)})", re.I) for after in between[1:]]
    vain: set[tuple[int, int]] = set()

    def fit(gap: int, at: int) -> list[str] | None:
        if gap == len(shapes):
            return [] if at == len(text) else None
        if (gap, at) in vain:
            return None
        after, shape = between[gap + 1], shapes[gap]
        ends = [m.start() for m in begins[gap].finditer(text, at + 1)]
        if gap == len(shapes) - 1:
            ends = [end for end in ends if end + len(after) == len(text)]
        for end in ends if shape is None else reversed(ends):
            filling = text[at:end]
            if shape is None or re.fullmatch(shape, filling, re.I):
                rest = fit(gap + 1, end + len(after))
                if rest is not None:
                    return [filling, *rest]
        vain.add((gap, at))
        return None

    return fit(0, len(between[0]))


def _read_gaps(reply: str, t: Texts) -> Grade:
    output = " ".join(t.output.split())
    pairs = fillings(reply, output, t.source)
    quoted([filling for _, filling in pairs if filling.lower() != NOTHING], t.source)
    wrong = [(said, right) for said, right in pairs if not says(right, said)]
    if not wrong:
        return Grade(t.dimension.level("good"), "the same in the source", [said for said, _ in pairs])
    why = "; ".join(f"{said}: the source has {right}" for said, right in wrong)
    return Grade(t.dimension.level("poor"), why, [said for said, _ in wrong])


def _read_points(reply: str, t: Texts) -> Grade:
    points = [*dict.fromkeys(line.strip() for line in reply.strip().splitlines())]
    if not points:
        raise Unreadable("no points")
    quoted(points, t.source)
    return by_points(t.dimension, points, [p for p in points if not says(t.output, p)])


def by_points(dimension: Any, points: list[str], missing: list[str]) -> Grade:
    """Whether the points are there, by `missing_band`."""
    level = dimension.level(missing_band(len(missing), len(points)))
    if not missing:
        return Grade(level, "every point is there", points)
    return Grade(level, f"{len(missing)} of {len(points)} points missing", missing)


def _read_findings(reply: str, t: Texts) -> Grade:
    *findings, last = reply.strip().splitlines() or [""]
    level = last.removeprefix("level: ")
    if level == last or level not in t.dimension.names():
        raise Unreadable("the last line is no level")
    parts = [line.rpartition(": ") for line in findings]
    if not parts or not all(quote and finding for quote, _, finding in parts):
        raise Unreadable("not lines of quote and finding")
    quotes = [quote for quote, _, _ in parts]
    quoted(quotes, f"{t.source}\n{t.output}")
    return Grade(level, "; ".join(findings), quotes)


READERS: dict[str, Callable[[str, Texts], Grade]] = {
    "gaps": _read_gaps,
    "points": _read_points,
    "findings": _read_findings,
}


def quoted(quotes: list[str], texts: str) -> None:
    """Every quote has a word and stands in the texts, white space and case apart."""
    plain = " ".join(texts.split()).casefold()
    for quote in quotes:
        words = " ".join(quote.split()).casefold()
        if not any(map(str.isalnum, words)) or words not in plain:
            raise Unreadable(f"a quote that stands nowhere: {quote!r:.60}")
