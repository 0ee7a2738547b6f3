"""A machine that serves what a registry elsewhere says: it looks, pulls, checks, and lets `prod` and `canary` mean here
what they mean there. The server follows the local registry anyway, so nobody has to tell it.

An alias moves only with the gate's decision PROMOTE beside it; a local policy may ask for its own decision instead.
What cannot be pulled, fails a check or was refused leaves the version before in place, and is said once. If the
registry elsewhere is away, what is here goes on being served; that is said once, and again when it is back.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from factory.errors import FactoryError, GateRefused
from factory.registry import aliases
from factory.registry.aliases import Alias
from factory.registry.exchange import pull
from factory.registry.places import remotes
from factory.registry.remote import Place, Pointer, Remote, RemoteError, parse
from factory.registry.store import Version

log = logging.getLogger("factory.follow")
EVERY = 30.0  # seconds between two looks
FIRST = 15.0  # seconds that a server waits for the first look before it serves what is here
AWAY_SAID = ", serving what is here"
FOLLOWED: tuple[Alias, ...] = ("prod", "canary")
Tell = Callable[[str], None]
Gate = Callable[[Version, Alias], str]  # a decision of this machine's own: PROMOTE, REJECT or INCONCLUSIVE


@dataclass
class Follower:
    """Follows one place: a repository, a namespace or a folder of folders. `gate` asks for a decision of one's own."""

    place: Place
    tell: Tell = log.warning
    gate: Gate | None = None
    seen: dict[tuple[str, str], Pointer] = field(default_factory=dict)  # (place, alias) → what was last acted on
    said: dict[str, str] = field(default_factory=dict)  # place → the trouble last told

    def look(self) -> list[Version]:
        """Take in what is new there; the versions that an alias means here from now on."""
        try:
            found = remotes(self.place)
        except FactoryError as error:
            self._trouble(str(self.place), error)
            return []
        if str(self.place) not in (remote.place for remote in found):
            self._well(str(self.place))
        return [version for remote in found for version in self._one(remote)]

    def run(self, stop: threading.Event, looked: threading.Event, every: float = EVERY) -> None:
        """Look again and again until `stop` is set; `looked` is set after the first time. No trouble ends it."""
        while not stop.is_set():
            try:
                self.look()
            except Exception:
                log.exception("following %s failed; trying again", self.place)
            looked.set()
            stop.wait(every)

    def _one(self, remote: Remote) -> list[Version]:
        try:
            catalogue = remote.read().catalogue
        except FactoryError as error:
            self._trouble(remote.place, error)
            return []
        moved = []
        trouble: FactoryError | None = None
        for alias in FOLLOWED:
            pointer = catalogue.aliases.get(alias) if catalogue else None
            if pointer is None or self.seen.get((remote.place, alias)) == pointer:
                continue
            try:
                version = self._take(remote, alias)
            except FactoryError as error:
                trouble = error
                if isinstance(error, RemoteError) and error.away:
                    continue
            else:
                moved += [version] if version else []
            self.seen[(remote.place, alias)] = pointer
        if trouble:
            self._trouble(remote.place, trouble)
        else:
            self._well(remote.place)
        return moved

    def _take(self, remote: Remote, alias: Alias) -> Version | None:
        """Pull the version and let the alias mean it here; None if it does already."""
        place = parse(f"{remote.place}@{alias}")
        pulled = pull(remote, place, self.tell)
        version = pulled.version
        now = aliases.read(version.task)
        if now.aliases.get(alias) == version.sha:
            return None
        decision = self.gate(version, alias) if self.gate else (pulled.gate or {}).get("decision", "")
        if decision != "PROMOTE":
            why = "no gate's decision came with it" if not decision else "by the gate"
            raise GateRefused(decision or "INCONCLUSIVE", f"{alias} of {place} is not taken over: {why}")
        aliases.point(version, alias, expected=now.generation)
        self.tell(f"{alias} of {version.task} is {aliases.label(version)} now, from {remote.place}")
        return version

    def _trouble(self, place: str, error: FactoryError) -> None:
        away = isinstance(error, RemoteError) and error.away
        text = f"{place} is away{AWAY_SAID}: {error}" if away else str(error)
        if self.said.get(place) != text:
            self.said[place] = text
            self.tell(text)

    def _well(self, place: str) -> None:
        if AWAY_SAID in self.said.pop(place, ""):
            self.tell(f"{place} is back")


@contextmanager
def following(
    registry: str, tell: Tell = log.warning, gate: Gate | None = None, every: float = EVERY
) -> Iterator[Follower]:
    """Follow `registry` (hub:team, hub:team/summary, file:…) in a thread while the block runs.

    The block waits for the first look, so that there is something to serve, but no longer than `FIRST` seconds.
    """
    follower = Follower(parse(registry), tell, gate)
    stop, looked = threading.Event(), threading.Event()
    thread = threading.Thread(target=follower.run, args=(stop, looked, every), name="follow", daemon=True)
    thread.start()
    looked.wait(FIRST)
    try:
        yield follower
    finally:
        stop.set()
        thread.join(timeout=5)
