"""The same row twice, or nearly: exact on normalised text, near by MinHash, semantic by a local encoder.

The first of several copies stays. Copies whose answers differ are no copies but a contradiction or a variety: they are
reported and kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
from rapidfuzz.distance import Indel
from rensa import RMinHash, RMinHashLSH  # type: ignore[attr-defined]

from factory.data.rows import Row, clip
from factory.data.steps import Work
from factory.data.words import jaccard, normal, shingles, words

# 24 bands of 5 find a pair of Jaccard 0.7 with probability 0.988, one of 0.8 with 0.9999; exact Jaccard then decides.
BANDS, PERMUTATIONS, SEED, BATCH = 24, 120, 1, 2000


def exact(rows: Iterable[Row], work: Work) -> Iterator[Row]:
    """Drops rows whose conversation is that of an earlier row but for case, punctuation and layout."""
    seen: dict[bytes, str] = {}
    asked: dict[bytes, Row] = {}
    for row in rows:
        work.questions.add(question_hash(row))
        question = "\x00".join(m["role"] + normal(m["content"]) for m in row.turns)
        key = _hash(question + "\x01" + normal(row.answer) + "\x01" + normal(rejected(row)))
        if key in seen:
            work.drop(row, "exact", f"the same as {seen[key]}")
            continue
        seen[key] = place(row)
        if row.turns and (earlier := asked.setdefault(_hash(question), row)) is not row:
            conflict(work, earlier, row)
        yield row


def near(rows: Iterable[Row], work: Work) -> Iterator[Row]:
    """Drops rows that share at least `data.near` of their 5-word shingles with an earlier one (Jaccard)."""
    index = Near(work.recipe.data.near)
    rows = iter(rows)
    while batch := list(islice(rows, BATCH)):
        for row, earlier, likeness in index.add(batch, [whole(row) for row in batch], lambda a, b: not differ(a, b)):
            if earlier is None:
                yield row
            else:
                work.drop(row, "near", f"{likeness:.0%} the same as {place(earlier)}")


class Near:
    """An index of rows by MinHash: which earlier row is at least `threshold` like a new one, by exact Jaccard."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.index = RMinHashLSH(threshold, PERMUTATIONS, BANDS)
        self.rows: list[Row] = []
        self.texts: list[str] = []  # normalised: a tenth of the memory of their words

    def add(
        self, rows: list[Row], texts: list[str], same: Any = lambda a, b: True
    ) -> Iterator[tuple[Row, Row | None, float]]:
        """Each row with the first earlier one it is like, if any. Only rows that are like none enter the index."""
        tokens = [words(text) for text in texts]
        sets = [shingles(t) for t in tokens]
        hashes = RMinHash.from_token_sets(sets, PERMUTATIONS, SEED)
        for i, (row, found) in enumerate(zip(rows, hashes, strict=True)):
            best: tuple[Row | None, float] = (None, 0.0)
            for key in sorted(self.index.query(found)):
                likeness = jaccard(sets[i], shingles(self.texts[key].split()))
                if likeness >= self.threshold and same(self.rows[key], row):
                    best = self.rows[key], likeness
                    break
            if best[0] is None:
                self.index.insert(len(self.rows), found)
                self.rows.append(row)
                self.texts.append(" ".join(tokens[i]))
            yield row, *best


def semantic(rows: Iterable[Row], work: Work) -> Iterator[Row]:
    """Drops rows whose embedding has a cosine of at least `data.semantic` with an earlier one's."""
    from factory.data.encode import Encoder

    data = work.recipe.data
    encoder = Encoder(data.encoder, work.recipe.folder)
    kept: list[Row] = []
    blocks: list[np.ndarray] = []
    rows = iter(rows)
    while batch := list(islice(rows, 256)):
        new = encoder([whole(row) for row in batch])
        passed: list[int] = []
        for i, row in enumerate(batch):
            likeness = np.concatenate([block @ new[i] for block in blocks] + [new[passed] @ new[i]])
            alike = sorted(np.flatnonzero(likeness >= data.semantic), key=lambda j: -likeness[j])
            if (j := next((j for j in alike if not contradict(kept[j], row)), None)) is not None:
                work.drop(row, "semantic", f"means the same as {place(kept[j])} (cosine {likeness[j]:.2f})")
                continue
            passed.append(i)
            kept.append(row)
            yield row
        blocks.append(new[passed])


def contradict(a: Row, b: Row) -> bool:
    """Whether two rows that look alike are no copies: another label, the same question answered otherwise, or another
    answer rejected."""
    if Indel.normalized_similarity(words(rejected(a)), words(rejected(b))) < 0.8:
        return True
    if "label" in a.meta or "label" in b.meta:
        return a.answer != b.answer
    if not a.source or normal(a.source) != normal(b.source):
        return False
    return Indel.normalized_similarity(words(a.answer), words(b.answer)) < 0.8


def differ(a: Row, b: Row) -> bool:
    """Whether two rows with the same words on the whole teach different things: they contradict, or their long common
    answer hides another question (one word more or less makes a short question another one)."""
    if contradict(a, b):
        return True
    one, two = words(a.source), words(b.source)
    return Indel.normalized_similarity(one, two) < 0.9 and jaccard(shingles(one), shingles(two)) < 0.7


def conflict(work: Work, a: Row, b: Row) -> None:
    found = {"question": clip(b.source, 300), "answers": [clip(a.answer, 300), clip(b.answer, 300)]}
    work.conflicts.append({**found, "places": [place(a), place(b)]})


def whole(row: Row) -> str:
    """Question and answer. Instructions of the task are no part of what a row says."""
    return "\n".join(m["content"] for m in row.messages if m["role"] != "system")


def rejected(row: Row) -> str:
    """What a preference pair rejects, its questions too; nothing of any other row."""
    turns = row.meta.get("rejected")
    return (
        "\n".join(str(turn.get("content", "")) for turn in turns if isinstance(turn, dict))
        if type(turns) is list
        else ""
    )


def question_hash(row: Row) -> bytes:
    """What the user wrote, normalised; of a row without a question, its answer."""
    return _hash(normal(row.source or row.answer))


def place(row: Row) -> str:
    return f"{row.file}:{row.line}"


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
