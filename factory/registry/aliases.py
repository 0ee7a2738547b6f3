"""Names for versions: `summary@v2` by order, and aliases that move (`summary` means `summary@prod`).

One small file a task, `registry/<task>.json`, changed only under a lock and written whole; `generation` grows with
every change, so that a server or a second promoter sees at once that something moved.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from factory.errors import FactoryError, InputError
from factory.home import home, locked, write_file
from factory.kinds import TASK
from factory.registry import newer
from factory.registry.newer import Newer
from factory.registry.remote import meant
from factory.registry.store import SHORT, Version, get, verify
from factory.strict import Strict, nearest

Alias = Literal["prod", "canary", "anchor", "shadow"]
Changes = dict[str, object]  # fields of a registry


class Moved(FactoryError):
    """The registry is not any more what the caller decided on."""


class Entry(Strict):
    """One version of a task, in the order in which they came."""

    ordinal: int
    sha: str
    created: str
    base: str


class Registry(Strict):
    """Everything the registry knows of one task. `history` are the versions that `prod` pointed to, oldest first;
    `share` is the part of prod's requests, 0 to 1, that goes to the canary."""

    task: str
    generation: int = 0
    versions: tuple[Entry, ...] = ()
    aliases: dict[str, str] = {}
    history: tuple[str, ...] = ()
    share: float = 0.0

    def entry(self, sha: str) -> Entry | None:
        return next((e for e in self.versions if e.sha == sha), None)


def read(task: str) -> Registry:
    """The task's registry; an empty one if nothing was registered yet. InputError for what is no task's name."""
    try:
        return newer.read(Registry, _file(task).read_bytes())
    except FileNotFoundError:
        return Registry(task=task)
    except Newer as error:
        raise Newer(f"the registry of {task} {error}") from None
    except ValueError as error:
        raise FactoryError(f"the registry of {task} is damaged: {error}") from None


def registered() -> list[str]:
    """The tasks that have at least one version."""
    return sorted(path.stem for path in home("registry", "x").parent.glob("*.json"))


def register(version: Version) -> Entry:
    """Give a version its ordinal. A version that is there already keeps the one it has."""

    def change(now: Registry) -> Changes:
        if now.entry(version.sha):
            return {}
        ordinal = max((e.ordinal for e in now.versions), default=0) + 1
        created = datetime.now(UTC).isoformat(timespec="seconds")
        entry = Entry(ordinal=ordinal, sha=version.sha, created=created, base=version.facts.base)
        return {"versions": (*now.versions, entry)}

    entry = _change(version.task, change).entry(version.sha)
    assert entry is not None
    return entry


def point(
    version: Version, alias: Alias = "prod", *, expected: int | None = None, share: float | None = None
) -> Registry:
    """Let `alias` mean this version; a canary gets this `share` of the requests, by default what it has had. A canary
    that becomes `prod` is none any more.

    `expected` is the generation the caller decided on (compare-and-swap); if another one came first nothing changes and
    Moved says so.
    """

    def change(now: Registry) -> Changes:
        if expected is not None and now.generation != expected:
            raise Moved(f"{version.task} was changed by someone else meanwhile: look at it again and repeat")
        if not now.entry(version.sha):
            raise InputError(f"{version.short} is not registered")
        before = now.aliases.get(alias)
        if before == version.sha and share is None:
            return {}
        moved = {**now.aliases, alias: version.sha}
        changes: Changes = {"aliases": moved}
        if alias == "canary" and share is not None:
            changes["share"] = share
        if alias == "prod" and before and before != version.sha:
            changes["history"] = (*now.history, before)
        if alias == "prod" and moved.get("canary") == version.sha:
            del moved["canary"]
            changes["share"] = 0.0
        return changes

    return _change(version.task, change)


def rollback(task: str) -> Version:
    """Let `prod` mean again what it meant before the last promotion, or before the task was retired. InputError if
    there was nothing, FactoryError if that version is damaged or gone: then nothing has changed."""

    def change(now: Registry) -> Changes:
        if not now.history:
            raise InputError(f"{task} has no earlier version to go back to")
        verify(get(now.history[-1]))
        return {"aliases": {**now.aliases, "prod": now.history[-1]}, "history": now.history[:-1]}

    return get(_change(task, change, known=True).aliases["prod"])


def retire(task: str) -> Registry:
    """Let no name mean a version of the task any more: callers are told that it is not promoted. `rollback` brings
    `prod` back. InputError if nothing of it is promoted."""

    def change(now: Registry) -> Changes:
        if not now.aliases:
            raise InputError(f"no version of {task} is promoted, so there is nothing to retire")
        before = now.aliases.get("prod")
        return {"aliases": {}, "history": (*now.history, before) if before else now.history}

    return _change(task, change, known=True)


def drop(task: str, alias: Alias) -> Registry:
    """Let `alias` mean nothing."""
    return _change(task, lambda now: {"aliases": {n: sha for n, sha in now.aliases.items() if n != alias}}, known=True)


def anchor(registry: Registry) -> str | None:
    """What losses are held against besides production: the version `anchor` means, else the first that was promoted."""
    first = registry.history[0] if registry.history else registry.aliases.get("prod")
    return registry.aliases.get("anchor", first)


def resolve(name: str) -> Version:
    """`summary`, `summary@prod`, `summary@v2` or `summary@<sha, 6 characters or more>` as a version of the store."""
    task, _, which = name.partition("@")
    registry = read(task)
    which = which or "prod"
    if not registry.versions:
        raise _no_version(task)
    found = meant(which, registry.versions, registry.aliases)
    if len(found) != 1:
        newest = registry.versions[-1]
        known = [*registry.aliases, *(f"v{e.ordinal}" for e in registry.versions)]
        if which == "prod":
            raise InputError(f"no version of {task} is promoted yet: factory promote version={task}@v{newest.ordinal}")
        raise InputError(f"{task} has no version {which!r}{nearest(which, known)}")
    return get(found.pop())


def _file(task: str) -> Path:
    if not TASK.fullmatch(task) and task not in registered():  # what was trained under another name stays
        raise _no_version(task)
    return home("registry", f"{task}.json")


def _no_version(task: str) -> InputError:
    close = nearest(task, registered())
    todo = close if "did you mean" in close else f"; make one: factory train task={task}"
    return InputError(f"{task!r} has no version yet{todo}")


def label(version: Version) -> str:
    """`summary@v2 (1a2b3c4d5e6f)`: a version as people see it."""
    entry = read(version.task).entry(version.sha)
    return f"{version.task}@v{entry.ordinal} ({version.sha[:SHORT]})" if entry else version.short


def _change(task: str, change: Callable[[Registry], Changes], known: bool = False) -> Registry:
    """Write what `change` makes of the registry's fields, if that is new. `known`: InputError for a task without a
    version."""
    path = _file(task)
    if known and not read(task).versions:
        raise _no_version(task)
    with locked(path):
        before = read(task)
        after = before.model_copy(update=change(before))
        if after != before:
            after = after.model_copy(update={"generation": before.generation + 1})
            write_file(path, after.model_dump_json(indent=2) + "\n")
        return after
