"""What the server serves, and how that changes without a caller noticing.

    gate → preflight → load on every replica → probe (`probe.py`) → compare-and-swap in the registry → journal → swap of
    the snapshot → the requests on the old version run out → unload; the version before stays loaded for the way back

The registry's files are the truth about `prod`, `canary` and its share: a promotion made here goes through them, and
one made elsewhere is followed within a second. A version that cannot be served never becomes live; the one before
stays. What failed on the engine's side is tried again, with growing pauses.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from factory.base.build import Base, find, label, prepare
from factory.errors import FactoryError, InputError
from factory.home import home
from factory.probe import NOTE, conversations
from factory.registry import aliases, store
from factory.registry.aliases import Registry
from factory.registry.preflight import TASK, Refused, own_copy, preflight
from factory.registry.store import Version
from serve.catalogue import read_registries, read_versions, size_for
from serve.engine import EngineError
from serve.journal import Journal, Traffic
from serve.metrics import Metrics
from serve.pool import LONGEST_PAUSE, Launch, Pool
from serve.routing import Routes, Target

log = logging.getLogger("serve.control")
FOLLOW = 0.5  # seconds between two looks at the registry's files
IDLE = 300.0  # seconds after which a version that no alias means is unloaded


Progress = Callable[[str], None]


class Control:
    """The server's state. `routes` is an immutable snapshot, replaced whole; requests read it, only this writes."""

    def __init__(self, folder: Path, metrics: Metrics, replicas: int, launch: Launch, tell: Progress) -> None:
        self.folder, self.metrics, self.replicas, self.launch, self.tell = folder, metrics, replicas, launch, tell
        self.routes = Routes()
        self.pools: dict[str, Pool] = {}  # by fingerprint
        self.journal = Journal(home("serve", "journal"))
        self.leases: Counter[str] = Counter()  # running requests by adapter
        self.used: dict[str, float] = {}  # when an adapter's last request began or ended
        self.retired: set[str] = set()  # adapters to unload as soon as their last request ends
        self.failed: dict[str, str] = {}  # hash → why it cannot be served
        self.resting: dict[str, tuple[float, float, str]] = {}  # hash → until when it is left alone, the pause, why
        self._needed: Counter[str] = Counter()  # fingerprints of bases on which something is being loaded
        self._asked_for: set[str] = set()  # fingerprints of bases that stay whatever is promoted
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}
        self._seen: dict[str, int] = {}

    async def start(self, base: str = "") -> None:
        """Start the engines that the promoted versions need (and `base`'s), and make every promoted version live."""
        await self._read()
        if base:
            self._asked_for.add((await self._pool(base)).base.fingerprint)
        await asyncio.to_thread(self._adopt_shares)
        await self._read()
        for registry in self.routes.registries.values():
            if version := self.routes.versions.get(registry.aliases.get("prod") or ""):
                await self._start_for(version)
        for task in self.routes.registries:
            await self._follow(task)
        if not self.pools:
            self._asked_for.add((await self._pool("auto")).base.fingerprint)

    async def stop(self) -> None:
        for pool in self.pools.values():
            await pool.stop()
        self.journal.close()
        shutil.rmtree(self.folder / "adapters", ignore_errors=True)

    async def look(self) -> None:
        """Follow the registry once, and unload what nobody needs any more."""
        seen = {str(path): path.stat().st_mtime_ns for path in home("registry", "x").parent.glob("*.json")}
        if seen != self._seen:
            self._seen = seen
            await self._read()
        for task, registry in self.routes.registries.items():
            if self._behind(registry):
                await self._follow(task)
        await self._tidy()

    def _behind(self, registry: Registry) -> bool:
        """Whether the registry means something else than what is served here, and that may be tried now."""
        live = self.routes.traffic.get(registry.task, Traffic(task=registry.task))
        prod, canary = registry.aliases.get("prod"), self._canary(registry)
        missing = [sha for sha, here in ((prod, live.prod), (canary, live.canary)) if sha != here]
        if not missing:
            return live.share != (registry.share if canary else 0.0)
        return any(sha not in self.failed and not self._rests(sha or "") for sha in missing)

    def _canary(self, registry: Registry) -> str | None:
        """The canary that the registry means, unless it cannot be served."""
        sha = registry.aliases.get("canary")
        return None if sha in self.failed else sha

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
        async with self._lock("task", version.task):
            expected = aliases.read(version.task).generation if expected is None else expected
            await asyncio.to_thread(decisions.admit, version, force)
            await self._read()
            began = time.monotonic()
            alias: aliases.Alias = "prod" if share >= 1 else "canary"
            self.resting.pop(version.sha, None)
            with self._using(version):
                await self._ready(version)
                registry = await asyncio.to_thread(aliases.point, version, alias, expected=expected, share=share)
                if alias == "prod":
                    self._swap(registry, version)
                else:
                    self._set(registry, canary=version.sha, share=share)
            self.metrics.promote_seconds.observe(time.monotonic() - began)
        return self.describe(version.task)

    async def rollback(self, task: str) -> dict[str, Any]:
        """Let the task mean what it meant before; that version is still loaded."""
        async with self._lock("task", _task(task)):
            registry = aliases.read(task)
            if not registry.history:
                raise InputError(f"{task} has no earlier version to go back to")
            before = await asyncio.to_thread(store.get, registry.history[-1])
            self.resting.pop(before.sha, None)
            with self._using(before):
                await self._ready(before)
                version = await asyncio.to_thread(aliases.rollback, task)
                self._swap(aliases.read(task), version)
        return self.describe(task)

    async def shadow(self, task: str, name: str) -> dict[str, Any]:
        """Send a copy of the task's requests to the version `name`, for the record only; an empty name ends that."""
        version = await asyncio.to_thread(_named, name) if name else None
        if version and version.task != task:
            raise InputError(f"{version.short} is no version of {task}")
        async with self._lock("task", _task(task)):
            if version:
                await self._ready(version)
            self._set(aliases.read(task), shadow=version.sha if version else None)
        return self.describe(task)

    async def load(self, name: str) -> dict[str, Any]:
        """Load a version that no alias means yet, so that its first caller need not wait."""
        version = await asyncio.to_thread(_named, name)
        await self._read()
        await self._ready(version)
        return self.describe(version.task)

    async def ready(self, target: Target) -> Pool:
        """The pool of a target, with the adapter loaded. Refused if it must not be served, EngineError if it cannot."""
        pool = self._running(target.fingerprint)
        if pool is None:  # a caller cannot start engines
            why = self.failed.get(target.version.sha) if target.version else None
            raise Refused(why or f"no engine runs for the base of {target.label}")
        if target.version is not None and target.model not in pool.wanted:
            if why := self.failed.get(target.version.sha):
                raise Refused(why)
            await self._ready(target.version)
        return pool

    def describe(self, task: str) -> dict[str, Any]:
        """A task's traffic as the command line and `factory top` show it."""
        traffic = self.journal.states.get(task, Traffic(task=task))
        registry = self.routes.registries.get(task, Registry(task=task))

        def shown(sha: str | None) -> str | None:
            entry = registry.entry(sha) if sha else None
            return f"{task}@v{entry.ordinal}" if entry else None

        return {
            "task": task,
            "generation": traffic.generation,
            **{role: shown(getattr(traffic, role)) for role in ("prod", "previous", "canary", "shadow")},
            "share": traffic.share,
            "why_not": self.failed.get(registry.aliases.get("prod") or ""),
        }

    def _adopt_shares(self) -> None:
        """Older journals alone knew the canary's share; the registry knows it now."""
        for task, registry in self.routes.registries.items():
            state = self.journal.states.get(task)
            sha = registry.aliases.get("canary")
            known = self.routes.versions.get(sha or "")
            same = state and known and state.canary == sha and state.generation == registry.generation
            if state and known and same and state.share and not registry.share:
                aliases.point(known, "canary", share=state.share)

    async def _read(self) -> None:
        """Take in the registry's files; routes that depend on a loaded version do not change by this."""
        registries = await asyncio.to_thread(read_registries)
        versions = await asyncio.to_thread(read_versions, registries, self.routes.versions)
        # A promotion may have moved on while the files were read: what is older than what we know is no news.
        known = self.routes.registries
        newest = {
            task: known[task] if task in known and known[task].generation > registry.generation else registry
            for task, registry in registries.items()
        }
        self.routes = replace(self.routes, registries=newest, versions={**self.routes.versions, **versions})

    async def _follow(self, task: str) -> None:
        """Make true here what the registry says of `task`; what cannot be served leaves things as they are."""
        async with self._lock("task", task):
            registry, versions = self.routes.registries[task], self.routes.versions
            now, before = self.routes.traffic.get(task), self.journal.states.get(task, Traffic(task=task))
            wanted = registry.aliases.get("prod")
            if wanted is None and (now or before.prod or "canary" in registry.aliases):  # retired, or only a canary yet
                self._set(registry, prod=None, previous=None, shadow=None)
            # After a start, what was served last is the next best.
            for sha in dict.fromkeys([wanted] if now else [wanted, before.prod]) if wanted else ():
                if sha in versions and not (now and now.prod == sha) and await self._try(versions[sha]):
                    self._swap(registry, versions[sha])
                    break
            if task not in self.routes.traffic:
                return
            if now is None:
                for role in ("previous", "shadow"):
                    sha = getattr(self.routes.traffic[task], role)
                    if sha and not (sha in versions and await self._try(versions[sha])):
                        self._set(registry, **{role: None})
            canary = self._canary(registry)
            if canary and not (canary in versions and await self._try(versions[canary])):
                canary = None
            self._set(registry, canary=canary, share=registry.share if canary else 0.0)

    async def _start_for(self, version: Version) -> None:
        """The engines for a promoted version's base. EngineError if vLLM does not start; other faults are told."""
        try:
            await self._pool(version.facts.base, version.facts.fingerprint)
        except EngineError:
            raise
        except FactoryError as error:
            self.failed[version.sha] = str(error)
            self.tell(f"{version.short} cannot be served: {error}")

    async def _try(self, version: Version) -> bool:
        """Load a version that nobody is waiting for; if that fails the log says why."""
        if version.sha in self.failed or self._rests(version.sha):
            return False
        try:
            await self._ready(version)
        except FactoryError as error:
            log.error("%s cannot be served: %s", version.short, error)
            self.tell(f"{version.short} cannot be served: {error}")
            return False
        return True

    async def _ready(self, version: Version) -> Pool:
        """Preflight, load, probe. Does nothing for a version that is loaded.

        One that was refused stays so; where the engine failed it is left alone for a while, and the error is the same.
        """
        async with self._lock("version", version.sha):
            with self._using(version):
                if self._rests(version.sha):
                    raise EngineError(self.resting[version.sha][2])
                try:
                    return await self._load(version)
                except Refused as error:
                    self.failed[version.sha] = str(error)
                    raise
                except EngineError as error:
                    pause = min(2 * self.resting.get(version.sha, (0.0, FOLLOW, ""))[1], LONGEST_PAUSE)
                    self.resting[version.sha] = time.monotonic() + pause, pause, str(error)
                    raise

    async def _load(self, version: Version) -> Pool:
        pool = await self._pool(version.facts.base, version.facts.fingerprint)
        if version.name in pool.wanted:
            return pool
        self.used[version.name] = began = time.monotonic()
        self.retired.discard(version.name)
        try:
            await asyncio.to_thread(preflight, version, pool.base, pool.size.rank)
            files = await asyncio.to_thread(own_copy, version, self.folder / "adapters" / version.sha)
            made = (await asyncio.to_thread(store.noted, version, NOTE) or {}).get("logprobs")
            await pool.load(version.name, files, await asyncio.to_thread(conversations, version), made)
        except Refused as error:
            log.warning("%s is refused: %s", version.name, error)
            self.metrics.rejects.labels("preflight").inc()
            raise
        self.failed.pop(version.sha, None)
        self.resting.pop(version.sha, None)
        self.metrics.load_seconds.observe(time.monotonic() - began)
        return pool

    def _rests(self, sha: str) -> bool:
        return sha in self.resting and time.monotonic() < self.resting[sha][0]

    @contextmanager
    def _using(self, version: Version) -> Iterator[None]:
        """While something is done with a version, neither it nor its base's engines are taken for unneeded."""
        self.leases[version.name] += 1
        self._needed[version.facts.fingerprint] += 1
        try:
            yield
        finally:
            self.leases[version.name] -= 1
            self._needed[version.facts.fingerprint] -= 1

    async def _pool(self, base: str, fingerprint: str | None = None) -> Pool:
        """The engines of a base, started now if there are none.

        Refused if the base here is another build of it, or if callers know another base by its name already.
        """
        if pool := self._running(fingerprint):
            return pool
        async with self._lock("engines", ""):
            prepared = await asyncio.to_thread(_base, base, fingerprint)
            if fingerprint and not prepared.owns(fingerprint):
                raise Refused(
                    f"it was trained on another build of {label(base)} ({str(fingerprint)[:12]}) than the one here "
                    f"({prepared.fingerprint[:12]}): train it again"
                )
            pool = self._running(prepared.fingerprint)
            if pool is None:
                same = [pool.base.name for pool in self.pools.values() if pool.name == prepared.label]
                if same:
                    raise Refused(
                        f"two bases are called {prepared.label}, {same[0]} and {prepared.name}, and model= could mean "
                        "either: serve them from two factories (FACTORY_HOME), or rename one folder and train its "
                        "tasks again"
                    )
                mine = [v for v in self.routes.versions.values() if prepared.owns(v.facts.fingerprint)]
                pool = Pool(prepared, self.folder, size_for(mine), self.replicas, self.launch)
                try:
                    await pool.start(self.tell)
                except BaseException:
                    await pool.stop()
                    raise
                self.pools[prepared.fingerprint] = pool
                bases = {**self.routes.bases, pool.name: prepared.fingerprint}
                self.routes = replace(self.routes, bases=bases)
            return pool

    def _running(self, fingerprint: str | None) -> Pool | None:
        """The engines of the base that owns a fingerprint."""
        return next((pool for pool in self.pools.values() if pool.base.owns(fingerprint)), None)

    def _swap(self, registry: Registry, version: Version) -> None:
        """`prod` means `version` from the next request on. Journal first, then the snapshot: both or neither."""
        before = self.journal.states.get(registry.task, Traffic(task=registry.task))
        changes: dict[str, Any] = {"prod": version.sha}
        if before.prod != version.sha:
            changes["previous"] = before.prod
            if before.previous in self.routes.versions:  # its last requests run out, then it is unloaded
                self.retired.add(self.routes.versions[before.previous].name)
        if "canary" not in registry.aliases:
            changes |= {"canary": None, "share": 0.0}
        self._set(registry, **changes)
        log.info("%s is live", version.short)

    def _set(self, registry: Registry, **changes: Any) -> None:
        before = self.journal.states.get(registry.task, Traffic(task=registry.task))
        state = before.model_copy(update={"generation": registry.generation, **changes})
        self.journal.record(state)
        self.routes = replace(
            self.routes,
            registries={**self.routes.registries, registry.task: registry},
            traffic={**self.routes.traffic, registry.task: state},
        )

    async def _tidy(self) -> None:
        """Unload what no alias means and no request uses, and end the engines of a base that nothing needs any more."""
        kept = {sha for traffic in self.routes.traffic.values() for sha in traffic.versions()}
        needed = [self.routes.versions[sha] for sha in kept if sha in self.routes.versions]
        names = {version.name for version in needed}
        for fingerprint, pool in list(self.pools.items()):
            crowded = len(pool.wanted) > pool.size.held
            for name in sorted(set(pool.wanted) - names, key=lambda name: self.used.get(name, 0)):
                idle = time.monotonic() - self.used.get(name, 0)
                if crowded or name in self.retired or idle > IDLE:
                    await self._unload(pool, name)
            bases = {version.facts.fingerprint for version in needed} | self._asked_for
            busy = self.leases[pool.name] or any(r.admission.running for r in pool.replicas)
            needs = {*bases, *(of for of, count in self._needed.items() if count)}
            if not any(map(pool.base.owns, needs)) and not pool.wanted and not busy:
                del self.pools[fingerprint]
                self.routes = replace(
                    self.routes, bases={n: f for n, f in self.routes.bases.items() if f != fingerprint}
                )
                await pool.stop()

    async def _unload(self, pool: Pool, name: str) -> None:
        """Unload an adapter unless a request runs on it or came for it just now."""
        folder = pool.wanted[name]
        async with self._lock("version", folder.name):
            if not self.leases[name]:
                self.retired.discard(name)
                await pool.unload(name)
                shutil.rmtree(folder, ignore_errors=True)

    def _lock(self, kind: str, name: str) -> asyncio.Lock:
        return self._locks.setdefault((kind, name), asyncio.Lock())


def _base(name: str, fingerprint: str | None) -> Base:
    """The base that owns a fingerprint, or else the one of that name."""
    return (find(fingerprint) if fingerprint else None) or prepare(name)


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
