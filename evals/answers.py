"""The answers of versions in the ratings database: stored once, graded once, reused ever after.

Equal texts for one item are one output, whoever wrote them: what was graded for one version counts for the next.
"""

import time
from collections.abc import Callable, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from evals import tables as t
from factory.data.rows import Row
from factory.home import digest

Answer = Callable[[Sequence[Row]], list[str]]


def output_id(item: str, text: str) -> str:
    return digest([item, text])


def gated(item: str, share: float) -> bool:
    """Whether an item is of the gate's split: the `share` of eval rows that the plan says, chosen by their hash."""
    return int(digest(["gate", item])[:8], 16) / 16**8 < share


def record(engine: Engine, task: str, version: str, rows: Sequence[Row], texts: Sequence[str]) -> list[str]:
    """Store a version's answers, one for each row. Returns the outputs' ids."""
    items, outputs = {}, {}
    ids, now = [], time.time()
    for row, text in zip(rows, texts, strict=True):
        item = row.key()
        ids.append((item, output_id(item, text)))
        items[item] = {"id": item, "task": task, "source": row.source, "reference": row.answer, "meta": row.meta}
        outputs[ids[-1][1]] = {"id": ids[-1][1], "item": item, "text": text}
    with t.writing(engine) as c:
        t.insert_new(c, t.items, [*items.values()])
        t.insert_new(c, t.outputs, [*outputs.values()])
        t.insert_new(c, t.answers, [{"version": version, "item": i, "output": o, "created": now} for i, o in ids])
    return [o for _, o in ids]


def stored(engine: Engine, version: str) -> dict[str, str]:
    """The stored answers of a version: the row's key to the text."""
    query = sa.select(t.answers.c.item, t.outputs.c.text).join(t.outputs, t.outputs.c.id == t.answers.c.output)
    return {item: text for item, text in t.rows(engine, query.where(t.answers.c.version == version))}


def stored_first(engine: Engine, version: str, answer: Answer) -> Answer:
    """`answer` asked only about the rows of which no answer of the version is stored; nothing is asked twice."""
    known = stored(engine, version)

    def ask(rows: Sequence[Row]) -> list[str]:
        if new := [row for row in rows if row.key() not in known]:
            known.update(zip((row.key() for row in new), answer(new), strict=True))
        return [known[row.key()] for row in rows]

    return ask
