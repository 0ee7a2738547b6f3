"""Push, pull and list: versions leave this machine and come back the same, to the byte.

A push never overwrites: each version is added on top of the state that was read, and where another push came first it
is read again and repeated. A pull trusts nothing that it was sent: the files lie in a quarantine until this project's
own hash of them, the preflight and the base's fingerprint are right; only then does the store have them.
"""

import json
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.base.build import Base, base_of, find
from factory.base.catalog import CATALOG, entry
from factory.errors import FactoryError, InputError
from factory.home import home, locked, scratch, sha256
from factory.registry import aliases, bundle, store
from factory.registry.newer import Newer
from factory.registry.preflight import MAX_WEIGHTS, Refused, plain_file, preflight
from factory.registry.remote import Catalogue, Lost, Place, Pointer, Release, Remote, RemoteError, State
from factory.registry.store import CONFIG, FACTS, SHORT, WEIGHTS, Version

RACES = 60  # times that another push may come first before this one gives up
CUTS = 3  # times that a write is begun again after the connection was lost
MAX_BESIDE = 2**28  # bytes of all files beside the weights together
MAX_RANK = 512
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Pushed:
    """A version there, and whether this push brought it (it does nothing if it was there already)."""

    release: Release
    new: bool


@dataclass(frozen=True)
class Pulled:
    """A version from elsewhere, now in the store. `pointer` is the alias that was asked for, with its decision."""

    version: Version
    release: Release
    new: bool
    pointer: Pointer | None = None

    @property
    def gate(self) -> dict[str, Any] | None:
        return self.pointer.gate if self.pointer else None


def push(version: Version, remote: Remote, place: Place, with_data: bool = False, report: str = "") -> Pushed:
    """Bring a version to a registry elsewhere. Pushing it again does nothing but finish what an earlier push left.

    Errors: RemoteError (see there); InputError for a secret among the files, or if another task's versions are there.
    """
    store.verify(version)
    with tempfile.TemporaryDirectory(prefix="factory-push-") as folder:

        def step(state: State) -> Release | None:
            now = state.catalogue or Catalogue(task=version.task)
            if now.task != version.task:
                raise InputError(f"{place} holds the versions of {now.task}, not of {version.task}: take another place")
            if now.release(version.sha):
                return None
            ordinal = max((r.ordinal for r in now.versions), default=0) + 1
            files, release = bundle.gather(version, ordinal, place, Path(folder), with_data, report)
            title = f"{version.task} {release.tag} {version.sha}"
            remote.write(state, now.changed(versions=(*now.versions, release)), title, files, release)
            return release

        release = _swap(remote, step)
    if release:
        return Pushed(release, True)
    there = (remote.read().catalogue or Catalogue(task=version.task)).find(version.sha)
    remote.finish(there)
    return Pushed(there, False)


def point(remote: Remote, place: Place, wanted: Mapping[str, Pointer], known: Callable[[str], bool]) -> bool:
    """Let aliases there mean these versions; False if they do already.

    An alias that someone else moved to a version that is not `known` here is not taken away from them: FactoryError.
    """

    def step(state: State) -> bool | None:
        now = state.catalogue
        assert now is not None  # what is pointed to was pushed before
        moved = {name: pointer for name, pointer in wanted.items() if now.aliases.get(name) != pointer}
        if not moved:
            return None
        for name in moved:
            before = now.aliases.get(name)
            if before and not known(before.sha):
                raise FactoryError(
                    f"{name} of {place} means {before.sha[:SHORT]}, which is not known here: someone else moved it. "
                    f"Look at it first: factory pull from={place}@{name}"
                )
        means = ", ".join(f"{name} is {pointer.sha}" for name, pointer in moved.items())
        remote.write(state, now.changed(aliases=now.aliases | moved), f"{now.task}: {means}", {}, None)
        return True

    return bool(_swap(remote, step))


def pull(
    remote: Remote,
    place: Place,
    tell: Tell = lambda text: None,
    task: str = "",
    bases: tuple[str, ...] | None = None,
) -> Pulled:
    """Fetch what `place` names (`@prod` where it names nothing) into the store, and give it an ordinal here.

    Who follows a place without a person looking on gives the `task` that it stands for, and which `bases` may be
    fetched if they are not here: neither is for a publisher to choose.

    Errors: RemoteError; Refused by the preflight; Newer; FactoryError for another base: nothing came into the store.
    """
    catalogue = remote.read().catalogue
    if catalogue is None or not catalogue.versions:
        raise RemoteError("no revision", f"{place} holds no version of this project; a plain adapter: factory adopt")
    if task not in ("", catalogue.task):
        raise FactoryError(
            f"{remote.place} says that it holds {catalogue.task}, but here it stands for {task}: nothing is taken from "
            f"it; if that is right, say so in a list: registry=follow.yaml with tasks: {{{catalogue.task}: {place}}}"
        )
    which = place.which or "prod"
    release = catalogue.find(which)
    pointer = catalogue.aliases.get(which)
    if new := bool(store.fault(release.sha)):
        if bases is not None:
            _refuse_base(release, catalogue.task, bases)
        quarantine = home("quarantine", release.sha)
        with locked(quarantine):
            version = _fetch(remote, catalogue, release, quarantine, tell)
    else:
        version = store.get(release.sha)
    aliases.register(version)
    pulled = Pulled(version, release, new, pointer if pointer and pointer.sha == release.sha else None)
    if pulled.gate and store.noted(version, "gate") is None:
        store.note(version, "gate", pulled.gate)
    return pulled


def _swap(remote: Remote, step: Callable[[State], Any]) -> Any:
    """Read (a missing place is made), `step`, and again if another one came first or the line was cut: then what was
    written may be there or not, and only reading tells. Returns what `step` returns."""
    cuts, missing = 0, False
    for race in range(RACES):
        try:
            if missing:
                remote.create()
            return step(remote.read())
        except Lost:
            time.sleep(random.uniform(0, min(2.0, 0.05 * (race + 1))))
        except RemoteError as error:
            if error.kind == "no repo" and not missing:
                missing = True
                continue
            cuts += 1
            if error.kind not in ("network", "server") or cuts > CUTS:
                raise
            time.sleep(random.uniform(0.2, 0.5) * cuts)
    raise Lost(f"{remote.place} is changed all the time by others: repeat it later")


def _base(release: Release, task: str, revision: str) -> Base:
    """The local base of a version, prepared at the commit of the Hub that it was trained on. FactoryError if this
    machine has another one, or can have none."""
    name = next((e.name for e in CATALOG.values() if e.source == release.base), release.base)
    try:
        return base_of(name, release.fingerprint, revision if len(revision) == 40 else "")
    except FactoryError as error:
        raise FactoryError(f"{task}@{release.tag} of {release.base}: {error}") from None


def _refuse_base(release: Release, task: str, bases: tuple[str, ...]) -> None:
    """FactoryError for a base that is not here and, as its publisher names it, none of these names and Hub ids."""
    listed = {*bases, *(entry(name).source for name in bases)}
    if find(release.fingerprint) is None and release.base not in listed:
        raise FactoryError(
            f"{task}@{release.tag} needs the base {release.base}, which is not here and not on the list: if you want "
            f"it, factory base base={release.base}"
        )


def _fetch(remote: Remote, catalogue: Catalogue, release: Release, quarantine: Path, tell: Tell) -> Version:
    """Download into the quarantine, check, only then keep. What fails a check is deleted, what was cut off stays."""
    tell(f"downloading {catalogue.task}@{release.tag} ({release.sha[:SHORT]}) from {remote.place}")
    try:
        remote.fetch(release, [bundle.MANIFEST], quarantine)
        names, revision = _listed(quarantine / bundle.MANIFEST, release)
        base = _base(release, catalogue.task, revision)
        remote.fetch(release, list(names), quarantine)
        for name, hash_ in names.items():
            plain_file(quarantine / name, MAX_WEIGHTS)
            if sha256(quarantine / name) != hash_:
                raise _differs(remote, release, name)
        with scratch(quarantine.with_name("staged")) as staged:
            try:
                version = bundle.restore(quarantine, staged)
            except Newer as error:
                raise Newer(f"{catalogue.task}@{release.tag} of {remote.place} {error}; nothing was kept") from None
            except (ValueError, KeyError, TypeError) as error:  # as it was pushed: the manifest has its hash
                raise Refused(f"it is not understood here ({error}): a later release may have made it") from None
            if version.sha != release.sha:
                raise _differs(remote, release, WEIGHTS)
            if version.task != catalogue.task:
                raise _differs(remote, release, FACTS)
            preflight(version, base, MAX_RANK)
            version = store.keep(version)
        bundle.attach(version, quarantine)
    except (Refused, Newer, RemoteError) as error:
        if not isinstance(error, RemoteError) or error.kind == "hash":
            shutil.rmtree(quarantine, ignore_errors=True)
        if isinstance(error, Refused):
            raise Refused(f"{catalogue.task}@{release.tag} of {remote.place} must not be used: {error}") from None
        raise
    shutil.rmtree(quarantine, ignore_errors=True)
    return version


def _listed(path: Path, release: Release) -> tuple[dict[str, str], str]:
    """The files of a version with their sha256, and its base's revision, from its manifest, whose own hash the
    catalogue holds."""
    plain_file(path, MAX_BESIDE)
    if sha256(path) != release.manifest:
        raise RemoteError(
            "hash",
            f"{release.tag}: the manifest there is not the one that was pushed; nothing was kept: pull again later",
        )
    try:
        told = json.loads(path.read_text())
        sizes = {name: int(entry["size"]) for name, entry in told["files"].items()}
        hashes = {name: str(entry["sha256"]) for name, entry in told["files"].items()}
        revision = str((told.get("base") or {}).get("revision") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Refused("its manifest is not understood") from None
    for name in sizes:
        if name.startswith(("/", ".")) or "\\" in name or ".." in name.split("/"):
            raise Refused(f"its manifest names a file {name[:80]!r}, which lies outside of it")
    if missing := {WEIGHTS, CONFIG, FACTS} - set(sizes):
        raise Refused(f"it lacks {', '.join(sorted(missing))}")
    if sizes[WEIGHTS] > MAX_WEIGHTS or sum(sizes.values()) - sizes[WEIGHTS] > MAX_BESIDE:
        raise Refused("its files are too large")
    return hashes, revision


def _differs(remote: Remote, release: Release, name: str) -> RemoteError:
    return RemoteError(
        "hash",
        f"{remote.place} sent another {name} than that of {release.tag} ({release.sha[:SHORT]}): the hash differs; "
        "nothing was kept. Pull it again; if it stays so, it is damaged there: push that version to another place",
    )
