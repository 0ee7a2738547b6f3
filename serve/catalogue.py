"""The registry and the store as the server reads them: a damaged or hostile entry is reported and left out."""

import json
import logging
import re

from factory.errors import FactoryError
from factory.home import home
from factory.kinds import TASK
from factory.registry import aliases, store
from factory.registry.aliases import Registry
from factory.registry.preflight import MAX_CONFIG, Refused, plain_file
from factory.registry.store import CONFIG, FACTS, Version
from serve.process import Size

log = logging.getLogger("serve.catalogue")
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # what vLLM can be built for
MAX_RANK = 128  # what a version may ask for just by being registered


def read_registries() -> dict[str, Registry]:
    """All tasks' registries."""
    found = {}
    for task in aliases.registered():
        try:
            if TASK.fullmatch(task):
                found[task] = aliases.read(task)
        except FactoryError as error:
            log.error("%s", error)
    return found


def read_versions(registries: dict[str, Registry], known: dict[str, Version]) -> dict[str, Version]:
    """All registered versions by hash. What is known is not read again: versions never change."""
    found = {}
    for registry in registries.values():
        for entry in registry.versions:
            try:
                found[entry.sha] = known.get(entry.sha) or _version(entry.sha, registry.task)
            except FactoryError as error:
                log.error("%s@v%d cannot be served: %s", registry.task, entry.ordinal, error)
    return found


def size_for(versions: list[Version]) -> Size:
    """An engine with room for the highest rank among the versions of its base, up to MAX_RANK: ranks cost memory."""
    highest = max((rank for version in versions if (rank := _rank(version)) <= MAX_RANK), default=0)
    return Size(rank=next((rank for rank in RANKS if rank >= max(highest, Size.rank)), RANKS[-1]))


def _version(sha: str, task: str) -> Version:
    if not re.fullmatch(r"[0-9a-f]{64}", sha):
        raise Refused(f"{sha[:80]!r} is no hash")
    plain_file(home("store", sha) / FACTS, 16 * MAX_CONFIG)
    version = store.get(sha)
    if version.task != task:
        raise Refused(f"it is a version of {version.task[:80]!r}")
    return version


def _rank(version: Version) -> int:
    """The highest rank of any module of an adapter; 0 if its config is not right, which the preflight will tell."""
    try:
        plain_file(version.folder / CONFIG, MAX_CONFIG)
        config = json.loads((version.folder / CONFIG).read_text())
        return max(int(config["r"]), *map(int, (config.get("rank_pattern") or {"": 0}).values()))
    except (Refused, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return 0
