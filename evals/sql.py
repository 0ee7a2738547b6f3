"""Checks of a query by what it gives: run on every database of its schema beside the right one, and told apart.

*invalid*: no SQL over this schema; *refused*: SQL that is not allowed; *wrong*: it gives something else in at least one
database; *right*: the same rows in all of them, their order counting where the question asks for one.
"""

import datetime
import functools
import itertools
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from evals.grades import Grade, Limits
from factory.data.rows import Row
from factory.data.values import Fault
from factory.sql.guard import Access, Refused, bare, canonical
from factory.sql.layouts import opened

MOST = 1000  # rows that are compared
PERMUTED = 5  # columns up to which their order does not count
Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Outcome:
    kind: str
    why: str = ""
    exact: bool = False


def sql_valid(row: Row, output: str, limits: Limits) -> Grade | None:
    """One SELECT over the tables there are (else poor), made of what is allowed (else average)."""
    found = outcome(row.meta, output)
    if found is None:
        return None
    return Grade({"invalid": "poor", "refused": "average"}.get(found.kind, "good"), found.why)


def sql_result(row: Row, output: str, limits: Limits) -> Grade | None:
    """The right rows in every database."""
    found = outcome(row.meta, output)
    if found is None:
        return None
    return Grade("good" if found.kind == "right" else "poor", f"{found.kind}: {found.why}".rstrip(": "))


def sql_exact(row: Row, output: str, limits: Limits) -> Grade | None:
    """The right query itself, but for its spelling; another one is average, and one that does not run is poor."""
    found = outcome(row.meta, output)
    if found is None:
        return None
    return Grade("good" if found.exact else "poor" if found.kind in ("invalid", "refused") else "average")


def outcome(meta: dict[str, Any], output: str) -> Outcome | None:
    """What becomes of `output` as the answer to a row with this meta; None if the row's own query does not run."""
    asked = {key: meta.get(key) for key in ("db", "sql", "today", "context")}
    return _outcome(json.dumps(asked, sort_keys=True), bare(output)) if meta.get("db") and meta.get("sql") else None


@functools.lru_cache(4096)
def _outcome(asked: str, sql: str) -> Outcome | None:
    gold = _gold(asked)
    if gold is None:
        return None
    meta, (schema, databases), access = json.loads(asked), opened(json.loads(asked)["db"]), _access(asked)
    try:
        spelt = canonical(sql, schema, access)
        given = _results(sql, asked)
    except Refused as refused:
        return Outcome(refused.kind, refused.why)
    exact = spelt == canonical(meta["sql"], schema, access)
    for path, want, got in zip(databases, gold, given, strict=True):
        if not alike(want, got, _ordered(meta["sql"])):
            return Outcome("wrong", f"{len(got)} rows for {len(want)} in {path.stem}, or others", exact)
    return Outcome("right", "", exact)


def alike(want: Rows, got: Rows, ordered: bool) -> bool:
    """Whether two results are the same; the order of few columns never counts, that of rows if `ordered`."""
    if len(want) != len(got) or (want and len(want[0]) != len(got[0])):
        return False
    want, got = ([tuple(map(_plain, row)) for row in rows] for rows in (want, got))
    width = len(want[0]) if want else 0
    for order in itertools.permutations(range(width)) if width <= PERMUTED else [tuple(range(width))]:
        turned = [tuple(row[i] for i in order) for row in got]
        if turned == want if ordered else Counter(turned) == Counter(want):
            return True
    return False


def _plain(value: Any) -> Any:
    return float(f"{value:.9g}") if isinstance(value, int | float) else value


@functools.lru_cache(2048)
def _gold(asked: str) -> list[Rows] | None:
    try:
        return _results(json.loads(asked)["sql"], asked)
    except (Refused, Fault):
        return None


def _results(sql: str, asked: str) -> list[Rows]:
    from factory.sql.execute import run

    schema, databases = opened(json.loads(asked)["db"])
    return [run(sql, schema, path, _access(asked)).rows for path in databases]


def _access(asked: str) -> Access:
    meta = json.loads(asked)
    today = datetime.date.fromisoformat(meta["today"]) if meta["today"] else datetime.date.today()
    return Access(context=meta["context"] or {}, today=today, most=MOST)


@functools.lru_cache(2048)
def _ordered(sql: str) -> bool:
    """Whether the right query sorts more than one row."""
    import sqlglot

    tree = sqlglot.parse_one(sql, read="sqlite")
    limit = tree.args.get("limit")
    return bool(tree.args.get("order")) and not (limit and limit.expression.name == "1")
