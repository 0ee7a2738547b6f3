"""Which version a `model=` means, decided on one immutable snapshot: a request never sees half a change.

    summary  summary@prod      what prod means on this server now
    summary@canary             the candidate, if there is one
    summary@v2                 the second version of the task
    summary@1a2b3c4d5e6f       a version by (the beginning of) its hash
    tiny                       the base itself

Names come from clients, so they are only looked up in what the snapshot holds: nothing here touches a file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from factory.registry.aliases import Registry
from factory.registry.store import Version
from factory.strict import nearest
from serve.replies import Refusal

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}(@[A-Za-z0-9.-]{1,64})?")


@dataclass(frozen=True)
class Target:
    """Where a request goes: a version, or (`version` None) the bare base with this fingerprint."""

    asked: str
    fingerprint: str
    model: str  # the name in the engine
    version: Version | None = None

    @property
    def task(self) -> str:
        """The task, for permissions and metrics; of the base its name."""
        return self.version.task if self.version else self.model

    @property
    def label(self) -> str:
        """What X-Adapter-Version says."""
        return self.version.name if self.version else f"{self.model}@base"


@dataclass(frozen=True)
class Routes:
    """A snapshot. `live` maps a task to the hash that prod means here, which follows the registry once it is loaded."""

    bases: dict[str, str] = field(default_factory=dict)  # public name → fingerprint
    registries: dict[str, Registry] = field(default_factory=dict)
    versions: dict[str, Version] = field(default_factory=dict)  # by full hash
    live: dict[str, str] = field(default_factory=dict)

    def resolve(self, asked: str) -> Target:
        """The target of `model=asked`. Refusal 404 says what there is instead."""
        if not NAME.fullmatch(asked):
            raise _unknown("a model's name is letters, digits and ._-/ with at most one @", asked)
        if asked in self.bases:
            return Target(asked, self.bases[asked], asked)
        task, _, which = asked.partition("@")
        registry = self.registries.get(task)
        if registry is None:
            raise _unknown(f"there is no model {task!r}{nearest(task, [*self.registries, *self.bases])}", asked)
        sha = self.pick(registry, which or "prod")
        if sha is None and which in ("", "prod"):
            raise _unknown(f"no version of {task} is promoted yet: factory promote version={task}@v1", asked)
        if sha is None or sha not in self.versions:
            known = [*registry.aliases, *(f"v{e.ordinal}" for e in registry.versions)]
            raise _unknown(f"{task} has no version {which!r}{nearest(which, known)}", asked)
        version = self.versions[sha]
        return Target(asked, version.facts.fingerprint, version.name, version)

    def pick(self, registry: Registry, which: str) -> str | None:
        """The hash that `which` means for a task, or None."""
        if which == "prod":
            return self.live.get(registry.task)
        if match := re.fullmatch(r"v([1-9][0-9]{0,8})", which):
            return next((e.sha for e in registry.versions if e.ordinal == int(match[1])), None)
        if re.fullmatch(r"[0-9a-f]{6,64}", which):
            found = [e.sha for e in registry.versions if e.sha.startswith(which)]
            return found[0] if len(found) == 1 else None
        return registry.aliases.get(which)

    def models(self) -> list[str]:
        """Every name that can be asked for: bases, tasks with a live version, and all versions by number."""
        names = list(self.bases)
        for task, registry in sorted(self.registries.items()):
            names += [task] * (task in self.live)
            names += [f"{task}@v{e.ordinal}" for e in registry.versions if e.sha in self.versions]
        return names


def _unknown(why: str, asked: str) -> Refusal:
    return Refusal(404, f"the model {asked[:200]!r} does not exist: {why}", code="model_not_found", param="model")
