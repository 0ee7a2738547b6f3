"""Where things lie on disk, and how files are written so that nothing is ever half there.

The *project* is the folder that holds `adapters/` and `rubrics/`; the *home* is where the factory keeps what it makes
(`.factory` in the project, or `FACTORY_HOME`):

    bases/<name>-<hash>/   quantised bases            store/<sha256>/   immutable versions
    data/<hash>/           built data sets            notes/<sha256>/   scorecards and reports of a version
    latest/<task>          the hash of its data set   answers/<hash>    what a base or a version answered
    runs/<name>/           training runs              registry/<task>.json   ordinals and aliases
    ratings.db             items, answers, ratings
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from factory.errors import InputError


def project() -> Path:
    """The nearest folder at or above the working directory that holds `adapters/defaults.yaml`, else this checkout."""
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[1]):
        if (folder / "adapters" / "defaults.yaml").is_file():
            return folder
    raise InputError(f"no adapters/defaults.yaml in {here} or above it: run this inside a project")


def home(*parts: str) -> Path:
    """A path inside the factory's home. The parent folder is made, the path itself is not."""
    root = Path(os.environ.get("FACTORY_HOME") or project() / ".factory")
    path = root.joinpath(*parts)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{root}: {error.strerror}; let FACTORY_HOME name a folder that can be written") from None
    return path


def shown(path: Path) -> str:
    """`path` as a user would type it: relative to the working directory where it lies below it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def sync(path: Path) -> None:
    """Flush a file or a folder's entries to the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


PRIVATE = 0o600  # the mode of files with secrets


def write_file(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Write a whole file or nothing: temporary name in the same folder, fsync, rename, fsync of the folder.

    The file has its `mode` before it has its name, and until then it is its owner's alone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_json(path: Path, value: Any, mode: int = 0o644) -> None:
    write_file(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", mode)


def write_folder(path: Path, fill: Callable[[Path], None]) -> Path:
    """Make the folder `path` by `fill(temporary)`, appearing whole or not at all. An existing `path` stays as it is.

    For content-addressed folders: whoever comes second finds the same content there already.
    """
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name[:24]}."))
    try:
        fill(temporary)
        for entry in sorted(temporary.rglob("*"), reverse=True):
            sync(entry)
        os.chmod(temporary, 0o755)
        try:
            os.rename(temporary, path)
        except OSError:
            if not path.exists():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync(path.parent)
    return path


def digest(value: Any) -> str:
    """sha256 over a value's canonical JSON: the one way things are hashed in this project."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


@contextmanager
def locked(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold an exclusive lock between processes, on `path` with `.lock` added. Freed when the process ends. `waiting` is
    called if another one holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(path.name + ".lock"), "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
