"""A registry elsewhere: what it holds, how a place is written, and what every kind of place must be able to do.

    hub:team/summary           a repository of the Hub, one task      hub:team/summary@prod   one version there
    hub:team                   all repositories of a namespace        s3://bucket/summary     a folder, through fsspec
    file:/mnt/share/summary    a folder                               file:/mnt/share         all folders in it

The catalogue (`registry.json`) lists the versions and says what `prod` and `canary` mean. It only changes as a whole
and only from the state that was read (compare-and-swap), so two people who push at once lose nothing. Next to an alias
stands the gate's decision that allowed it: whoever follows a registry can see why.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from pydantic import Field

from factory.errors import FactoryError, InputError
from factory.registry import newer
from factory.registry.newer import Newer
from factory.strict import Strict, nearest

CATALOGUE = "registry.json"
ErrorKind = Literal[
    "no repo", "no access", "gated", "token", "no revision", "quota", "network", "offline", "server", "hash", "other"
]
AWAY: tuple[ErrorKind, ...] = ("quota", "network", "offline", "server")


class RemoteError(FactoryError):
    """Something is wrong with a registry elsewhere; `kind` tells what, `away` whether it may be right again later."""

    def __init__(self, kind: ErrorKind, message: str) -> None:
        self.kind = kind
        super().__init__(message)

    @property
    def away(self) -> bool:
        return self.kind in AWAY


class Lost(FactoryError):
    """Another one changed the registry first: read it again and repeat."""


class Release(Strict):
    """One version there. `manifest` is the sha256 of its manifest file, which lists all files of the version."""

    ordinal: int = Field(ge=1)
    sha: str = Field(pattern=r"^[0-9a-f]{64}$")
    created: str
    base: str
    fingerprint: str = Field(pattern=r"^[0-9a-f]{64}$")
    manifest: str = Field(pattern=r"^[0-9a-f]{64}$")
    scorecard: dict[str, int | float] = {}

    @property
    def tag(self) -> str:
        return f"v{self.ordinal}"


class Pointer(Strict):
    """What an alias means, the gate's decision on that version (`{"decision", "why", …}`) if there was one, and if who
    promoted it signed (`trust.sign`) when, in milliseconds since 1970, and the signature."""

    sha: str = Field(pattern=r"^[0-9a-f]{64}$")
    gate: dict[str, Any] | None = None
    signed: int | None = Field(None, ge=0)
    signature: str | None = Field(None, max_length=20_000)


def meant(which: str, versions: Iterable[Any], aliases: Mapping[str, str]) -> set[str]:
    """The hashes that `prod` or another alias, `v3` or the beginning of a hash may mean of these versions."""
    if match := re.fullmatch(r"v(\d+)", which):
        return {v.sha for v in versions if v.ordinal == int(match[1])}
    if re.fullmatch(r"[0-9a-f]{6,64}", which):
        return {v.sha for v in versions if v.sha.startswith(which)}
    return {aliases[which]} if which in aliases else set()


class Catalogue(Strict):
    """Everything a registry elsewhere holds of one task."""

    format: Literal[1] = 1
    task: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    generation: int = 0
    versions: tuple[Release, ...] = ()
    aliases: dict[str, Pointer] = {}

    @classmethod
    def of(cls, data: bytes, place: str) -> Self:
        """As `text` wrote it for a place. Newer: a later release did; RemoteError: it is damaged there."""
        try:
            return newer.read(cls, data, ("format",))
        except Newer as error:
            raise Newer(f"{place} {error}") from None
        except ValueError as error:
            raise RemoteError("other", f"{place}: its catalogue is damaged: {error}") from None

    def release(self, sha: str) -> Release | None:
        return next((r for r in self.versions if r.sha == sha), None)

    def find(self, which: str) -> Release:
        """What `prod`, `canary`, `v3` or the beginning of a hash means here. InputError says what there is instead."""
        found = meant(which, self.versions, {name: pointer.sha for name, pointer in self.aliases.items()})
        release = self.release(found.pop()) if len(found) == 1 else None
        if release is None:
            known = [*self.aliases, *(r.tag for r in self.versions)]
            raise InputError(f"{self.task} has no version {which!r} there{nearest(which, known)}")
        return release

    def changed(self, **fields: Any) -> Self:
        """The next generation, with these fields."""
        return self.model_copy(update={**fields, "generation": self.generation + 1})

    def text(self) -> bytes:
        """As it stands in a file. What is not there is left out, so that older programs can read it as before."""
        return self.model_dump_json(indent=2, exclude_none=True).encode() + b"\n"


@dataclass(frozen=True)
class State:
    """A catalogue and the state of the place it was read from. `catalogue` is None where nothing was pushed yet."""

    catalogue: Catalogue | None
    at: str


class Remote(Protocol):
    """A place that holds the versions of one task. All methods raise RemoteError with what is wrong and what to do."""

    place: str

    def create(self) -> None:
        """Make the place if it is not there."""

    def read(self) -> State:
        """What is there now."""

    def write(
        self, state: State, catalogue: Catalogue, title: str, files: Mapping[str, Path], release: Release | None
    ) -> None:
        """Put `files` and the catalogue there, as one step, if nothing changed since `state`; else raise Lost.

        `release` is the version that the files are; None where only pointers move.
        """

    def finish(self, release: Release) -> None:
        """Do what may be left of an earlier write that was cut off after its catalogue was there."""

    def fetch(self, release: Release, names: Iterable[str], folder: Path) -> None:
        """Download the named files of a version into `folder`, going on with what an earlier attempt left there."""


@dataclass(frozen=True)
class Place:
    """A place as the user writes it, taken apart."""

    scheme: str
    path: str
    which: str

    def __str__(self) -> str:
        return f"{self.scheme}:{self.path}"
