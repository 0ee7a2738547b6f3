"""The same row twice, or nearly: exact on normalised text, near by MinHash, semantic by a local encoder.

The first of several copies stays. Rows whose answers differ are no copies but a contradiction or a variety: they are
reported and kept. What many rows share is left out before they are compared (`words.unshared`).
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from rapidfuzz.distance import Indel
from rensa import RMinHash, RMinHashLSH  # type: ignore[attr-defined]

from factory.data.rows import Row, clip
from factory.data.steps import Work
from factory.data.words import jaccard, normal, shingles, unshared, words

# 24 bands of 5 find a pair of Jaccard 0.7 with probability 0.988, one of 0.8 with 0.9999; exact Jaccard then decides.
BANDS, PERMUTATIONS, SEED, BATCH = 24, 120, 1, 2000
SHORT = 8  # words of an answer: below it any other word is another answer


@dataclass(frozen=True, slots=True)
class Normalised:
    """What of a row is compared: question and answer in normal form, the question without what many rows share."""

    question: str
    answer: str
    cut: bool = False

    @property
    def whole(self) -> list[str]:
        return f"{self.question} {self.answer}".split()


def normalised(rows: list[Row]) -> list[Normalised]:
    """The rows as they are compared. Instructions of the task, and those that rows share, are no part of them."""
    asked = [normal("\n".join(m["content"] for m in row.turns if m["role"] != "system")) for row in rows]
    parts = zip(rows, unshared(asked), asked, strict=True)
    return [Normalised(question, normal(row.answer), question != all_of_it) for row, question, all_of_it in parts]


def exact(rows: Iterable[Row], work: Work) -> Iterator[Row]:
    """Drops rows whose conversation is that of an earlier row but for case, punctuation and layout."""
    seen: dict[bytes, list[Row]] = {}
    asked: dict[bytes, Row] = {}
    for row in rows:
        work.questions.add(question_hash(row))
        question = "\x00".join(m["role"] + normal(m["content"]) for m in row.turns)
        copies = seen.setdefault(_hash(question + "\x01" + normal(row.answer) + "\x01" + normal(rejected(row))), [])
        if same := [c for c in copies if same_question(c, row)]:
            work.drop(row, "exact", f"the same as {same[0].place}")
            continue
        copies.append(row)
        if row.turns and (first := asked.setdefault(_hash(question), row)) is not row:
            found = {"question": clip(row.source, 300), "answers": [clip(a.answer, 300) for a in (first, row)]}
            work.conflicts.append({**found, "places": [first.place, row.place]})
        yield row


def near(rows: Iterable[Row], work: Work) -> Iterator[Row]:
    """Drops rows that share at least `data.near` of their 5-word shingles with an earlier one (Jaccard)."""
    held = list(rows)
    texts = normalised(held)
    threshold = work.recipe.data.near
    index = RMinHashLSH(threshold, PERMUTATIONS, BANDS)
    for at in range(0, len(held), BATCH):
        sets = [shingles(text.whole) for text in texts[at : at + BATCH]]
        hashes = RMinHash.from_token_sets(sets, PERMUTATIONS, SEED)
        for i, (mine, found) in enumerate(zip(sets, hashes, strict=True), at):
            for other in sorted(index.query(found)):
                likeness = jaccard(mine, shingles(texts[other].whole))
                if likeness >= threshold and not differ(held[other], texts[other], held[i], texts[i]):
                    work.drop(held[i], "near", f"{likeness:.0%} the same as {held[other].place}")
                    break
            else:
                index.insert(i, found)
                yield held[i]


def semantic(rows: Iterable[Row], work: Work) -> Iterator[Row]:
    """Drops rows whose embedding has a cosine of at least `data.semantic` with an earlier one's."""
    from factory.data.encode import Encoder

    data = work.recipe.data
    encoder = Encoder(data.encoder, work.recipe.folder)
    held = list(rows)
    texts = [" ".join(text.whole) if text.cut else whole(row) for row, text in zip(held, normalised(held), strict=True)]
    kept: list[Row] = []
    blocks: list[np.ndarray] = []
    for at in range(0, len(held), 256):
        batch = held[at : at + 256]
        new = encoder(texts[at : at + 256])
        passed: list[int] = []
        for i, row in enumerate(batch):
            likeness = np.concatenate([block @ new[i] for block in blocks] + [new[passed] @ new[i]])
            alike = sorted(np.flatnonzero(likeness >= data.semantic), key=lambda j: -likeness[j])
            if (j := next((j for j in alike if not contradict(kept[j], row)), None)) is not None:
                work.drop(row, "semantic", f"means the same as {kept[j].place} (cosine {likeness[j]:.2f})")
                continue
            passed.append(i)
            kept.append(row)
            yield row
        blocks.append(new[passed])


def same_question(a: Row, b: Row) -> bool:
    """Whether two questions of one normal form are one. Their case counts where the answers differ in more than layout,
    unless it is only that somebody writes without capitals, in capitals, or begins with one."""
    if words(a.answer, fold=False) == words(b.answer, fold=False):
        return True
    one, two = words(a.source, fold=False), words(b.source, fold=False)
    if "label" in a.meta and "label" in b.meta:
        return one == two
    plain = ([w.lower() for w in one], [w.upper() for w in one])
    return one[1:] == two[1:] or two in plain or one in ([w.lower() for w in two], [w.upper() for w in two])


def contradict(a: Row, b: Row) -> bool:
    """Whether two rows that look alike are no copies: another label, the same question answered otherwise, or another
    answer rejected."""
    if otherwise(normal(rejected(a)), normal(rejected(b))):
        return True
    if "label" in a.meta or "label" in b.meta:
        return a.answer != b.answer
    return bool(a.source) and normal(a.source) == normal(b.source) and otherwise(normal(a.answer), normal(b.answer))


def otherwise(a: str, b: str) -> bool:
    """Whether one answer (in normal form) is another than the other: short ones by any word, long ones by a number or
    a sign, or by more than a fifth of their words."""
    one, two = a.split(), b.split()
    if min(len(one), len(two)) < SHORT:
        return one != two
    return _signs(one, numbers=True) != _signs(two, numbers=True) or Indel.normalized_similarity(one, two) < 0.8


def differ(a: Row, one: Normalised, b: Row, two: Normalised) -> bool:
    """Whether two rows with the same words on the whole teach different things: they are answered otherwise, a symbol
    stands in one question alone, or their long common answer hides another question (one word more or less makes a
    short question another one)."""
    labelled = "label" in a.meta or "label" in b.meta
    if a.answer != b.answer if labelled else otherwise(one.answer, two.answer):
        return True
    if (one.question == two.question and not same_question(a, b)) or otherwise(
        normal(rejected(a)), normal(rejected(b))
    ):
        return True
    asked, asked_too = one.question.split(), two.question.split()
    if _signs(asked) != _signs(asked_too):
        return True
    return Indel.normalized_similarity(asked, asked_too) < 0.9 and jaccard(shingles(asked), shingles(asked_too)) < 0.7


def _signs(tokens: list[str], numbers: bool = False) -> Counter[str]:
    """What is no word among the words; brackets, which prose has too, are left out."""
    return Counter(t for t in tokens if t not in "()[]{}" and (not t[0].isalnum() or (numbers and t[0].isdigit())))


def whole(row: Row) -> str:
    """Question and answer. Instructions of the task are no part of what a row says."""
    return "\n".join(m["content"] for m in row.messages if m["role"] != "system")


def rejected(row: Row) -> str:
    """What a preference pair rejects, its questions too; nothing of any other row."""
    turns = row.meta.get("rejected")
    said = turns if type(turns) is list else ()
    return "\n".join(str(turn.get("content", "")) for turn in said if isinstance(turn, dict))


def question_hash(row: Row) -> bytes:
    """What the user wrote, normalised; of a row without a question, its answer."""
    return _hash(normal(row.source or row.answer))


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
