"""No training row may hold what a task is examined on.

A row is dropped when its question is an eval row's but for case, punctuation and layout; or when more than half of the
words of one of the two lie in 8-grams that they share (Tulu 3, arXiv 2411.15124, counts the eval row's words; a row
that is a fragment of an eval row leaks as well, so the training row's words are counted too). Only what users wrote is
compared: for a summary that is its source. Runs of words that many eval rows of a task share are its template, or the
phrases of its world, and do not count.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from factory.data.dedup import place
from factory.data.rows import Row, clip
from factory.data.steps import Work
from factory.data.words import normal, words

N = 8
OVERLAP = 0.5
COMMON = 0.02  # an 8-gram in more than this share of a task's eval rows (and in more than 3) is template
SHOWN = 30

Gram = tuple[str, ...]


def decontaminate(rows: Iterable[Row], work: Work) -> Iterator[Row]:
    """Drops training rows that overlap with the eval rows of any task, this one's own included."""
    rows = iter(rows)
    first = list(islice(rows, 1))  # a split made on the way is known once its first training row comes
    index = Index(work.evals)
    closest: list[tuple[float, int, Row, Row]] = []
    for number, row in enumerate(chain(first, rows)):
        share, other, task = index.overlap(row)
        if other is not None and share > OVERLAP:
            what = "the question of" if share == 2 else f"{share:.0%} of the words of"
            work.drop(row, "decontaminate", f"{what} an eval row of {task}: {place(other)}")
            continue
        if other is not None:
            heapq.heappush(closest, (share, -number, row, other))
            if len(closest) > SHOWN:
                heapq.heappop(closest)
        yield row
    work.closest = [
        {
            "overlap": round(share, 3),
            "train": clip(asked(row), 400),
            "eval": clip(asked(other), 400),
            "places": [place(row), place(other)],
        }
        for share, _, row, other in sorted(closest, key=lambda pair: pair[:2], reverse=True)
    ]


def asked(row: Row) -> str:
    """What is compared: the user turns; of a row that has none, its answer."""
    return row.source or row.answer


class Index:
    """The eval rows of all tasks by their questions and their 8-grams."""

    def __init__(self, evals: dict[str, list[Row]]) -> None:
        self.rows: list[tuple[Row, str]] = []
        self.whole: dict[str, int] = {}
        self.grams: dict[Gram, list[tuple[int, int]]] = {}
        self.own: list[int] = []  # words of each eval row that are not its task's template
        for task, rows in evals.items():
            tokens = [words(asked(row)) for row in rows]
            shared = Counter(gram for t in tokens for gram in {*_grams(t)})
            limit = max(3, COMMON * len(rows))
            for row, own in zip(rows, tokens, strict=True):
                number = len(self.rows)
                self.rows.append((row, task))
                self.whole.setdefault(normal(asked(row)), number)
                template: set[int] = set()
                for at, gram in enumerate(_grams(own)):
                    if shared[gram] > limit:
                        template.update(range(at, at + N))
                    else:
                        self.grams.setdefault(gram, []).append((number, at))
                self.own.append(len(own) - len(template))

    def overlap(self, row: Row) -> tuple[float, Row | None, str]:
        """The largest share of shared words (2 for an equal question) and the eval row and task it is shared with."""
        text = asked(row)
        if (number := self.whole.get(normal(text))) is not None:
            return 2.0, *self.rows[number]
        tokens = words(text)
        here: defaultdict[int, set[int]] = defaultdict(set)
        there: defaultdict[int, set[int]] = defaultdict(set)
        for at, gram in enumerate(_grams(tokens)):
            for number, position in self.grams.get(gram, ()):
                here[number].update(range(at, at + N))
                there[number].update(range(position, position + N))
        best: tuple[float, Row | None, str] = (0.0, None, "")
        for number in here:
            share = max(len(here[number]) / len(tokens), len(there[number]) / max(self.own[number], N))
            if share > best[0]:
                best = min(share, 1.0), *self.rows[number]
        return best


def _grams(tokens: list[str]) -> Iterator[Gram]:
    return zip(*(tokens[i:] for i in range(N)), strict=False)
