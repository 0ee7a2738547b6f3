"""The lead's side: progress, agreement, raters, disputes, work to open, users and exports, as JSON for `lead.js`."""

import json
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse
from sqlalchemy.engine import Engine

from evals import decisions, feedback, oversight, pairs, people, preferences, ratings, units, verdicts, voids
from evals import tables as t
from evals.grades import Grade
from evals.oversight import Batch
from evals.rubric import Rubric
from evals.scorecard import Graded, scorecard
from evals.slots import Plan
from factory.data.rows import Row
from factory.errors import FactoryError, InputError
from serve.pages import flow, versions
from serve.pages.app import json_body
from serve.pages.auth import ROLES, User, Users


def routes(web: FastAPI, engine: Engine, users: Users, leading: Callable[[Request], User]) -> None:
    """Everything under /api/lead and /export; `leading` refuses who is no lead."""

    @web.get("/api/lead")
    def overview(request: Request, batch: str = "") -> dict[str, Any]:
        who = leading(request)
        return {"user": who.name, "leads": True, **_overview(engine, users, batch)}

    @web.get("/api/lead/dispute")
    def dispute(request: Request, batch: str, output: str) -> dict[str, Any]:
        leading(request)
        _, rubric = _batch(engine, batch)
        found = oversight.dispute(engine, rubric, output)
        if found is None:
            raise HTTPException(404, "there is no such dispute")
        return {"rubric": flow.describe(rubric), **found.model_dump()}

    @web.post("/api/lead/{step}")
    async def act(request: Request, step: str) -> dict[str, Any]:
        who, given = leading(request), await json_body(request)
        if step == "adjudicate":
            _, rubric = _batch(engine, str(given.get("batch")))
            output, grades = str(given.get("output")), people.clean(rubric, given.get("draft"))
            if oversight.dispute(engine, rubric, output) is None:
                raise HTTPException(404, "nobody has graded this output")
            ratings.adjudicate(engine, output, rubric, who.name, grades, str(given.get("reason") or "")[:2000])
        elif step == "feedback":
            feedback.settle(engine, given.get("id"), who.name, given.get("accept") is True)
        elif step == "role":
            if given.get("user") == who.name:
                raise InputError("nobody changes their own role")
            users.set_role(str(given.get("user")), str(given.get("role")))
        elif step == "open":
            _open(engine, str(given.get("task")), given.get("versions"), bool(given.get("pairs")))
        else:
            raise HTTPException(404, "no such step")
        return {"user": who.name, "leads": True, **_overview(engine, users, str(given.get("batch") or ""))}

    @web.get("/export/{what}.jsonl")
    def export(request: Request, what: str, batch: str) -> StreamingResponse:
        leading(request)
        found, rubric = _batch(engine, batch)
        if what == "ratings":
            lines = oversight.export_ratings(engine, found, rubric)
        elif what == "pairs":
            lines = preferences.export(engine, found.task, rubric, flow.gate_share(found.task))
        else:
            raise HTTPException(404, "there is no such export")
        name = f"{what}-{found.id[:8]}.jsonl"
        return StreamingResponse(
            (json.dumps(line, ensure_ascii=False) + "\n" for line in lines),
            media_type="application/jsonl",
            headers={"content-disposition": f'attachment; filename="{name}"'},
        )


def _overview(engine: Engine, users: Users, chosen: str) -> dict[str, Any]:
    known = flow.offered()
    can_open = {task: {v: len(items) for v, items in mine.items()} for task, mine in _stored(engine).items()}
    found = oversight.batches(engine)
    batch = next((b for b in found if b.id == chosen), None) or next(iter(found), None)
    labels = {*(v for b in found for v in b.versions), *(v for mine in can_open.values() for v in mine)}
    tasks = versions.known()
    shown: dict[str, Any] = {
        "batches": [{**b.model_dump(), "stale": b.rubric not in known} for b in found],
        "users": [{"name": name, "role": user["role"]} for name, user in sorted(users.all().items())],
        "roles": ROLES,
        "by_proxy": bool(users.proxy_header),
        "can_open": can_open,
        "feedback": feedback.waiting(engine),
        "names": {label: versions.called(label, tasks) for label in labels},
    }
    if batch is None or batch.rubric not in known:
        return {**shown, "batch": batch.id if batch else None}
    rubric = known[batch.rubric]
    voids.misfits(engine, rubric)
    return {
        **shown,
        "batch": batch.id,
        "title": rubric.title,
        "agreement": {name: a.model_dump() for name, a in verdicts.agreement(engine, rubric, batch.id).items()},
        "raters": [row.model_dump() for row in oversight.raters(engine, rubric)],
        "disputes": verdicts.disputes(engine, rubric),
        "scores": _scores(engine, batch, rubric),
        "gate": _gate(engine, batch),
    }


def _scores(engine: Engine, batch: Batch, rubric: Rubric) -> dict[str, Any]:
    """What people make of the batch's outputs by now, all versions together: who settles disputes stays blind."""
    a = t.assignments.c
    query = sa.select(a.output).where(a.batch == batch.id, a.kind == "plain")
    mine = {output for (output,) in t.rows(engine, query)}
    graded = [
        Graded(Row(()), "", {name: Grade(level) for name, level in verdict.levels.items()})
        for output, verdict in verdicts.verdicts(engine, rubric, batch.id).items()
        if output in mine
    ]
    return scorecard(rubric, graded).model_dump(mode="json", include={"n", "good", "average", "poor", "dimensions"})


def _gate(engine: Engine, batch: Batch) -> list[dict[str, Any]]:
    """The last decision about each version of the batch: its sentence, the figures, and the labels it asks for."""
    found = [(version, decisions.latest(engine, version)) for version in batch.versions]
    return [
        {
            "version": version,
            "decision": run["decision"],
            "why": run["result"].get("why", ""),
            "sentence": run["result"].get("sentence", ""),
            "needed": run["result"].get("labels_needed"),
            "at": run["created"],
        }
        for version, run in found
        if run
    ]


def _stored(engine: Engine) -> dict[str, dict[str, dict[str, str]]]:
    """Task → version → item → the stored output that people could grade. The demo's feedback is none of them."""
    w, i = t.answers.c, t.items.c
    query = sa.select(i.task, w.version, w.item, w.output, i.meta).join(t.items, i.id == w.item)
    found: dict[str, dict[str, dict[str, str]]] = {}
    for task, version, item, output, meta in t.rows(engine, query):
        if not meta.get("from"):
            found.setdefault(task, {}).setdefault(version, {})[item] = output
    return found


def _open(engine: Engine, task: str, chosen: Any, as_pairs: bool) -> str:
    """Open a batch over the stored answers of the `chosen` versions under the task's rubric; as pairs of just two.

    Where the gate held two of them against an anchor too, its answers are labelled with theirs, chosen or not.
    """
    whole = isinstance(chosen, list) and all(isinstance(version, str) for version in chosen)
    if not whole or not chosen or (as_pairs and len(chosen) != 2):
        raise InputError("choose the versions; two of them for pairs")
    if (stored := _stored(engine).get(task)) is None:
        raise InputError(f"there are no stored answers for {task[:100]!r}: factory grade version=… makes them")
    rubric = flow.rubric_of(task)
    if not as_pairs:
        chosen = decisions.fix(engine, task, chosen, rubric)
    by_version = {version: stored[version] for version in chosen if version in stored}
    if not by_version:
        raise FactoryError("these versions have no stored answers yet: factory grade version=… makes them")
    if not as_pairs:
        sides: dict[str, list[str]] = {}
        for answers in by_version.values():
            for item, output in answers.items():
                sides.setdefault(item, []).append(output)
        return units.open_for_people(engine, task, rubric, chosen, sides)
    one, two = (by_version.get(version, {}) for version in chosen)
    return pairs.open_pairs(engine, task, rubric, [(one[item], two[item]) for item in one if item in two], Plan())


def _batch(engine: Engine, id_: str) -> tuple[Batch, Rubric]:
    found = next((b for b in oversight.batches(engine) if b.id == id_), None)
    rubric = flow.offered().get(found.rubric) if found else None
    if found is None or rubric is None:
        raise HTTPException(404, "there is no such batch, or its rubric has changed")
    voids.misfits(engine, rubric)
    return found, rubric
