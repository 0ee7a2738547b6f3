"""Which version a `model=` means, decided on one immutable snapshot: a request never sees half a change.

What each form of a name means stands in the table of `serve/README.md`. Names come from clients, so they are only
looked up in what the snapshot holds: nothing here touches a file.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from factory.registry.aliases import Registry
from factory.registry.store import Version
from factory.strict import nearest
from serve.replies import Refusal

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}(@[A-Za-z0-9.-]{1,64})?")


@dataclass(frozen=True)
class Traffic:
    """Where the requests for a task go: what its registry says, as far as it is loaded. Versions are full hashes."""

    prod: str | None = None
    previous: str | None = None  # stays loaded, for an instant way back
    canary: str | None = None
    share: float = 0.0  # of prod's requests that the canary answers, 0–1
    shadow: str | None = None  # answers a copy of prod's requests, for the record only

    def versions(self) -> set[str]:
        """All hashes that must stay loaded."""
        return {sha for sha in (self.prod, self.previous, self.canary, self.shadow) if sha}


def traffic(registry: Registry, now: Traffic, loaded: Callable[[str], bool]) -> Traffic:
    """What is served of a task. Where what `prod` means is not loaded, what was live until `now` stays so, or else the
    newest of those before; of a task that was retired nothing is."""
    means, before = registry.aliases, registry.history[-1:]
    if "prod" not in means:
        live, before = None, ()
    else:
        best = (means["prod"], now.prod, *reversed(registry.history))
        live = next((sha for sha in best if sha and loaded(sha)), None)
    canary, shadow = (sha if sha and loaded(sha) else None for sha in map(means.get, ("canary", "shadow")))
    previous = next((sha for sha in before if sha != live and loaded(sha)), None)
    return Traffic(live, previous, canary, registry.share if canary else 0.0, shadow)


@dataclass(frozen=True)
class Target:
    """Where a request goes: a version, or (`version` None) the bare base with this fingerprint."""

    asked: str
    fingerprint: str
    model: str  # the name in the engine
    version: Version | None = None
    standing: bool = True  # it is or was promoted, or is the canary; a base always is
    names: tuple[str, ...] = ()  # how a key may name it

    @property
    def task(self) -> str:
        """The task, for permissions and metrics; of the base its name."""
        return self.version.task if self.version else self.model

    @property
    def adapter(self) -> str:
        """The adapter it needs in a slot; empty for the base, which needs none."""
        return self.model if self.version else ""

    @property
    def label(self) -> str:
        """What X-Adapter-Version says."""
        return self.version.name if self.version else f"{self.model}@base"


@dataclass(frozen=True)
class Routes:
    """A snapshot. `traffic` says where requests go, which follows the registry as soon as those versions are loaded."""

    bases: dict[str, str] = field(default_factory=dict)  # public name → fingerprint
    registries: dict[str, Registry] = field(default_factory=dict)
    versions: dict[str, Version] = field(default_factory=dict)  # by full hash
    traffic: dict[str, Traffic] = field(default_factory=dict)

    def resolve(self, asked: str, caller: str = "", sees: Callable[[str], bool] = lambda task: True) -> Target:
        """The target of `model=asked`. One `caller` always gets the same side of a canary.

        Refusal 404 says what there is instead, of what this caller sees.
        """
        if not NAME.fullmatch(asked):
            raise _unknown("a model's name is letters, digits and ._-/ with at most one @", asked)
        if asked in self.bases:
            return Target(asked, self.bases[asked], asked)
        task, _, which = asked.partition("@")
        registry = self.registries.get(task)
        if registry is None:
            seen = filter(sees, [*self.registries, *self.bases])
            raise _unknown(f"there is no model {task!r}{nearest(task, seen)}", asked)
        sha = self._pick(registry, which, caller)
        if sha is None and which in ("", "prod"):
            raise _unknown(f"no version of {task} is promoted yet: factory promote version={task}@v1", asked)
        if sha is None and which == "canary":
            why = "cannot be served (yet)" if "canary" in registry.aliases else f"is not set: {task} has no canary"
            raise _unknown(f"the canary of {task} {why}", asked)
        if sha is None or sha not in self.versions:
            known = ["prod", *(f"v{e.ordinal}" for e in registry.versions)]
            raise _unknown(f"{task} has no version {which!r}{nearest(which, known)}", asked)
        version, entry = self.versions[sha], registry.entry(sha)
        names = (version.name, f"{task}@{sha}", *([f"{task}@v{entry.ordinal}"] if entry else []))
        standing = sha in {registry.aliases.get("prod"), registry.aliases.get("canary"), *registry.history}
        return Target(asked, version.facts.fingerprint, version.name, version, standing, names)

    def _pick(self, registry: Registry, which: str, caller: str) -> str | None:
        """The hash that `which` means for a task, or None."""
        served = self.traffic.get(registry.task, Traffic())
        if not which:
            canary = served.canary if _bucket(registry.task, caller) < served.share else None
            return canary or served.prod
        if which in ("prod", "canary"):
            return served.prod if which == "prod" else served.canary
        if match := re.fullmatch(r"v([1-9][0-9]{0,8})", which):
            return next((e.sha for e in registry.versions if e.ordinal == int(match[1])), None)
        if re.fullmatch(r"[0-9a-f]{6,64}", which):
            found = [e.sha for e in registry.versions if e.sha.startswith(which)]
            return found[0] if len(found) == 1 else None
        return None

    def live(self) -> list[str]:
        """The tasks that have a version behind their plain name."""
        return sorted(task for task, served in self.traffic.items() if served.prod)

    def models(self) -> list[str]:
        """Every name that can be asked for: bases, tasks with a live version, and all versions by number."""
        names, live = list(self.bases), self.live()
        for task, registry in sorted(self.registries.items()):
            names += [task] * (task in live)
            names += [f"{task}@v{e.ordinal}" for e in registry.versions if e.sha in self.versions]
        return names


def _bucket(task: str, caller: str) -> float:
    """A number in [0, 1) for a caller (who names no user: for the request), another one for each task."""
    return int.from_bytes(hashlib.blake2b(f"{task} {caller}".encode(), digest_size=6).digest()) / 2**48


def _unknown(why: str, asked: str) -> Refusal:
    return Refusal(404, f"the model {asked[:200]!r} does not exist: {why}", code="model_not_found", param="model")
