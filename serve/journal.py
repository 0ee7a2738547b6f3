"""What the server decided, on disk before it takes effect: one line for each change of a task's traffic.

    <crc32 as 8 hex digits> {"task": …, "generation": …, "prod": …, "previous": …, …}

Each line tells a task's whole state, so the last whole line of a task is the truth and a line that a power cut tore is
simply not there. Lines are appended and flushed to the disk one by one; opening the journal rewrites it with one line a
task. Which version `prod` and `canary` mean is the registry's business; the journal keeps what the registry does not
know (the canary's share, the shadow, what is kept loaded for a way back) and up to which generation it was done.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import zlib
from pathlib import Path

from pydantic import ValidationError

from factory.home import write_file
from factory.strict import Strict

log = logging.getLogger("serve.journal")
COMPACT = 1000  # lines after which the journal is written anew


class Traffic(Strict):
    """Where the requests for a task go. Versions are full hashes."""

    task: str
    generation: int = 0  # of the registry, as far as it was followed
    prod: str | None = None
    previous: str | None = None  # stays loaded, for an instant way back
    canary: str | None = None
    share: float = 0.0  # of prod's requests that the canary answers, 0–1
    shadow: str | None = None  # answers a copy of prod's requests, for the record only

    def versions(self) -> set[str]:
        """All hashes that must stay loaded."""
        return {sha for sha in (self.prod, self.previous, self.canary, self.shadow) if sha}


class Journal:
    """The journal in a file. `states` is what it says now; only `record` changes it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.states: dict[str, Traffic] = {}
        for line in path.read_bytes().split(b"\n") if path.exists() else []:
            if state := _read(line):
                self.states[state.task] = state
        self._compact()

    def record(self, state: Traffic) -> None:
        """Append a state; when this returns it is on the disk. OSError if it does not fit, and then none of it is."""
        if self.states.get(state.task) == state:
            return
        line, end = _line(state), os.fstat(self._file).st_size
        try:
            if os.write(self._file, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, end)  # else the next line would be glued to this one's beginning
            raise
        self.states[state.task] = state
        self._lines += 1
        if self._lines > COMPACT:
            self.close()
            self._compact()

    def close(self) -> None:
        os.close(self._file)

    def _compact(self) -> None:
        write_file(self.path, b"".join(map(_line, self.states.values())))
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        self._lines = len(self.states)


def _line(state: Traffic) -> bytes:
    text = json.dumps(state.model_dump(), separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _read(line: bytes) -> Traffic | None:
    """The state of a line, or None for one that is empty, torn or changed."""
    checksum, _, text = line.partition(b" ")
    if not line:
        return None
    try:
        if int(checksum, 16) != zlib.crc32(text):
            raise ValueError("its checksum is wrong")
        return Traffic.model_validate_json(text)
    except (ValueError, ValidationError) as error:
        log.warning("a line of the journal was dropped: %s", str(error).splitlines()[0])
        return None
