"""What the server serves: it reads the registry, loads what `prod` means, and then lets the alias mean it here too.

The registry's files are the truth; a running server follows them without restart. An alias moves only after its new
version has answered a warm-up in the engine, so that a caller never waits for a promotion.
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace

from factory.errors import FactoryError
from factory.home import home
from factory.registry import aliases, store
from factory.registry.aliases import Registry
from factory.registry.store import CONFIG, Version
from serve.engine import Engine, EngineError, Size
from serve.gateway import Gateway

log = logging.getLogger("serve.control")
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # what vLLM can be built for
FOLLOW = 0.5  # seconds between two looks at the registry's files


def read_registries() -> dict[str, Registry]:
    """All tasks' registries; one that cannot be read is reported and left out."""
    found = {}
    for task in aliases.registered():
        try:
            found[task] = aliases.read(task)
        except FactoryError as error:
            log.error("%s", error)
    return found


def read_versions(registries: dict[str, Registry], known: dict[str, Version]) -> dict[str, Version]:
    """All registered versions by hash. What is known is not read again: versions never change."""
    found = {}
    for registry in registries.values():
        for entry in registry.versions:
            try:
                found[entry.sha] = known.get(entry.sha) or store.get(entry.sha)
            except FactoryError as error:
                log.error("%s@v%d cannot be served: %s", registry.task, entry.ordinal, error)
    return found


def size_for(versions: list[Version]) -> Size:
    """An engine with room for the highest rank among the versions of its base."""
    highest = max((rank_of(version) for version in versions), default=0)
    rank = next((rank for rank in RANKS if rank >= max(highest, Size.rank)), RANKS[-1])
    return Size(rank=rank)


def rank_of(version: Version) -> int:
    """The highest rank of any module of an adapter; 0 if its config cannot be read."""
    try:
        config = json.loads((version.folder / CONFIG).read_text())
        return max(int(config["r"]), *(config.get("rank_pattern") or {"": 0}).values())
    except (OSError, ValueError, KeyError, TypeError):
        return 0


class Control:
    """Keeps a gateway's routes in step with the registry."""

    def __init__(self, gateway: Gateway, engines: list[Engine]) -> None:
        self.gateway = gateway
        gateway.engines = {engine.base.fingerprint: engine for engine in engines}
        gateway.routes = replace(gateway.routes, bases={e.name: e.base.fingerprint for e in engines})
        self.seen: dict[str, int] = {}
        self.failed: dict[str, str] = {}  # task → hash that could not be loaded

    async def refresh(self) -> None:
        """Take in what the registry says now."""
        registries = await asyncio.to_thread(read_registries)
        versions = await asyncio.to_thread(read_versions, registries, self.gateway.routes.versions)
        self.gateway.routes = replace(self.gateway.routes, registries=registries, versions=versions)
        for task, registry in registries.items():
            wanted = registry.aliases.get("prod")
            if wanted in versions and wanted not in (self.gateway.routes.live.get(task), self.failed.get(task)):
                await self._go_live(versions[wanted])

    async def _go_live(self, version: Version) -> None:
        engine = self.gateway.engines.get(version.facts.fingerprint)
        try:
            if engine is None:
                raise EngineError(f"its base {version.facts.base} is not the one that this server runs")
            if version.name not in engine.loaded:
                await engine.load(version.name, version.folder)
            await warm_up(engine, version.name)
        except EngineError as error:
            self.failed[version.task] = version.sha
            log.error("%s cannot be served, the version before stays: %s", version.name, error)
            return
        self.failed.pop(version.task, None)
        routes = self.gateway.routes
        self.gateway.routes = replace(routes, live={**routes.live, version.task: version.sha})
        log.info("%s is live", version.name)

    async def follow(self) -> None:
        """Watch the registry's files for ever."""
        while True:
            await asyncio.sleep(FOLLOW)
            seen = {str(path): path.stat().st_mtime_ns for path in home("registry", "x").parent.glob("*.json")}
            if seen != self.seen:
                self.seen = seen
                await self.refresh()


async def warm_up(engine: Engine, model: str) -> None:
    """One short answer, so that no caller pays for the first use. EngineError if there is none."""
    request = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}
    async with engine.session.post("/v1/chat/completions", json=request) as reply:
        if reply.status != 200:
            raise EngineError(f"the engine answers {model} with {reply.status}: {(await reply.text())[:300]}")
