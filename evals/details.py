"""The details of a text that can be right or wrong: times, days, numbers, codes, names; and whether a text says one."""

from __future__ import annotations

import re
from dataclasses import dataclass

from evals import text
from evals.languages import CLOCK, NUMBER_WORDS, clock_times

_MONTH = "(?:" + "|".join(m.capitalize() for m in text.MONTHS) + ")"
_DAY = re.compile(
    rf"\b\d{{1,2}}(?:st|nd|rd|th)?\.? {_MONTH}\b|\b{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?\b(?![:.]\d| ?[ap]\.?m)"
)
_NUMBER = re.compile(r"[$€£]?" + text.CODE.pattern + r"(?: ?[%€])?")


@dataclass(frozen=True)
class Detail:
    """A place in a text where a time, day, number, code or name stands; `kind` is one of those words."""

    start: int
    end: int
    kind: str


def details(output: str, source: str) -> list[Detail]:
    """The details of an output, in order; the source helps to tell names from first words."""
    found = [Detail(m.start(), m.start() + len(m.group().rstrip(" .")), "time") for m in text.TIME.finditer(output)]
    found += [Detail(m.start(), m.end(), "day") for m in _DAY.finditer(output)]
    found += [Detail(m.start(), m.end(), "time") for m, *_ in clock_times(output)]
    found += [Detail(m.start(), m.end(), "day") for m, _ in text.days(output)]
    for m in _NUMBER.finditer(output):
        found.append(Detail(m.start(), m.end(), "code" if any(c.isalpha() for c in m.group()) else "number"))
    found += _names(output, source)
    kept: list[Detail] = []
    for detail in found:  # what was found first counts where two overlap
        if all(detail.end <= k.start or detail.start >= k.end for k in kept):
            kept.append(detail)
    return sorted(kept, key=lambda d: d.start)


def says(source: str, detail: str) -> bool:
    """Whether a source holds the detail: as it stands, or its words, times and numbers in other spellings or places."""
    if not detail.strip():
        return False
    if text.holds(source, detail):
        return True
    rest = text.DATE.sub(" ", text.CODE.sub(" ", text.TIME.sub(" ", CLOCK.sub(" ", detail))))
    known = set(text.words(source))
    plain = [w for w in text.words(rest) if w not in known and w not in NUMBER_WORDS["en"]]
    return bool(text.words(detail)) and not (
        plain or text.unknown_numbers(detail, source) or text.unknown_dates(detail, source)
    )


def _names(output: str, source: str) -> list[Detail]:
    """Names whole: words that follow each other are one."""
    found: list[Detail] = []
    for start, word in text.name_words(output, source):
        if found and output[found[-1].end : start] in (" ", "-", " & "):
            found[-1] = Detail(found[-1].start, start + len(word), "name")
        else:
            found.append(Detail(start, start + len(word), "name"))
    return found
