"""A task's registry in a folder that fsspec reaches: a shared disk, or a bucket (`s3://`, with the package s3fs).

    versions/<sha>-<manifest>/…     the files of a version: written once, before the catalogue names them
    registry/00000007.json          the catalogue of generation 7; the highest number counts

A new generation is a new file that may be created only once: by a hard link on a disk, by a conditional put in a
bucket. That is the compare-and-swap; nothing is ever overwritten. The manifest's hash in a version's folder stands for
every byte in it, so two who push at once never write into the same one; the folder of the one who lost stays unnamed.
"""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from factory.errors import InputError, first_line
from factory.home import sync, unfinished
from factory.registry.faults import redacted
from factory.registry.remote import Catalogue, Lost, Release, RemoteError, State
from factory.registry.store import SHORT


class Folder:
    """A folder at an fsspec URL. `place` is how the user wrote it."""

    def __init__(self, place: str, url: str) -> None:
        self.place = place
        self.fs, self.root = _filesystem(place, url)

    def create(self) -> None:
        with _explained(self.place, "create"):
            self.fs.makedirs(f"{self.root}/registry", exist_ok=True)

    def read(self) -> State:
        with _explained(self.place, "read"):
            self.fs.invalidate_cache()
            newest = max(self.fs.glob(f"{self.root}/registry/*.json"), default="")
            if not newest:
                if not self.fs.exists(f"{self.root}/registry"):
                    raise RemoteError(
                        "no repo", f"{self.place} is no registry; push a version there, or check the name"
                    )
                return State(None, "0")
            return State(Catalogue.of(self.fs.cat_file(newest), self.place), Path(newest).stem)

    def write(
        self, state: State, catalogue: Catalogue, title: str, files: Mapping[str, Path], release: Release | None
    ) -> None:
        with _explained(self.place, "push to"):
            for name, path in files.items() if release else ():
                self._put(path, f"{self._at(release)}/{name}")  # type: ignore[arg-type]
            self._create(f"{self.root}/registry/{int(state.at) + 1:08}.json", catalogue.text())

    def finish(self, release: Release) -> None:
        """Nothing: the catalogue is the last thing that a write leaves."""

    def fetch(self, release: Release, names: Iterable[str], folder: Path) -> None:
        with _explained(self.place, f"download {release.tag} from"):
            for name in names:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                self.fs.get_file(f"{self._at(release)}/{name}", str(folder / name))

    def _at(self, release: Release) -> str:
        return f"{self.root}/versions/{release.sha[:SHORT]}-{release.manifest[:SHORT]}"

    def _put(self, source: Path, path: str) -> None:
        """Upload a file whole or not at all; what an interrupted push has sent already stays."""
        if self.fs.exists(path) and self.fs.size(path) == source.stat().st_size:
            return
        if not _on_disk(self.fs):
            self.fs.put_file(str(source), path)
            return
        with _beside(Path(path)) as temporary:
            shutil.copyfile(source, temporary)
            sync(temporary)
            os.replace(temporary, path)
            sync(Path(path).parent)

    def _create(self, path: str, data: bytes) -> None:
        try:
            if not _on_disk(self.fs):
                self.fs.pipe_file(path, data, mode="create")
                return
            with _beside(Path(path)) as temporary:
                temporary.write_bytes(data)
                sync(temporary)
                os.link(temporary, path)
                sync(Path(path).parent)
        except FileExistsError:
            raise Lost(f"{self.place} was changed by someone else meanwhile: look at it again and repeat") from None


def registries(place: str, url: str) -> list[tuple[str, str]]:
    """(place, URL) of the registry at a URL, or of all those in the folders right below it."""
    fs, root = _filesystem(place, url)
    with _explained(place, "list"):
        if fs.exists(f"{root}/registry"):
            return [(place, url)]
        names = sorted(Path(p).parent.name for p in fs.glob(f"{root}/*/registry"))
        return [(f"{place.rstrip('/')}/{name}", f"{url.rstrip('/')}/{name}") for name in names]


def _filesystem(place: str, url: str) -> tuple[Any, str]:
    import fsspec

    try:
        fs, root = fsspec.core.url_to_fs(url if "://" in url else os.path.abspath(os.path.expanduser(url)))
    except ImportError:
        raise InputError(f"{place} needs a package that is not here: pip install s3fs") from None
    return fs, str(root).rstrip("/")


def _on_disk(fs: Any) -> bool:
    from fsspec.implementations.local import LocalFileSystem

    return isinstance(fs, LocalFileSystem)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A new file in the same folder, gone at the end unless it was renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = unfinished(path)
    try:
        temporary.touch(mode=0o644, exist_ok=False)
        temporary.chmod(0o644)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _explained(place: str, doing: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        name = Path(str(error.filename or error)).name
        raise RemoteError(
            "no revision", f"cannot {doing} {place}: {name} is gone; put it back, or push the version to another place"
        ) from None
    except PermissionError:
        raise RemoteError("no access", f"cannot {doing} {place}: no right to do so; check who owns it") from None
    except (OSError, ValueError) as error:
        why = redacted(first_line(error))
        raise RemoteError("network", f"cannot {doing} {place}: {why}; repeat it: it goes on where it was") from None
