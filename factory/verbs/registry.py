"""`factory list`, `show`, `promote` and `rollback`: what the registry holds, and which version a task's name means."""

from __future__ import annotations

from typing import Any

from factory.recipe import tasks
from factory.registry import aliases, store
from factory.terminal import out, percent, table


def listing(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """All tasks with their versions, newest last."""
    found = []
    for task in [arguments["task"]] if arguments.get("task") else aliases.registered():
        registry = aliases.read(task)
        for entry in registry.versions:
            card = store.noted(store.get(entry.sha), "scorecard") or {}
            names = sorted(name for name, sha in registry.aliases.items() if sha == entry.sha)
            found.append(
                {
                    "task": task,
                    "version": f"{task}@{entry.sha[: store.SHORT]}",
                    "ordinal": entry.ordinal,
                    "aliases": names,
                    "base": entry.base,
                    "created": entry.created,
                    "scorecard": {k: card[k] for k in ("n", "good", "average", "poor") if k in card},
                }
            )
    console = out(quiet)
    if found:
        columns = ["version", "is", "good", "poor", "base", "created", "hash"]
        console.print(table("", columns, [_row(version) for version in found]))
    else:
        missing = ", ".join(tasks())
        console.print(f"no versions yet; train one: factory train task=… (tasks here: {missing})")
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
        **{name: found for name in ("scorecard", "run", "gate") if (found := store.noted(version, name)) is not None},
    }
    console = out(quiet)
    for key, value in result.items():
        if key == "scorecard":
            value = f"good {percent(value.get('good'))}, poor {percent(value.get('poor'))} of {value['n']} eval rows"
        console.print(f"[bold]{key:<14}[/] {value}")
    return result


def promote(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Let the task's name mean this version; a version whose content is damaged is refused."""
    version = aliases.resolve(arguments["version"])
    store.verify(version)
    registry = aliases.point(version)
    out(quiet).print(f"{version.task} is now {aliases.label(version)}")
    return {"task": version.task, "version": version.name, "generation": registry.generation}


def rollback(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    version = aliases.rollback(arguments["task"])
    out(quiet).print(f"{version.task} is {aliases.label(version)} again")
    return {"task": version.task, "version": version.name, "generation": aliases.read(version.task).generation}


def _row(version: dict[str, Any]) -> list[str]:
    card = version["scorecard"]
    return [
        f"{version['task']}@v{version['ordinal']}",
        " ".join(version["aliases"]),
        percent(card.get("good")),
        percent(card.get("poor")),
        version["base"],
        version["created"][:16].replace("T", " "),
        version["version"].partition("@")[2],
    ]
