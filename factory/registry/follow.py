"""A machine that serves what a registry elsewhere says: it looks, pulls, checks, and lets `prod` and `canary` mean here
what they mean there. The server follows the local registry anyway, so nobody has to tell it.

Which task comes from where is this machine's own list (`trust.py`), never what a repository says of itself. An alias
moves with a decision PROMOTE of this machine's own gate, or with one that somebody on the list has signed, and never
back to one that was signed earlier.
What cannot be pulled, fails a check or was refused leaves the version before in place, and is said once. What may be
right at the next look is tried again then: a decision of one's own, a Hub that is away (what is here goes on being
served, and it is said when it is back), and a few times bytes that were not those of the version.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from factory.errors import FactoryError, GateRefused
from factory.registry import aliases
from factory.registry.aliases import Alias, Moved
from factory.registry.exchange import Pulled, pull
from factory.registry.places import parse
from factory.registry.remote import Pointer, Remote, RemoteError
from factory.registry.store import Version
from factory.registry.trust import Named, Trust, signer, take

log = logging.getLogger("factory.follow")
EVERY = 30.0  # seconds between two looks
FIRST = 15.0  # seconds that a server waits for the first look before it serves what is here
WRONG = 5  # times that a version is downloaded although other bytes came for it; each costs its whole size
AWAY_SAID = ", serving what is here"
FOLLOWED: tuple[Alias, ...] = ("prod", "canary")
Tell = Callable[[str], None]
Gate = Callable[[Version], None]  # this machine's own policy: raises GateRefused with what it lacks


@dataclass
class Follower:
    """Follows the places of a list, or one place: a repository, a namespace or a folder of folders. `gate` asks for a
    decision of one's own; without it the signature of somebody on the list is asked for."""

    trust: Trust | Named
    tell: Tell = log.warning
    gate: Gate | None = None
    seen: dict[tuple[str, str], Pointer] = field(default_factory=dict)  # (place, alias) → what was last acted on
    said: dict[str, str] = field(default_factory=dict)  # place → the trouble last told
    wrong: Counter[str] = field(default_factory=Counter)  # hash → how often other bytes came for it

    def look(self) -> list[Version]:
        """Take in what is new there; the versions that an alias means here from now on."""
        try:
            found = self.trust.remotes()
        except FactoryError as error:
            self._trouble(str(self.trust), error)
            return []
        if str(self.trust) not in (remote.place for _, remote in found):
            self._well(str(self.trust))
        return [version for task, remote in found for version in self._one(task, remote)]

    def run(self, stop: threading.Event, looked: threading.Event, every: float = EVERY) -> None:
        """Look again and again until `stop` is set; `looked` is set after the first time. No trouble ends it."""
        while not stop.is_set():
            try:
                self.look()
            except Exception:
                log.exception("following %s failed; trying again", self.trust)
            looked.set()
            stop.wait(every)

    def _one(self, task: str, remote: Remote) -> list[Version]:
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
                version = self._take(task, remote, alias)
            except FactoryError as error:
                trouble = error
                if self._passing(error, pointer):
                    continue
            else:
                moved += [version] if version else []
            self.seen[(remote.place, alias)] = pointer
        if trouble:
            self._trouble(remote.place, trouble)
        else:
            self._well(remote.place)
        return moved

    def _take(self, task: str, remote: Remote, alias: Alias) -> Version | None:
        """Pull the version and let the alias mean it here; None if it does already."""
        place = parse(f"{remote.place}@{alias}")
        pulled = pull(remote, place, self.tell, task, self.trust.bases)
        version = pulled.version
        now = aliases.read(version.task)
        if now.aliases.get(alias) == version.sha:
            return None
        try:
            (self.gate or _signed(pulled, alias, self.trust.signers))(version)
        except GateRefused as error:
            raise GateRefused(error.decision, f"{alias} of {remote.place} is not taken over: {error.why}") from None
        if self.gate is None and pulled.pointer:
            take(version.task, alias, pulled.pointer)
        aliases.point(version, alias, expected=now.generation)
        self.tell(f"{alias} of {version.task} is {aliases.label(version)} now, from {remote.place}")
        return version

    def _passing(self, error: FactoryError, pointer: Pointer) -> bool:
        """Whether the same pointer may be taken over at a later look."""
        if isinstance(error, RemoteError) and error.kind == "hash":
            self.wrong[pointer.sha] += 1
            return self.wrong[pointer.sha] < WRONG
        own = isinstance(error, GateRefused) and self.gate is not None
        return own or isinstance(error, Moved) or (isinstance(error, RemoteError) and error.away)

    def _trouble(self, place: str, error: FactoryError) -> None:
        away = isinstance(error, RemoteError) and error.away
        text = f"{place} is away{AWAY_SAID}: {error}" if away else str(error)
        if self.said.get(place) != text:
            self.said[place] = text
            self.tell(text)

    def _well(self, place: str) -> None:
        if AWAY_SAID in self.said.pop(place, ""):
            self.tell(f"{place} is back")


def _signed(pulled: Pulled, alias: str, signers: tuple[str, ...]) -> Gate:
    """The policy of those who have none of their own: the decision that came with the alias, if one whom they trust
    signed it. Anybody who may write there could have written the decision."""

    def gate(version: Version) -> None:
        came = pulled.gate or {}
        if not pulled.pointer or not signer(version.task, alias, pulled.pointer, signers):
            raise GateRefused("INCONCLUSIVE", "nobody on the list of signers has signed it: factory push … sign=<key>")
        if came.get("decision") != "PROMOTE":
            why = came.get("why") or "no gate's decision came with it"
            raise GateRefused(came.get("decision") or "INCONCLUSIVE", why)

    return gate


@contextmanager
def following(
    trust: Trust | Named, tell: Tell = log.warning, gate: Gate | None = None, every: float = EVERY
) -> Iterator[Follower]:
    """Follow what `trust` lists (`trusted`) in a thread while the block runs.

    The block waits for the first look, so that there is something to serve, but no longer than `FIRST` seconds.
    """
    follower = Follower(trust, tell, gate)
    stop, looked = threading.Event(), threading.Event()
    thread = threading.Thread(target=follower.run, args=(stop, looked, every), name="follow", daemon=True)
    thread.start()
    looked.wait(FIRST)
    try:
        yield follower
    finally:
        stop.set()
        thread.join(timeout=5)
