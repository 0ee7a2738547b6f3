"""The registry as the pages show it: every version with its names, scores and date, newest first."""

import json
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any

from factory.base.build import label
from factory.data.rows import Row
from factory.errors import FactoryError
from factory.home import home
from factory.registry import aliases, store

EXAMPLES = 12
Stamp = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Known:
    """One version of a task. `live` if the task's plain name means it."""

    task: str
    ordinal: int
    version: store.Version
    created: str
    live: bool
    scorecard: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.task}@v{self.ordinal}"

    @property
    def base_model(self) -> str:
        """What the server calls the base of this version."""
        return label(self.version.facts.base)


def known() -> dict[str, list[Known]]:
    """All tasks with their versions, newest first. What cannot be read is left out."""
    return _read(stamp())  # every open page looks all the time: the files are read once for all of them


@lru_cache(maxsize=1)
def _read(stamp: Stamp) -> dict[str, list[Known]]:
    found: dict[str, list[Known]] = {}
    for task in aliases.registered():
        try:
            registry = aliases.read(task)
        except FactoryError:
            continue
        found[task] = []
        for entry in reversed(registry.versions):
            try:
                version = store.get(entry.sha)
            except FactoryError:
                continue
            live = registry.aliases.get("prod") == entry.sha
            card = store.noted(version, "scorecard") or {}
            found[task].append(Known(task, entry.ordinal, version, entry.created, live, card))
    return {task: versions for task, versions in found.items() if versions}


def stamp() -> Stamp:
    """Changes whenever the registry does, or what is noted of a version."""
    files = sorted([*home("registry").glob("*.json"), *home("notes").glob("*/*.json")])
    return tuple((str(file), (found := file.stat()).st_mtime_ns, found.st_ino) for file in files)


def live(versions: list[Known]) -> Known | None:
    return next((version for version in versions if version.live), None)


def called(label: str, tasks: dict[str, list[Known]]) -> str:
    """`summary@v2 · 1a2b3c4d5e6f` for the task and the hash that the server says; shortened where it is unknown."""
    task, _, sha = label.partition("@")
    found = next((v for v in tasks.get(task, []) if sha and v.version.sha.startswith(sha)), None)
    return f"{found.name} · {sha[: store.SHORT]}" if found else label.replace(sha, sha[: store.SHORT]) if sha else label


def examples(version: store.Version, limit: int | None = EXAMPLES) -> list[str]:
    """Inputs to try: the first eval rows that the version was graded on, where they are still here."""
    folder = home("data", str((store.noted(version, "data") or {}).get("hash", "none")))
    try:
        with open(folder / "eval.jsonl", encoding="utf-8") as lines:
            return list(dict.fromkeys(Row.of(json.loads(line)).source for line in islice(lines, limit)))
    except OSError:
        return []
