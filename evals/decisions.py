"""What the gate decided, when, on which rows and by which plan; and whether that lets a version into production.

Every run is logged and none is ever changed. A decision counts for the production version it was made against and
under the terms it was made under (`evals.frozen`): when another version has been promoted since, or the plan, the
rubric, the rows or the judge have changed, the candidate has to be graded again. An override is a line of its own, no
decision of the gate, and lets a version in for a day.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from evals import frozen
from evals import rubric as rubrics
from evals import tables as t
from evals.frozen import short
from evals.gate import Verdict
from evals.rubric import Rubric
from factory import recipe as recipes
from factory.data.exam import edited
from factory.data.rows import Row
from factory.errors import GateRefused, InputError
from factory.registry import aliases, store
from factory.registry.store import Version

FORCE_SECONDS = 24 * 3600.0  # how long an override lets the same step be taken


def log(engine: Engine, task: str, version: str, against: str, split: str, rubric: str, verdict: Verdict) -> None:
    """Keep a gate run. `split` is the hash of its rows."""
    values = {"task": task, "version": version, "against": against, "split": split, "rubric": rubric, "forced": ""}
    result = verdict.model_dump(mode="json")
    t.add(engine, t.gate_runs, **values, plan=verdict.plan_hash, decision=verdict.decision, result=result)


def used_before(engine: Engine, task: str, rows: Sequence[Row], version: str) -> int:
    """How many other versions were decided on these rows: each time they tell a little less about the next.

    On most of them is enough: a row that was edited, added or taken out makes no new exam of the others.
    """
    g, a = t.gate_runs.c, t.answers.c
    decided = sa.select(g.version).where(g.task == task, g.version != version)
    keys = {row.key() for row in rows}
    found = t.rows(engine, sa.select(a.version, a.item).where(a.version.in_(decided)))
    seen = Counter(name for name, item in found if item in keys)
    return sum(2 * count > len(keys) for count in seen.values())


def latest(engine: Engine, version: str, against: str | None = None) -> dict[str, Any] | None:
    """The gate's last run on a version (against another one), as a dict of the table's columns, or None."""
    g = t.gate_runs.c
    return _last(engine, g.version == version, g.forced == "", *([g.against == against] if against is not None else []))


def overridden(engine: Engine, version: str, against: str) -> dict[str, Any] | None:
    """The last override of the gate for this very step, or None."""
    g = t.gate_runs.c
    return _last(engine, g.version == version, g.against == against, g.forced != "")


def looks(engine: Engine, version: str, against: str, rubric: str) -> int:
    """How often the gate has looked at this comparison until now."""
    g = t.gate_runs.c
    query = sa.select(sa.func.count()).where(
        g.version == version, g.against == against, g.rubric == rubric, g.forced == ""
    )
    return int(t.rows(engine, query)[0][0])


def fix(engine: Engine, task: str, versions: Sequence[str], rubric: Rubric) -> list[str]:
    """People are about to label these versions side by side: fix the terms under which the gate last compared two.

    Returns the versions with the anchors of these terms: without an anchor's labels the gate could not decide.
    """
    found = [*versions]
    for version in versions:
        for against in versions:
            run = latest(engine, version, against) if version != against else None
            if run and run["rubric"] == rubric.hash() and (terms := run["result"].get("terms")):
                frozen.freeze(engine, task, version, against, rubric, terms)
                found += [terms["anchor"]] if terms["anchor"] else []
    return list(dict.fromkeys(found))


def allow(
    engine: Engine, version: str, against: str, force: str = "", today: frozen.Terms | None = None
) -> dict[str, Any] | None:
    """Let `version` replace `against` (empty if nothing is in production), or raise GateRefused with why.

    `force` is the reason of somebody who overrides the gate: it is logged and lets this step be taken for
    FORCE_SECONDS. `today` are the terms as they are now, to be those of the gate's run.
    """
    run = latest(engine, version)
    if force:
        if len(force.split()) < 2:
            raise InputError('say why the gate is overridden, in words: force="hotfix for the wrong amounts, see #12"')
        never = {"split": "", "rubric": "", "plan": "", "decision": "INCONCLUSIVE", "result": {"why": "never graded"}}
        kept = {key: (run or never)[key] for key in never}
        task = version.partition("@")[0]
        t.add(engine, t.gate_runs, **kept, task=task, version=version, against=against, forced=force)
        return run
    forced = overridden(engine, version, against)
    if forced and forced["created"] > time.time() - FORCE_SECONDS:
        return forced
    again = f"factory grade version={short(version)}" + (" against=prod" if against else "")
    if run is None:
        raise GateRefused("INCONCLUSIVE", f"{short(version)} was never graded: {again}")
    if run["decision"] != "PROMOTE":
        old = " (the override of then has expired)" if forced else ""
        raise GateRefused(run["decision"], run["result"]["why"] + old)
    if run["against"] != against:
        then, now = (short(name) or "nothing" for name in (run["against"], against))
        why = f"{short(version)} was graded against {then}, but {now} is in production: {again}"
        raise GateRefused("INCONCLUSIVE", why)
    what, todo = f"the gate said PROMOTE to {short(version)}", f"put it back, or grade again: {again}"
    frozen.hold(run["result"].get("terms") or {}, today or {}, what, todo)
    return run


def admit(version: Version, force: str = "", today: Callable[[], frozen.Terms] | None = None) -> None:
    """Ask the gate before an alias moves to `version`, whoever moves it: GateRefused with why it may not.

    `today` gives the terms as they are now, rows and judges included; without it the plan, the rubric and the anchor
    are looked up, and the rows as they were noted when the version was graded.
    """
    engine, now = t.open_database(), aliases.read(version.task).aliases.get("prod", "")
    if now == version.sha:
        return
    run = None if force else latest(engine, version.name)
    if run and run["decision"] == "PROMOTE":
        same_rows(version)
    terms = (today or partial(terms_today, version))() if run and run["result"].get("terms") else None
    allow(engine, version.name, store.name_of(version.task, now), force, terms)


def terms_today(
    version: Version, rows: Sequence[Row] | None = None, judges: Mapping[str, str] | None = None
) -> frozen.Terms:
    """Under what the gate would decide on `version` now; nothing of a task that has no recipe here."""
    if version.task not in recipes.tasks():
        return {}
    recipe = recipes.load(version.task)
    anchor = store.name_of(version.task, anchor_of(version))
    return frozen.terms(recipe.gate, rubrics.load(recipe.rubric), rows, judges, anchor)


def anchor_of(version: Version) -> str:
    """The sha of the anchor, where something is in production and the anchor is neither that nor `version`."""
    registry = aliases.read(version.task)
    production, anchor = registry.aliases.get("prod"), aliases.anchor(registry)
    return anchor if anchor and production and anchor not in (production, version.sha) else ""


def same_rows(version: Version) -> None:
    """GateRefused where the eval rows are others by now than those that the version was graded on."""
    if other := edited(version.task, store.noted(version, "exam")):
        again = f"factory grade version={version.short}"
        raise GateRefused("INCONCLUSIVE", f"{version.short} was graded on other rows ({other}): grade again: {again}")


def _last(engine: Engine, *where: Any) -> dict[str, Any] | None:
    query = sa.select(t.gate_runs).where(*where).order_by(t.gate_runs.c.id.desc()).limit(1)
    return next((dict(row._mapping) for row in t.rows(engine, query)), None)
