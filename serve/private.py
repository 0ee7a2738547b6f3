"""The private folders of engines, among the machine's temporary files: for a socket, and as a working directory.

Who made one locks it for as long as they live, so that whoever starts a server can tell what was left behind by one
that was killed. A process id alone does not tell: containers may share /tmp and have ids of their own.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PREFIX = "factory-engine-"
UNLOCKED = 3600.0  # seconds after which nobody is between making a folder and locking it


class Private:
    """A folder that is this process's alone."""

    def __init__(self) -> None:
        self.path = temporary() / f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
        self._lock: int | None = None
        self.ensure()

    def ensure(self) -> None:
        """Make it if it is not there: at first, and where something has tidied /tmp up."""
        if self.path.is_dir():
            return
        self._let_go()
        made = tempfile.mkdtemp(prefix=f".{PREFIX}", dir=self.path.parent)  # nobody looks at it before it is locked
        self._lock = os.open(made, os.O_RDONLY)
        with contextlib.suppress(OSError):  # a disk that knows no locks: then nobody takes it away
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        os.rename(made, self.path)

    def discard(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self._let_go()

    def _let_go(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None


def temporary() -> Path:
    """Where the private folders lie: the path of a unix socket holds 107 bytes, which a long TMPDIR would overrun."""
    usual = tempfile.gettempdir()
    return Path(usual if len(os.fsencode(usual)) <= 60 else "/tmp")


def sweep() -> None:
    """Remove what servers that were killed left behind: folders that nobody locks, of processes that are gone."""
    for folder in _left():
        with contextlib.suppress(OSError):  # another one's, or gone meanwhile
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)


def _left() -> Iterator[Path]:
    """What may be left behind."""
    for folder in temporary().glob(f"{PREFIX}*"):
        process = Path("/proc", folder.name.removeprefix(PREFIX).split("-")[0])
        if not process.exists():  # else it may be of an earlier release, which locks nothing
            yield folder
    for folder in temporary().glob(f".{PREFIX}*"):  # who makes one locks it at once
        with contextlib.suppress(OSError):
            if time.time() - folder.lstat().st_mtime > UNLOCKED:
                yield folder
