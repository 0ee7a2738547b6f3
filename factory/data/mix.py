"""What is trained on in the end: the splits, weights per source, the base's own words, and replay."""

import hashlib
import math
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from rensa import RMinHash, RMinHashLSH  # type: ignore[attr-defined]

from factory.data.decontaminate import asked, decontaminate
from factory.data.dedup import BANDS, PERMUTATIONS, SEED
from factory.data.filters import count_tokens, rules, too_long
from factory.data.load import OWN_WORDS, load
from factory.data.rows import Row
from factory.data.steps import Replier, Work
from factory.data.templated import without_thought
from factory.data.words import jaccard, normal, shingles, unshared
from factory.errors import InputError, Problem
from factory.strict import nearest

FEW_TO_TUNE = 40  # rows below which no part of them is spared for tuning
MOST_TO_TUNE = 0.2  # share of the rows that is worth keeping for it
ENOUGH_TO_TUNE = 30  # tune rows below which a choice by them is told to be uncertain


def split(rows: Iterable[Row], work: Work) -> Iterator[Row]:
    """Sets about `data.eval_share` of the rows aside as eval rows: those whose hash lies below it. Rows of one
    `data.group` share its hash, near-copies that of the first of them.

    Neither the seed of training nor rows that are added move a row from one side to the other; of rows so few that
    none lies below, the lowest is taken.
    """
    held = list(rows)
    data = work.recipe.data
    if data.group and not any(data.group in row.meta for row in held):
        keys = sorted({key for row in held for key in row.meta})
        raise InputError(f"no row has the key {data.group!r}{nearest(data.group, keys)}", key="data.group")
    if len(held) > 1 and all("label" in row.meta for row in held) and len({row.answer for row in held}) == len(held):
        raise InputError(
            "each label has one row, so none is left to grade on: add rows, or name a file", key="data.eval"
        )
    places = [_place(said, f"eval:{data.salt}") for said in sides(held, data.group, data.near or 0.7)]
    limit = max(data.eval_share, min(places, default=0) + 2**-48)
    if held and all(place < limit for place in places):
        raise InputError("no eval rows can be split off: the rows are too alike; name a file", key="data.eval")
    said = (row.with_answer(without_thought(row.answer)) if data.reasoning else row for row in held)
    work.split = [row for row, place in zip(said, places, strict=True) if place < limit]
    if len(work.split) > 2 * data.eval_share * len(held) + 10:
        work.note(
            f"{len(work.split)} of {len(held)} rows are set aside to grade on, for many of them are alike or of one "
            "group and stay together: another data.salt draws anew, data.eval names a file of its own",
            "data.salt=2 draws the rows to grade on anew",
        )
    work.evals = {**work.evals, work.recipe.task: work.split}
    yield from (row for row, place in zip(held, places, strict=True) if place >= limit)


def tune(rows: Iterable[Row], work: Work) -> Iterator[Row]:
    """Sets about `data.tune_share` of the rows aside for what is chosen while a version is made (early stopping,
    sweeps): the eval rows are the exam, and an exam that was looked at before says too much.

    A row's own hash decides, so it stays on its side whatever the seed and whatever rows are added.
    """
    held, data = list(rows), work.recipe.data
    if len(held) < FEW_TO_TUNE:
        work.notes.append(
            f"below {FEW_TO_TUNE} rows none are kept to tune on: training goes to its end, and a sweep cannot choose"
        )
        yield from held
        return
    lines: dict[tuple[str, int], str] = {}  # rows of one line are turns of one conversation
    for row in held:
        said = _group(row, data.group) or lines.setdefault((row.file, row.line), asked(row))
        if _place(said, f"tune:{data.salt}") < data.tune_share:
            work.tune.append(row)
        else:
            yield row
    if len(work.tune) < ENOUGH_TO_TUNE:
        share = math.ceil(100 * 1.2 * ENOUGH_TO_TUNE / len(held)) / 100
        work.note(
            f"only {len(work.tune)} rows to tune on: what early stopping or a sweep chooses by them is partly luck",
            f"data.tune_share={share} keeps enough rows to tune on" if share <= MOST_TO_TUNE else "",
        )


def own_words(rows: Iterable[Row], work: Work) -> Iterator[Row]:
    """Rows whose answer is `{{base}}` get the base's own, to the task's prompt: what an adapter must leave as it is."""
    held = list(rows)
    unsaid = [row for row in held if row.answer == OWN_WORDS]
    if unsaid and work.base is None:
        raise InputError(f"{len(unsaid)} rows are to be answered by the base ({OWN_WORDS}), and none is at hand")
    said = iter(_said(unsaid, work.base, work.recipe.decoding.max_tokens, "own words", work) if work.base else [])
    for row in held:
        if row.answer != OWN_WORDS:
            yield row
        elif answered := next(said):
            yield replace(answered, meta={**row.meta, "as_base": True})


def _said(rows: list[Row], base: Replier, limit: int, step: str, work: Work) -> list[Row | None]:
    """Each row with the base's own answer, its tokens counted anew. None, and dropped under `step`, where it has no
    answer that ends within `limit` tokens."""
    prompted = [row.with_system(work.prompt) for row in rows]
    replies = base.answer([replace(row, messages=row.turns) for row in prompted], limit) if rows else []
    found: list[Row | None] = []
    for row, reply in zip(rows, replies, strict=True):
        answered = row.with_answer(reply.strip())
        [(counted, fault)] = count_tokens([answered], work.tokenizer, work.prompt)
        fault = fault or too_long(counted, work)
        if not answered.answer:
            fault = f"the base has no answer to it within {limit} tokens"
        if fault:
            work.drop(row, step, fault)
        found.append(None if fault else counted)
    return found


def _place(said: str, salt: str) -> float:
    """A number in [0, 1) that is a text's for ever."""
    return int.from_bytes(hashlib.blake2b(f"{salt}{said}".encode(), digest_size=8).digest()[:6]) / 2**48


def _group(row: Row, key: str) -> str:
    return str(row.meta[key]) if key and row.meta.get(key) is not None else ""


def sides(rows: list[Row], key: str, threshold: float) -> list[str]:
    """For each row the text whose hash decides: its group, else the question that its conversation begins with, or that
    of the first row which it nearly copies."""
    index = RMinHashLSH(threshold, PERMUTATIONS, BANDS)
    texts = unshared([normal(asked(row)) for row in rows])
    said: list[str] = []
    lines: dict[tuple[str, int], str] = {}  # rows of one line are turns of one conversation
    for i, row in enumerate(rows):
        own = shingles(texts[i].split())
        found = RMinHash.from_token_sets([own], PERMUTATIONS, SEED)[0]
        alike = (n for n in sorted(index.query(found)) if jaccard(own, shingles(texts[n].split())) >= threshold)
        first = lines.get((row.file, row.line)) or next((said[n] for n in alike), asked(row))
        said.append(lines.setdefault((row.file, row.line), _group(row, key) or first))
        index.insert(i, found)
    return said


def mix(rows: Iterable[Row], work: Work) -> Iterator[Row]:
    """Each source as often as `data.weights` says, then the general rows."""
    weights = work.recipe.data.weights
    if bad := [name for name, weight in weights.items() if not 0 <= weight <= 100]:
        raise InputError(*(Problem("must be between 0 and 100", key=f"data.weights.{name}") for name in bad))
    sources: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        sources[row.file].append(row)
    if unknown := set(weights) - {name for file in sources for name in _names(file)}:
        word = sorted(unknown)[0]
        known = [Path(file).name for file in sources]
        raise InputError(f"no such source{nearest(word, known)}", key=f"data.weights.{word}")
    draw = random.Random(work.recipe.train.seed)
    n = 0
    for file, own in sources.items():
        weight = next((weights[name] for name in _names(file) if name in weights), 1.0)
        whole, part = divmod(weight, 1)
        extra = set(draw.sample(range(len(own)), round(part * len(own))))
        for i, row in enumerate(own):
            times = int(whole) + (i in extra)
            if not times:
                work.drop(row, "mix", f"left out by the weight {weight:g} of its source")
            for _ in range(times):
                n += 1
                yield row
    yield from _replayed(n, work, draw)


def _names(file: str) -> tuple[str, ...]:
    """What `data.weights` may call a file: its path, its name, its name without ending (a dot ends a dotted key)."""
    return file, Path(file).name, Path(file).stem


def _replayed(n: int, work: Work, draw: random.Random) -> Iterator[Row]:
    """General rows against forgetting, as many as make `replay.share` of the whole, without the task's prompt."""
    replay = work.recipe.data.replay
    if not replay.files or not replay.share or not n:
        if replay.share and n:
            none = "data.replay.share=0 if no general rows are wanted, else data.replay.files=FILE with some"
            work.note("no general rows are mixed in: data.replay.files names none", none)
        return
    data = work.recipe.data.model_copy(update={"format": "", "columns": {}})
    loaded = load(replay.files, data, work.recipe.folder, "data.replay.files", work.dropped, [])
    marked = (replace(row, meta={**row.meta, "replay": True}) for row in loaded)
    closest, since = work.closest, len(work.dropped)
    pool = list(decontaminate(rules(marked, work), work))
    if work.base is None and (silent := [row for row in pool if row.answer == OWN_WORDS]):
        work.notes.append(f"{len(silent)} general rows are left out: the base that would answer them is not at hand")
        pool = [row for row in pool if row.answer != OWN_WORDS]
    work.closest = closest
    work.rename(since, "replay")
    wanted = round(n * replay.share / (1 - replay.share))
    if wanted > len(pool):
        share = math.floor(1000 * len(pool) / (n + len(pool))) / 1000
        work.note(
            f"only {len(pool)} general rows for the {wanted} that data.replay.share asks for",
            f"data.replay.share={share} asks for as many as there are; or add rows to data.replay.files",
        )
    drawn = [pool[i] for i in sorted(draw.sample(range(len(pool)), min(wanted, len(pool))))]
    if work.base is None:
        yield from drawn
        return
    # What must not be forgotten is what the base says, not what a file says.
    said = _said(drawn, work.base, replay.max_tokens, "replay", work)
    yield from (row for row in said if row)
