"""Pairs to learn from (DPO): of two answers to one source, the one that people found strictly better.

Sources: composites that differ strictly (edited > good > average > poor), comparisons that all went one way, and what
users of the demo would have written instead of an answer, where a lead accepted it. Rows of a gate's split are left
out, whatever their white space and case: what decides about a version must never have trained it.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from evals import feedback, pairs, verdicts
from evals import tables as t
from evals.answers import gated
from evals.grades import BANDS
from evals.rubric import Rubric
from factory.data.words import normal

Pair = dict[str, Any]


def export(engine: Engine, task: str, rubric: Rubric, gate_share: float) -> Iterator[Pair]:
    """`{"prompt", "chosen", "rejected", "from"}`, each once. `gate_share`: how much of the eval rows the gate uses."""
    held_back, seen = _held_back(engine, task, gate_share), set()
    for pair in (*_by_composite(engine, task, rubric), *_by_comparison(engine, task, rubric), *_edited(engine, task)):
        key = (pair["prompt"], pair["chosen"], pair["rejected"])
        if normal(pair["prompt"]) not in held_back and key not in seen:
            seen.add(key)
            yield pair


def _held_back(engine: Engine, task: str, share: float) -> set[str]:
    """The sources of the gate's split, and eval rows that came in by the demo."""
    i = t.items.c
    return {
        normal(source)
        for item, source, meta in t.rows(engine, sa.select(i.id, i.source, i.meta).where(i.task == task))
        if meta.get("eval") or (meta.get("from") != feedback.WHO and gated(item, share))
    }


def _by_composite(engine: Engine, task: str, rubric: Rubric) -> Iterator[Pair]:
    """The best against the worst answer of an item, where every dimension that people decide was graded."""
    wanted = set(rubric.decided_by("people"))
    ranked: dict[str, list[tuple[int, str]]] = defaultdict(list)
    texts = _texts(engine, task)
    for output, verdict in verdicts.verdicts(engine, rubric).items():
        if output in texts and wanted <= verdict.levels.keys():
            bands = {name: rubric.dimension(name).band(verdict.levels[name]) for name in wanted}
            ranked[texts[output][0]].append((BANDS.index(rubric.compose(bands)), output))
    for found in ranked.values():
        (low, worst), (high, best) = min(found), max(found)
        if low < high:
            yield {**_pair(texts, best, worst), "from": f"{BANDS[high]} over {BANDS[low]}"}


def _by_comparison(engine: Engine, task: str, rubric: Rubric) -> Iterator[Pair]:
    """Compared pairs where nobody saw a tie or the other way round."""
    texts = _texts(engine, task)
    votes: dict[frozenset[str], set[pairs.Compared]] = defaultdict(set)
    for said in pairs.compared(engine, rubric.hash()):
        votes[frozenset((said.better, said.worse))].add(said)
    for one, *others in votes.values():
        if not others and not one.tie and one.better in texts and one.worse in texts:
            yield {**_pair(texts, one.better, one.worse), "from": "preferred"}


def _edited(engine: Engine, task: str) -> Iterator[Pair]:
    for said in feedback.given(engine, task):
        if said["accepted"] and said["wrote"] and said["wrote"] != said["answer"]:
            chosen = {"prompt": said["source"], "chosen": said["wrote"], "rejected": said["answer"]}
            yield {**chosen, "from": "edited"}


def _texts(engine: Engine, task: str) -> dict[str, tuple[str, str, str]]:
    """Output id to (item, source, text)."""
    i, o = t.items.c, t.outputs.c
    query = sa.select(o.id, o.item, i.source, o.text).join(t.items, i.id == o.item).where(i.task == task)
    return {id_: (item, source, text) for id_, item, source, text in t.rows(engine, query)}


def _pair(texts: dict[str, tuple[str, str, str]], best: str, worst: str) -> Pair:
    return {"prompt": texts[best][1], "chosen": texts[best][2], "rejected": texts[worst][2]}
