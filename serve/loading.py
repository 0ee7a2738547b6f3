"""The engines that run and the adapters that they hold: loaded when somebody needs them, unloaded when nobody does.

    preflight → a copy of its own → load on every replica → probe (`probe.py`)

A version that was refused stays so. Where the engine failed it is left alone for a while, with growing pauses.
"""

import asyncio
import logging
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from factory import stopping
from factory.base.build import find, label, prepare
from factory.probe import NOTE, conversations
from factory.registry import store
from factory.registry.preflight import Refused, own_copy, preflight
from factory.registry.store import Version
from serve.catalogue import size_for
from serve.engine import EngineError
from serve.metrics import Metrics
from serve.pool import LONGEST_PAUSE, Adapter, Launch, Pool, Replica

log = logging.getLogger("serve.loading")
PAUSE = 0.5  # seconds, doubled each time, before what an engine failed at is tried again
IDLE = 300.0  # seconds after which a version that no alias means is unloaded
Tell = Callable[[str], None]


class Loading:
    """The pools of one server. `changed` is called when a base came or went."""

    def __init__(
        self, folder: Path, metrics: Metrics, replicas: int, launch: Launch, tell: Tell, changed: Callable[[], None]
    ) -> None:
        self.folder, self.metrics, self.replicas, self.launch = folder, metrics, replicas, launch
        self.tell, self.changed = tell, changed
        self.pools: dict[str, Pool] = {}  # by fingerprint
        self.versions: dict[str, Version] = {}  # all that are registered, by hash
        self.leases: Counter[str] = Counter()  # running requests by adapter
        self.used: dict[str, float] = {}  # when an adapter's last request began or ended
        self.retired: set[str] = set()  # adapters to unload as soon as their last request ends
        self.failed: dict[str, str] = {}  # hash → why it cannot be served
        self.resting: dict[str, tuple[float, float, str]] = {}  # hash → until when it is left alone, the pause, why
        self._needed: Counter[str] = Counter()  # fingerprints of bases on which something is being loaded
        self._asked_for: set[str] = set()  # fingerprints of bases that stay whatever is promoted
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._starting = asyncio.Lock()

    async def stop(self) -> None:
        for pool in self.pools.values():
            await pool.stop()
        shutil.rmtree(self.folder / "adapters", ignore_errors=True)

    async def keep(self, base: str) -> None:
        """Start the engines of a base, which stay whatever is promoted."""
        self._asked_for.add((await self.pool(base)).base.fingerprint)

    def running(self, fingerprint: str | None) -> Pool | None:
        """The engines of the base that owns a fingerprint."""
        return next((pool for pool in self.pools.values() if pool.base.owns(fingerprint)), None)

    def engines(self) -> list[tuple[str, Replica]]:
        """Every engine with its name, `<base>-<number>`."""
        return [(f"{pool.name}-{n}", r) for pool in self.pools.values() for n, r in enumerate(pool.replicas)]

    def holds(self, version: Version) -> bool:
        """Whether a version is loaded."""
        pool = self.running(version.facts.fingerprint)
        return pool is not None and version.name in pool.wanted

    def may(self, version: Version) -> bool:
        """Whether loading it now may succeed: it was not refused, and the engine did not just fail at it."""
        return version.sha not in self.failed and not self._rests(version.sha)

    async def ready(self, version: Version) -> Pool:
        """Load a version unless it is loaded, and give its engines.

        Errors: Refused by the preflight or the probe, EngineError if it cannot be loaded (now).
        """
        async with self._locks[version.sha]:
            with self.using(version):
                if self._rests(version.sha):
                    raise EngineError(self.resting[version.sha][2])
                try:
                    return await self._load(version)
                except Refused as error:
                    self.failed[version.sha] = str(error)
                    raise
                except EngineError as error:
                    pause = min(2 * self.resting.get(version.sha, (0.0, PAUSE, ""))[1], LONGEST_PAUSE)
                    self.resting[version.sha] = time.monotonic() + pause, pause, str(error)
                    raise

    async def _load(self, version: Version) -> Pool:
        pool = await self.pool(version.facts.base, version.facts.fingerprint)
        if version.name in pool.wanted:
            return pool
        self.used[version.name] = began = time.monotonic()
        self.retired.discard(version.name)
        try:
            await asyncio.to_thread(preflight, version, pool.base, pool.size.rank)
            files = await asyncio.to_thread(own_copy, version, self.folder / "adapters" / version.sha)
            made = (await asyncio.to_thread(store.noted, version, NOTE) or {}).get("logprobs")
            await pool.load(version.name, Adapter(files, conversations(version.facts.prompt)), made)
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

    def _refused(self, name: str, why: str) -> None:
        """An engine that came back does not do with an adapter what it did before."""
        self.failed[name.partition("@")[2]] = why

    @contextmanager
    def using(self, version: Version) -> Iterator[None]:
        """While something is done with a version, neither it nor its base's engines are taken for unneeded."""
        self.leases[version.name] += 1
        self._needed[version.facts.fingerprint] += 1
        try:
            yield
        finally:
            self.leases[version.name] -= 1
            self._needed[version.facts.fingerprint] -= 1

    async def pool(self, base: str, fingerprint: str | None = None) -> Pool:
        """The engines of a base, started now if there are none.

        Refused if the base here is another build of it, or if callers know another base by its name already.
        """
        if pool := self.running(fingerprint):
            return pool
        async with self._starting:
            prepared = await asyncio.to_thread(find, fingerprint) if fingerprint else None
            if prepared is None:
                prepared = await stopping.aside(partial(prepare, base))
            if fingerprint and not prepared.owns(fingerprint):
                raise Refused(
                    f"it was trained on another build of {label(base)} ({str(fingerprint)[:12]}) than the one here "
                    f"({prepared.fingerprint[:12]}): train it again"
                )
            if pool := self.running(prepared.fingerprint):
                return pool
            if same := [pool.base.name for pool in self.pools.values() if pool.name == prepared.label]:
                raise Refused(
                    f"two bases are called {prepared.label}, {same[0]} and {prepared.name}, and model= could mean "
                    "either: serve them from two factories (FACTORY_HOME), or rename one folder and train its "
                    "tasks again"
                )
            mine = [v for v in self.versions.values() if prepared.owns(v.facts.fingerprint)]
            pool = Pool(prepared, self.folder, size_for(mine), self.replicas, self.launch, self._refused)
            try:
                await pool.start(self.tell)
            except BaseException:
                await pool.stop()
                raise
            self.pools[prepared.fingerprint] = pool
            self.changed()
            return pool

    async def tidy(self, kept: Collection[Version]) -> None:
        """Unload what is not `kept` and no request uses, and end the engines of a base that nothing needs any more."""
        names = {version.name for version in kept}
        for fingerprint, pool in list(self.pools.items()):
            crowded = len(pool.wanted) > pool.size.held
            for name in sorted(set(pool.wanted) - names, key=lambda name: self.used.get(name, 0)):
                idle = time.monotonic() - self.used.get(name, 0)
                if crowded or name in self.retired or idle > IDLE:
                    await self._unload(pool, name)
            bases = {version.facts.fingerprint for version in kept} | self._asked_for
            busy = self.leases[pool.name] or any(r.admission.running for r in pool.replicas)
            needs = {*bases, *(of for of, count in self._needed.items() if count)}
            if not any(map(pool.base.owns, needs)) and not pool.wanted and not busy:
                del self.pools[fingerprint]
                self.changed()
                await pool.stop()

    async def _unload(self, pool: Pool, name: str) -> None:
        """Unload an adapter unless a request runs on it or came for it just now."""
        folder = pool.wanted[name].folder
        async with self._locks[folder.name]:
            if not self.leases[name]:
                self.retired.discard(name)
                await pool.unload(name)
                shutil.rmtree(folder, ignore_errors=True)
