"""What the server serves, and how that changes without a caller noticing.

    gate → load and probe on every replica (`loading.py`) → compare-and-swap in the registry → a new snapshot → the
    requests on the old version run out → unload; the version before stays loaded for the way back

The registry's files are the only truth: about `prod`, `canary` and its share, the shadow and the way back. What is
served is what they say as far as it is loaded (`routing.traffic`), worked out anew whenever one of the two changes and
kept nowhere. A promotion made here goes through the registry, and one made elsewhere is followed within a second. A
version that cannot be served never becomes live; the one before stays.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from factory.errors import FactoryError, InputError
from factory.home import home
from factory.kinds import TASK
from factory.registry import aliases, store
from factory.registry.aliases import Registry
from factory.registry.preflight import Refused
from factory.registry.store import Version
from serve.catalogue import read_registries, read_versions
from serve.engine import EngineError
from serve.loading import Loading
from serve.metrics import Metrics
from serve.pool import Launch, Pool
from serve.routing import Routes, Target, Traffic, traffic

log = logging.getLogger("serve.control")
FOLLOW = 0.5  # seconds between two looks at the registry's files


class Control:
    """The server's state. `routes` is an immutable snapshot, replaced whole; requests read it, only this writes."""

    def __init__(
        self, folder: Path, metrics: Metrics, replicas: int, launch: Launch, tell: Callable[[str], None]
    ) -> None:
        self.metrics, self.tell = metrics, tell
        self.routes = Routes()
        self.loading = Loading(folder, metrics, replicas, launch, tell, self._bases)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # by task
        self._seen: dict[str, int] = {}

    async def start(self, base: str = "") -> None:
        """Start the engines that the promoted versions need (and `base`'s), and make every promoted version live."""
        await self._read()
        if base:
            await self.loading.keep(base)
        for registry in self.routes.registries.values():
            if version := self.routes.versions.get(registry.aliases.get("prod") or ""):
                await self._start_for(version)
        for task in self.routes.registries:
            await self._follow(task)
        if not self.loading.pools:
            await self.loading.keep("auto")

    async def look(self) -> None:
        """Follow the registry once, and unload what nobody needs any more."""
        seen = {str(path): path.stat().st_mtime_ns for path in home("registry", "x").parent.glob("*.json")}
        if seen != self._seen:
            self._seen = seen
            await self._read()
        for task, registry in self.routes.registries.items():
            missing = [v for v in self._meant(registry) if not self.loading.holds(v) and self.loading.may(v)]
            if missing or self._traffic(registry) != self.routes.traffic.get(task):
                await self._follow(task)
        kept = {sha for served in self.routes.traffic.values() for sha in served.versions()}
        await self.loading.tidy([self.routes.versions[sha] for sha in kept if sha in self.routes.versions])

    async def promote(
        self, name: str, *, share: float = 1.0, expected: int | None = None, force: str = ""
    ) -> dict[str, Any]:
        """Let the version `name` be what its task means, or with `share` < 1 the canary for that share of requests.

        `force` is the reason of somebody who overrides the gate. Errors: InputError for a name that is not there,
        GateRefused, Refused by the preflight or the probe, EngineError if it cannot be loaded, FactoryError if someone
        else changed the task meanwhile. In each of these cases nothing has changed.
        """
        from evals import decisions

        version = await asyncio.to_thread(_named, name)
        async with self._locks[version.task]:
            expected = aliases.read(version.task).generation if expected is None else expected
            await asyncio.to_thread(decisions.admit, version, force)
            began = time.monotonic()
            alias: aliases.Alias = "prod" if share >= 1 else "canary"
            with self.loading.using(version):
                await self._ready(version)
                registry = await asyncio.to_thread(aliases.point, version, alias, expected=expected, share=share)
                self._show(registry)
            self.metrics.promote_seconds.observe(time.monotonic() - began)
        return self.describe(version.task)

    async def rollback(self, task: str) -> dict[str, Any]:
        """Let the task mean what it meant before; that version is still loaded."""
        async with self._locks[_task(task)]:
            history = aliases.read(task).history
            if not history:
                raise InputError(f"{task} has no earlier version to go back to")
            before = await asyncio.to_thread(store.get, history[-1])
            with self.loading.using(before):
                await self._ready(before)
                await asyncio.to_thread(aliases.rollback, task)
                self._show(aliases.read(task))
        return self.describe(task)

    async def shadow(self, task: str, name: str) -> dict[str, Any]:
        """Send a copy of the task's requests to the version `name`, for the record only; an empty name ends that."""
        version = await asyncio.to_thread(_named, name) if name else None
        if version and version.task != task:
            raise InputError(f"{version.short} is no version of {task}")
        async with self._locks[_task(task)]:
            if version:
                await self._ready(version)
                self._show(await asyncio.to_thread(aliases.point, version, "shadow"))
            else:
                self._show(await asyncio.to_thread(aliases.drop, task, "shadow"))
        return self.describe(task)

    async def load(self, name: str) -> dict[str, Any]:
        """Load a version that no alias means yet, so that its first caller need not wait."""
        version = await asyncio.to_thread(_named, name)
        await self._ready(version)
        return self.describe(version.task)

    async def ready(self, target: Target) -> Pool:
        """The pool of a target, with the adapter loaded. Refused if it must not be served, EngineError if it cannot."""
        pool, version = self.loading.running(target.fingerprint), target.version
        why = self.loading.failed.get(version.sha) if version else None
        if pool is None:  # a caller cannot start engines
            raise Refused(why or f"no engine runs for the base of {target.label}")
        if version is not None and target.model not in pool.wanted:
            if why:
                raise Refused(why)
            await self.loading.ready(version)
        return pool

    def describe(self, task: str) -> dict[str, Any]:
        """A task's traffic as the command line and `factory top` show it."""
        served = self.routes.traffic.get(task, Traffic())
        registry = self.routes.registries.get(task, Registry(task=task))

        def shown(sha: str | None) -> str | None:
            entry = registry.entry(sha) if sha else None
            return f"{task}@v{entry.ordinal}" if entry else None

        return {
            "task": task,
            "generation": registry.generation,
            **{role: shown(getattr(served, role)) for role in ("prod", "previous", "canary", "shadow")},
            "share": served.share,
            "why_not": self.loading.failed.get(registry.aliases.get("prod") or ""),
        }

    async def _read(self) -> None:
        """Take in the registry's files; what is served does not change by this alone."""
        registries = await asyncio.to_thread(read_registries)
        versions = await asyncio.to_thread(read_versions, registries, self.routes.versions)
        # A promotion may have moved on while the files were read: the newer generation counts.
        known = self.routes.registries
        newest = {
            task: known[task] if task in known and known[task].generation > registry.generation else registry
            for task, registry in registries.items()
        }
        self.loading.versions = {**self.routes.versions, **versions}
        self.routes = replace(self.routes, registries=newest, versions=self.loading.versions)

    async def _follow(self, task: str) -> None:
        """Make true here what the registry says of `task`; what cannot be served leaves things as they are."""
        async with self._locks[task]:
            registry, versions = self.routes.registries[task], self.routes.versions
            for version in self._meant(registry):
                await self._try(version)
            if "prod" in registry.aliases and not self._traffic(registry).prod:  # after a start: the next best
                for sha in reversed(registry.history):
                    if sha in versions and await self._try(versions[sha]):
                        break
            self._show(registry)

    def _meant(self, registry: Registry) -> list[Version]:
        """The versions that ought to be loaded for a task, what it means first."""
        means = registry.aliases
        before = registry.history[-1:] if "prod" in means else ()
        names = dict.fromkeys([*filter(None, map(means.get, ("prod", "canary", "shadow"))), *before])
        return [self.routes.versions[sha] for sha in names if sha in self.routes.versions]

    def _traffic(self, registry: Registry) -> Traffic:
        """What is served of a task: what the registry says, as far as it is loaded."""
        versions, now = self.routes.versions, self.routes.traffic.get(registry.task, Traffic())
        return traffic(registry, now, lambda sha: sha in versions and self.loading.holds(versions[sha]))

    def _show(self, registry: Registry) -> None:
        """From the next request on. What is not needed any more is unloaded when its last request ends."""
        task, versions = registry.task, self.routes.versions
        before, now = self.routes.traffic.get(task, Traffic()), self._traffic(registry)
        self.loading.retired |= {versions[sha].name for sha in before.versions() - now.versions() if sha in versions}
        self.routes = replace(
            self.routes,
            registries={**self.routes.registries, task: registry},
            traffic={**self.routes.traffic, task: now},
        )
        if now.prod and now.prod != before.prod:
            log.info("%s is live", versions[now.prod].short)

    def _bases(self) -> None:
        bases = {pool.name: fingerprint for fingerprint, pool in self.loading.pools.items()}
        self.routes = replace(self.routes, bases=bases)

    async def _start_for(self, version: Version) -> None:
        """The engines for a promoted version's base. EngineError if vLLM does not start; other faults are told."""
        try:
            await self.loading.pool(version.facts.base, version.facts.fingerprint)
        except EngineError:
            raise
        except FactoryError as error:
            self.loading.failed[version.sha] = str(error)
            self.tell(f"{version.short} cannot be served: {error}")

    async def _try(self, version: Version) -> bool:
        """Load a version that nobody is waiting for; if that fails the log says why."""
        if not self.loading.may(version):
            return False
        try:
            await self.loading.ready(version)
        except FactoryError as error:
            log.error("%s cannot be served: %s", version.short, error)
            self.tell(f"{version.short} cannot be served: {error}")
            return False
        return True

    async def _ready(self, version: Version) -> None:
        """Load a version for somebody who orders it by name: at once, also if the engine just failed at it."""
        await self._read()
        self.loading.resting.pop(version.sha, None)
        await self.loading.ready(version)


def _named(name: str) -> Version:
    """The version `name`. Neither the name nor what lies in the store may lead to files outside the registry."""
    task = _task(name.partition("@")[0])
    version = aliases.resolve(name)
    if version.task != task:
        raise Refused(f"{name} says that it is a version of {version.task[:80]!r}")
    return version


def _task(task: str) -> str:
    if not TASK.fullmatch(task):
        raise InputError(f"{task[:80]!r} is no task's name: lower-case letters, digits, - and _")
    return task
