"""Where things lie on disk, and how files are written so that nothing is ever half there.

The *project* is the folder that holds `adapters/` and `rubrics/`; the *home* is where the factory keeps what it makes
(`.factory` in the project, or `FACTORY_HOME`):

    bases/<name>-<hash>/   quantised bases            store/<sha256>/   immutable versions
    data/<hash>/           built data sets            notes/<sha256>/   scorecards and reports of a version
    latest/<task>          the hash of its data set   answers/<hash>    what a base or a version answered
    runs/<name>/           training runs              registry/<task>.json   ordinals and aliases
    drawn/<task>-<hash>/   what a stage drew            ratings.db          items, answers, ratings
"""

import fcntl
import glob
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from factory.errors import FactoryError, InputError


def project() -> Path:
    """The nearest folder at or above the working directory that holds `adapters/defaults.yaml`, else this checkout."""
    try:
        here = Path.cwd()
    except FileNotFoundError:
        raise InputError("the working directory is gone: change to one that is there") from None
    for folder in (here, *here.parents, Path(__file__).resolve().parents[1]):
        if (folder / "adapters" / "defaults.yaml").is_file():
            return folder
    raise InputError(f"no adapters/defaults.yaml in {here} or above it: run this inside a project")


def beside(*parts: str) -> Path:
    """A file that lies beside the packages in the checkout and is no part of an installation. FactoryError: no such."""
    path = Path(__file__).resolve().parents[1].joinpath(*parts)
    if not path.is_file():
        raise FactoryError(f"{'/'.join(parts)} is in the checkout, not in the installed package: run it there")
    return path


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
    temporary = unfinished(path)  # before it is made: whatever interrupts us then finds it to take away
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def unfinished(path: Path) -> Path:
    """A name of its own in the same folder, for what becomes `path` once it is whole."""
    return path.with_name(f".{path.name[:64]}.{secrets.token_hex(6)}")


def left_behind(path: Path) -> list[Path]:
    """What runs that were killed left of `path`. Only whoever holds its lock may take it away."""
    return list(path.parent.glob(f".{glob.escape(path.name[:64])}.*"))


def write_json(path: Path, value: Any, mode: int = 0o644) -> None:
    write_file(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", mode)


@contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """A folder beside `path`, its owner's alone, that is gone afterwards, whatever interrupts us."""
    temporary = unfinished(path)
    try:
        temporary.mkdir(mode=0o700, parents=True)
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_folder(path: Path, fill: Callable[[Path], None]) -> Path:
    """Make the folder `path` by `fill(temporary)`, appearing whole or not at all. An existing `path` stays as it is.

    For content-addressed folders: whoever comes second finds the same content there already.
    """
    if path.exists():
        return path
    with scratch(path) as temporary:
        fill(temporary)
        for entry in sorted(temporary.rglob("*"), reverse=True):
            sync(entry)
        os.chmod(temporary, 0o755)
        try:
            os.rename(temporary, path)
        except OSError:
            if not path.exists():
                raise
    sync(path.parent)
    return path


def digest(value: Any) -> str:
    """sha256 over a value's canonical JSON: the one way things are hashed in this project."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def sha256(path: Path | str) -> str:
    """Of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold an exclusive lock between processes, on `path` with `.lock` added, also between machines where their disk
    has such locks. The kernel frees it when the process ends. `waiting` is called if another one holds it.

    InputError where the disk has none: two at once would spoil each other's work.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(lock_of(path), "w") as handle:
        if not _flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB):
            waiting()
            _flock(handle, fcntl.LOCK_EX)
        yield


def held(path: Path) -> bool:
    """Whether a process holds the lock on `path`."""
    with open(lock_of(path), "a") as handle:
        return not _flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)


def lock_of(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _flock(handle: IO[str], how: int) -> bool:
    """Whether the lock could be had. Whoever asked without waiting and could not have it is no error."""
    try:
        fcntl.flock(handle, how)
    except BlockingIOError:
        return False
    except OSError as error:
        raise InputError(
            f"{Path(handle.name).parent}: its disk knows no locks ({error.strerror}); let FACTORY_HOME lie on one that "
            "does: a local disk, or NFS with its lock service (no nolock)"
        ) from None
    return True


NETWORK = {"nfs", "nfs4", "cifs", "smb3", "9p", "afs", "beegfs", "ceph", "gpfs", "lustre", "vboxsf", "virtiofs"}


def on_network(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> bool:
    """Whether a path lies on a disk that other machines may write to at the same time, or on one of FUSE, which may."""
    found, longest = "", -1
    for line in mounts.read_text().splitlines() if mounts.is_file() else ():
        mounted, _, kind = line.partition(" - ")
        at = Path(re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), mounted.split()[4]))
        if len(at.parts) >= longest and path.resolve().is_relative_to(at):
            found, longest = kind.split()[0], len(at.parts)
    return found in NETWORK or found.startswith("fuse")
