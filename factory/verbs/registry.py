"""`factory list`, `show`, `grade`, `promote` and `rollback`: what the registry holds, what that is worth, and which
version a task's name means."""

from functools import partial
from typing import Any

from rich.markup import escape

from evals import decisions
from evals.show import lines as show_lines
from factory.base.build import label
from factory.data.exam import edited
from factory.errors import FactoryError, InputError
from factory.home import digest, shown
from factory.pipeline.grade import grade_again, terms_today
from factory.recipe import tasks
from factory.registry import aliases, store
from factory.registry.newer import Newer
from factory.registry.store import Version
from factory.strict import nearest
from factory.terminal import err, out, percent, table
from factory.verbs import hub
from serve import remote


def listing(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """All tasks with their versions, newest last; of another registry with `registry=`."""
    if registry_there := arguments.get("registry"):
        return hub.listing(registry_there, arguments.get("task", ""), quiet)
    found = []
    wanted, here = arguments.get("task"), aliases.registered()
    if wanted and wanted not in {*here, *tasks()}:
        raise InputError(f"no task {wanted!r}{nearest(wanted, {*here, *tasks()})}")
    faults: list[str] = []
    seen: dict[str, str] = {}
    for task in [wanted] if wanted else here:
        try:
            registry = aliases.read(task)
        except FactoryError as error:
            faults.append(str(error))
            continue
        for entry in registry.versions:
            card = store.noted(entry.sha, "scorecard") or {}
            fault = state = ""
            try:
                store.get(entry.sha)
            except FactoryError as error:
                faults.append(fault := str(error))
                state = "of a newer release" if isinstance(error, Newer) else "damaged"
            names = sorted(name for name, sha in registry.aliases.items() if sha == entry.sha)
            found.append(
                {
                    "task": task,
                    "version": f"{task}@{entry.sha}",
                    "ordinal": entry.ordinal,
                    "aliases": names,
                    "base": label(entry.base),
                    "created": entry.created,
                    "scorecard": {k: card[k] for k in ("n", "good", "average", "poor") if k in card},
                    "fault": fault or None,
                    "state": state or None,
                    "rows_edited": _edited(task, entry.sha, seen) or None,
                }
            )
    for text in faults:
        err.print(text, style="yellow", markup=False, soft_wrap=True)
    console = out(quiet)
    if found:
        columns = ["version", "is", "good", "poor", "base", "created", "hash"]
        console.print(table("", columns, [_row(version) for version in found]))
    else:
        what = f"task={wanted}" if wanted else f"task=… (tasks here: {', '.join(tasks())})"
        console.print(f"no versions yet; train one: factory train {what}")
    return {"versions": found}


def show(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """One version: what it is made of, what it scored, where its files lie."""
    version = aliases.resolve(arguments["version"])
    registry = aliases.read(version.task)
    entry = registry.entry(version.sha)
    result = {
        "task": version.task,
        "version": version.name,
        "ordinal": entry.ordinal if entry else None,
        "sha": version.sha,
        "aliases": sorted(name for name, sha in registry.aliases.items() if sha == version.sha),
        "folder": str(version.folder),
        "created": entry.created if entry else None,
        **version.facts.model_dump(mode="json"),
        "base": label(version.facts.base),
        "base_name": version.facts.base,  # what base= takes: of a folder the whole path
        **{
            name: found
            for name in ("scorecard", "gate", "run", "adopted")
            if (found := store.noted(version, name)) is not None
        },
    }
    if other := edited(version.task, store.noted(version, "exam")):
        result["rows_edited"] = other
    console = out(quiet)
    for key, value in result.items():
        if key == "rows_edited":
            value = f"{value}: its scores are of other rows than today's"
        elif key == "scorecard":
            value = f"good {percent(value.get('good'))}, poor {percent(value.get('poor'))} of {value['n']} eval rows"
        elif key == "gate":
            value = f"{value['decision']}: {value.get('why', '')}"
        elif isinstance(value, dict):
            value = ", ".join(f"{name} {item}" for name, item in value.items())
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        console.print(f"[bold]{key:<14}[/] {escape(str(value))}")
    return result


def grade(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Grade a version on its task's eval rows, decide by the recipe's plan, and leave the report beside it."""
    version = aliases.resolve(arguments["version"])
    label = arguments.get("label", "")
    found = grade_again(version, changes, arguments.get("against", "prod"), label)
    console = out(quiet)
    for note in (store.noted(version, "data") or {}).get("notes", []):
        console.print(f"note: {note}", markup=False)
    for line in show_lines(found):
        console.print(line)
    console.print(f"the whole report: {shown(version.notes('report.html'))}")
    if label:
        console.print("people can label these pairs now: factory rate")
    return found.to_json()


def promote(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Let the task's name mean this version, or with `canary=10%` give it that share of the callers.

    The gate must have said PROMOTE against what is in production now, and its plan, rubric, rows and judge must be
    today's; `force="reason"` overrides it for a day and is recorded. `as=anchor` promotes nothing: it makes the version
    the one that losses are held against besides production (else the first that was promoted is).
    A server that runs over this home does it without dropping a request; without one only the registry changes.
    """
    version = aliases.resolve(arguments["version"])
    store.verify(version)
    share = _share(arguments.get("canary", "100%"))
    if name := arguments.get("as"):
        return _anchor(version, name, quiet)
    force, expected = arguments.get("force", ""), aliases.read(version.task).generation
    if not force:
        decisions.admit(version, today=partial(terms_today, version))
    served = remote.promote(version.name, share, force=force)
    if served is None:
        if force:
            decisions.admit(version, force)
        aliases.point(version, "prod" if share == 1 else "canary", expected=expected, share=share)
    what = "is now" if share == 1 else f"goes to {share:.0%} of the callers (by user, else of the requests) as"
    where = "served at once" if served else "no server is running here"
    out(quiet).print(f"{version.task} {what} {aliases.label(version)}; {where}")
    return {
        "task": version.task,
        "version": version.name,
        "share": share,
        "generation": aliases.read(version.task).generation,
        "served": served is not None,
    }


def _anchor(version: Version, name: str, quiet: bool) -> dict[str, Any]:
    if name != "anchor":
        raise InputError(f"as={name}: only anchor, the version that losses are held against besides production")
    aliases.point(version, "anchor")
    out(quiet).print(f"losses of {version.task} are held against {aliases.label(version)} from now on")
    return {"task": version.task, "version": version.name, "anchor": True}


def rollback(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Let the task's name mean again what it meant before."""
    task = arguments["task"]
    served = remote.rollback(task)
    version = aliases.resolve(task) if served else aliases.rollback(task)
    out(quiet).print(f"{task} is {aliases.label(version)} again")
    return {"task": task, "version": version.name, "generation": aliases.read(task).generation}


def retire(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Take a task out of production, whether its folder is still there or not. Its versions stay."""
    registry = aliases.retire(task := arguments["task"])
    out(quiet).print(
        f"{task} is out of production: a server tells its callers so from now on. Its versions can still be asked by "
        f"their numbers; back with\n  factory rollback task={task}"
    )
    return {"task": task, "generation": registry.generation}


def shadow(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Send a copy of a task's requests to another version, whose answers are only recorded."""
    name = arguments.get("version", "")
    if remote.shadow(arguments["task"], aliases.resolve(name).name if name else "") is None:
        raise InputError("no server is running here: factory serve")
    out(quiet).print(f"{arguments['task']} is shadowed by {name}" if name else f"{arguments['task']} has no shadow now")
    return {"task": arguments["task"], "shadow": name or None}


def _edited(task: str, sha: str, seen: dict[str, str]) -> str:
    """`exam.edited` of a version; of those that were graded on the same files, the files are read once."""
    noted = store.noted(sha, "exam")
    key = digest([task, noted])
    if key not in seen:
        seen[key] = edited(task, noted)
    return seen[key]


def _share(text: str) -> float:
    try:
        share = float(text.removesuffix("%")) / 100
    except ValueError:
        share = 0
    if not 0 < share <= 1:
        raise InputError(f"canary={text}: must be a share of the callers between 0 and 100%")
    if "%" not in text and share <= 0.01:  # 0.1 may mean a tenth or a thousandth
        raise InputError(f"canary={text}: say which, canary={100 * float(text):g}% or canary={text}%")
    return share


def _row(version: dict[str, Any]) -> list[str]:
    remarks = (version["state"], "graded on other rows" if version["rows_edited"] else None)
    what = ", ".join([*version["aliases"], *filter(None, remarks)])
    return hub.row(version, what, version["base"], version["created"][:16].replace("T", " "), hub.hash_of(version))
