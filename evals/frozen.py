"""What a comparison is decided under, and that it stays so from the first label or judge's call to the promotion.

The terms are every key of the plan, the rubric's text, the rows with all that is known of them, the judges with their
settings, and the versions. Whoever saw a label could choose margins, rows or a judge to suit it; so the first terms are
kept for each comparison and rubric (a changed rubric needs new labels, and is a new comparison), and any others are
refused with what differs. `factory promote` holds the run's terms against today's in the same way.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from evals import tables as t
from evals.rubric import Rubric
from factory.data.rows import Row
from factory.errors import GateRefused
from factory.home import digest
from factory.recipe import Gate
from factory.registry.store import SHORT

Terms = dict[str, Any]
PARTS = {"plan": ("gate.", "rubric", "rows", "anchor"), "judge": ("judge",)}


def split_of(rows: Iterable[Row]) -> str:
    """A hash of the rows with their labels and all else that checks read."""
    return digest(sorted(digest([row.key(), row.meta]) for row in rows))


def terms(
    plan: Gate, rubric: Rubric, rows: Sequence[Row] | None, judges: Mapping[str, str] | None, anchor: str
) -> Terms:
    """Today's terms. Rows or judges that are not known here (None) are left out, and then not compared."""
    found: Terms = {f"gate.{key}": value for key, value in plan.model_dump(mode="json").items()}
    found |= {"rubric": f"{rubric.name} {rubric.hash()[:12]}", "anchor": anchor}
    if rows is not None:
        found["rows"] = split_of(rows)[:12]
    if judges is not None:
        found["judge"] = ", ".join(f"{name} {identity}" for name, identity in sorted(judges.items()))
    return found


def freeze(engine: Engine, task: str, version: str, against: str, rubric: Rubric, now: Terms) -> None:
    """Keep `now` as the comparison's terms, or raise GateRefused with what differs from those that were kept before.

    The judge is frozen apart from the rest: it may be called for the first time after people have begun.
    """
    p, which = t.plans.c, [task, version, against, rubric.hash()]
    ids = {part: digest([*which, part]) for part in PARTS}
    rows = []
    for part, keys in PARTS.items():
        kept = {key: value for key, value in now.items() if key.startswith(keys)}
        if kept and (part != "judge" or kept["judge"]):
            values = {"task": task, "version": version, "against": against, "terms": kept, "created": time.time()}
            rows.append({"id": ids[part], **values})
    with t.writing(engine) as c:
        t.insert_new(c, t.plans, rows)
        found = c.execute(sa.select(p.terms, p.created).where(p.id.in_(ids.values()))).all()
    then: Terms = {}
    for kept, _ in found:
        then |= kept
    since = datetime.fromtimestamp(min(created for _, created in found), UTC).strftime("%d %B %Y, %H:%M UTC")
    what = (
        f"the plan of {short(version)} against {short(against) or 'nothing'} was fixed with its first label ({since})"
    )
    hold(then, now, what, "put it back, or make a new version and label that")


def hold(then: Terms, now: Terms, what: str, todo: str) -> None:
    """GateRefused with everything that differs between the two terms, where both know of it."""
    changed = [
        f"{key} was {_said(then[key])}, is {_said(now[key])}" for key in then if then[key] != now.get(key, then[key])
    ]
    if changed:
        raise GateRefused("INCONCLUSIVE", f"{what}, and this differs now: {'; '.join(changed)}. What to do: {todo}")


def short(version: str) -> str:
    """A version's name as people read it."""
    task, at, sha = version.partition("@")
    return f"{task}{at}{sha[:SHORT]}"


def _said(value: Any) -> str:
    return "none" if value in ("", [], None) else str(value)
