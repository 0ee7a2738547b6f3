"""What servers before kept beside the registry, taken into it once: the canary's share and the shadow.

Their journal was a file of lines, `<crc32 as 8 hex digits> {"task": …, "canary": …, "share": …, "shadow": …, …}`; the
last whole one of a task counts. The registry's files are the only truth since then.
"""

from __future__ import annotations

import json
import logging
import zlib
from typing import Any

from factory.errors import FactoryError
from factory.home import home
from factory.registry import aliases, store

log = logging.getLogger("serve.journal")


def adopt() -> None:
    """Take the journal into the registry, and remove it."""
    path = home("serve", "journal")
    if not path.exists():
        return
    states = {state["task"]: state for state in map(_read, path.read_bytes().split(b"\n")) if state}
    for task, state in states.items():
        now = aliases.read(task)
        try:
            if state["share"] and not now.share and state["canary"] == now.aliases.get("canary"):
                aliases.point(store.get(state["canary"]), "canary", share=state["share"])
            if state["shadow"]:
                aliases.point(store.get(state["shadow"]), "shadow")
        except FactoryError as error:
            log.warning("the journal's state of %s is left out: %s", task, error)
    path.unlink()


def _read(line: bytes) -> dict[str, Any] | None:
    """The state of a line, or None for one that is empty, torn or changed."""
    checksum, _, text = line.partition(b" ")
    try:
        state = json.loads(text) if int(checksum or b"0", 16) == zlib.crc32(text) else None
    except ValueError:
        return None
    return state if isinstance(state, dict) and {"task", "canary", "share", "shadow"} <= state.keys() else None
