"""What the gate decided, when, on which rows and by which plan; and whether that lets a version into production.

Every run is logged and none is ever changed. A decision counts for the production version it was made against: when
another version has been promoted since, the candidate has to be graded again.
"""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from evals import tables as t
from evals.gate import Verdict
from factory.data.exam import edited
from factory.errors import GateRefused, InputError
from factory.registry import aliases, store
from factory.registry.store import SHORT, Version


def log(
    engine: Engine, task: str, version: str, against: str, split: str, rubric: str, verdict: Verdict, forced: str = ""
) -> None:
    """Keep a gate run. `split` is the hash of its rows; `forced` the reason of an override."""
    values = {"task": task, "version": version, "against": against, "split": split, "rubric": rubric, "forced": forced}
    with t.writing(engine) as c:
        c.execute(
            sa.insert(t.gate_runs).values(
                **values,
                plan=verdict.plan_hash,
                decision=verdict.decision,
                result=verdict.model_dump(mode="json"),
                created=time.time(),
            )
        )


def used_before(engine: Engine, task: str, split: str, version: str) -> int:
    """How many other versions were decided on these very rows: each time they tell a little less about the next."""
    g = t.gate_runs.c
    query = sa.select(sa.func.count(sa.distinct(g.version))).where(
        g.task == task, g.split == split, g.version != version
    )
    with t.reading(engine) as c:
        return int(c.execute(query).scalar() or 0)


def latest(engine: Engine, version: str) -> dict[str, Any] | None:
    """The last gate run of a version as a dict of the table's columns, or None."""
    g = t.gate_runs.c
    with t.reading(engine) as c:
        row = c.execute(sa.select(t.gate_runs).where(g.version == version).order_by(g.id.desc()).limit(1)).mappings()
        found = row.first()
        return dict(found) if found else None


def allow(engine: Engine, version: str, against: str, force: str = "") -> dict[str, Any] | None:
    """Let `version` replace `against` (empty if nothing is in production), or raise GateRefused with why.

    `force` is the reason of somebody who overrides the gate: it is logged with the decision it overrides.
    """
    run = latest(engine, version)
    if force:
        if len(force.split()) < 2:
            raise InputError('say why the gate is overridden, in words: force="hotfix for the wrong amounts, see #12"')
        _override(engine, version, against, run, force)
        return run
    again = f"factory grade version={_short(version)}" + (" against=prod" if against else "")
    if run is None:
        raise GateRefused("INCONCLUSIVE", f"{_short(version)} was never graded: {again}")
    if run["decision"] != "PROMOTE" and not run["forced"]:
        raise GateRefused(run["decision"], run["result"]["why"])
    if run["against"] != against:
        then, now = (_short(name) or "nothing" for name in (run["against"], against))
        why = f"{_short(version)} was graded against {then}, but {now} is in production: {again}"
        raise GateRefused("INCONCLUSIVE", why)
    return run


def admit(version: Version, force: str = "") -> None:
    """Ask the gate before an alias moves to `version`, whoever moves it: GateRefused with why it may not."""
    now = aliases.read(version.task).aliases.get("prod", "")
    if now != version.sha:
        allow(t.open_database(), version.name, store.name_of(version.task, now), force)
        if not force:
            same_rows(version)


def same_rows(version: Version) -> None:
    """GateRefused where the eval rows are others by now than those that the version was graded on."""
    if other := edited(version.task, store.noted(version, "exam")):
        again = f"factory grade version={version.short}"
        raise GateRefused("INCONCLUSIVE", f"{version.short} was graded on other rows ({other}): grade again: {again}")


def _short(version: str) -> str:
    """A version's name as people read it."""
    task, at, sha = version.partition("@")
    return f"{task}{at}{sha[:SHORT]}"


def _override(engine: Engine, version: str, against: str, run: dict[str, Any] | None, reason: str) -> None:
    task = version.partition("@")[0]
    known = run or {
        "split": "",
        "rubric": "",
        "plan": "",
        "decision": "INCONCLUSIVE",
        "result": {"why": "never graded"},
    }
    kept = {k: known[k] for k in ("split", "rubric", "plan", "decision", "result")}
    with t.writing(engine) as c:
        c.execute(
            sa.insert(t.gate_runs).values(
                **kept, task=task, version=version, against=against, forced=reason, created=time.time()
            )
        )
