"""No training row may hold what a task is examined on.

A row is dropped when its question is an eval row's but for case, punctuation and layout; or when more than half of the
words of one of the two lie in 8-grams that they share (Tulu 3, arXiv 2411.15124, counts the eval row's words; a row
that is a fragment of an eval row leaks as well, so the training row's words are counted too). Only what users wrote is
compared: for a summary that is its source. What many rows begin or end with (`words.unshared`), and runs of words that
many eval rows of a task share, are its template or the phrases of its world, and do not count.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain

from factory.data.dedup import same_question
from factory.data.rows import Row, clip
from factory.data.steps import Work
from factory.data.words import COMMON, normal, unshared

N = 8
OVERLAP = 0.5
SHOWN = 30

Gram = tuple[str, ...]


def decontaminate(rows: Iterable[Row], work: Work) -> Iterator[Row]:
    """Drops training rows that overlap with the eval rows of any task, this one's own included."""
    held = list(rows)  # a split made on the way is known once its training rows came
    index = Index(work.evals, held)
    closest: list[tuple[float, int, Row, Row]] = []
    for number, row in enumerate(held):
        share, other, task = index.overlap(number)
        if other is not None and share > OVERLAP:
            what = "the question of" if share == 2 else f"{share:.0%} of the words of"
            work.drop(row, "decontaminate", f"{what} an eval row of {task}: {other.place}")
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
            "places": [row.place, other.place],
        }
        for share, _, row, other in sorted(closest, key=lambda pair: pair[:2], reverse=True)
    ]


def asked(row: Row) -> str:
    """What is compared: the user turns; of a row that has none, its answer."""
    return row.source or row.answer


class Index:
    """The eval rows of all tasks by their questions and their 8-grams, and the training rows to hold against them."""

    def __init__(self, evals: dict[str, list[Row]], train: list[Row]) -> None:
        self.rows = [(row, task) for task, rows in evals.items() for row in rows]
        self.train = train
        self.texts = [normal(asked(row)) for row in chain((row for row, _ in self.rows), train)]
        self.parts = unshared(self.texts)
        self.whole: dict[str, list[int]] = {}
        self.grams: dict[Gram, list[tuple[int, int]]] = {}
        self.own: list[int] = []  # words of each eval row that are not its task's template
        for rows in evals.values():
            numbers = range(len(self.own), len(self.own) + len(rows))
            shared = Counter(gram for number in numbers for gram in {*_grams(self.parts[number].split())})
            limit = max(3, COMMON * len(rows))
            for number in numbers:
                self.whole.setdefault(self.texts[number], []).append(number)
                tokens, template = self.parts[number].split(), set[int]()
                for at, gram in enumerate(_grams(tokens)):
                    if shared[gram] > limit:
                        template.update(range(at, at + N))
                    else:
                        self.grams.setdefault(gram, []).append((number, at))
                self.own.append(len(tokens) - len(template))

    def overlap(self, train: int) -> tuple[float, Row | None, str]:
        """The largest share of words that a training row shares (2 for an equal question), with which eval row, and of
        which task."""
        row, at_all = self.train[train], len(self.rows) + train
        alike = self.whole.get(self.texts[at_all], [])
        for number in alike:
            if same_question(row, self.rows[number][0]):
                return 2.0, *self.rows[number]
        tokens = self.parts[at_all].split()
        here: defaultdict[int, set[int]] = defaultdict(set)
        there: defaultdict[int, set[int]] = defaultdict(set)
        for at, gram in enumerate(_grams(tokens)):
            for number, position in self.grams.get(gram, ()):
                here[number].update(range(at, at + N))
                there[number].update(range(position, position + N))
        best: tuple[float, Row | None, str] = (0.0, None, "")
        for number in here:
            if number in alike:  # the same words in another case, and another answer
                continue
            share = max(len(here[number]) / len(tokens), len(there[number]) / max(self.own[number], N))
            if share > best[0]:
                best = min(share, 1.0), *self.rows[number]
        return best


def _grams(tokens: list[str]) -> Iterator[Gram]:
    return zip(*(tokens[i:] for i in range(N)), strict=False)
