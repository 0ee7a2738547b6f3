"""The engines of one base, kept alive: started, watched, restarted with back-off, their adapters loaded again first.

Several engines of a base are replicas: an adapter prefers one of them (rendezvous hashing), so that its slot and its
prefix cache are used, and moves to the next when that one is much busier or away.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from factory import control
from factory.base.build import Base
from factory.errors import FactoryError
from factory.probe import Messages, Scores
from factory.registry.preflight import Refused
from serve import probe
from serve.engine import Engine, EngineError, EngineProcess
from serve.fair import Admission
from serve.process import Size, tool_parser
from serve.replies import Refusal, unavailable

log = logging.getLogger("serve.pool")
WATCH = 0.2  # seconds between two looks at a process
PROBE = 3.0  # seconds between two health checks
PATIENCE = 10  # failed health checks until an engine counts as hung
SPILL = 8  # requests that an adapter's preferred replica may have more than the emptiest one
LONGEST_PAUSE = 60.0  # seconds between restarts at most

GREETING: Messages = [{"role": "user", "content": "Hello"}]
Launch = Callable[[Base, Size, str, Path], EngineProcess]


async def forever(step: Callable[[], Awaitable[None]], what: str, every: float = 0.0) -> None:
    """Do `step` again and again, `every` so many seconds: a fault is logged and ends neither this nor the server."""
    while True:
        await asyncio.sleep(every)
        try:
            await step()
        except Exception:
            log.exception("%s failed; trying again", what)
            await asyncio.sleep(1)


class Replica:
    """An engine, its admission queue, and whether it is ready to answer."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.admission = Admission(engine.size.requests, engine.size.slots, engine.size.long)
        self.ready = False
        self.restarts = 0
        self.pause = 1.0  # seconds before the next restart


@dataclass
class Adapter:
    """An adapter's files, the conversations that tell what it does, and their scores as the engine first gave them."""

    folder: Path
    prompts: list[Messages]
    scores: Scores = field(default_factory=list)


class Pool:
    """All replicas of one base. `wanted` are the adapters that every replica must hold before it counts as ready;
    `refused` is told the name and the reason when a restarted engine does not do with one what it did before."""

    def __init__(
        self, base: Base, folder: Path, size: Size, replicas: int, launch: Launch, refused: Callable[[str, str], None]
    ) -> None:
        self.base, self.size, self.refused = base, size, refused
        self.name = base.label
        self.tools = bool(tool_parser(base))  # whether its engines know the tool calls that it writes
        self.control = control.tokens_of(base.folder)
        self.wanted: dict[str, Adapter] = {}
        self.greeting: Scores = []
        self._loading = asyncio.Lock()
        self.replicas = [
            Replica(Engine(launch(base, size, self.name, folder / f"engine-{self.name}-{number}.log")))
            for number in range(replicas)
        ]
        self._keepers: list[asyncio.Task[None]] = []

    def harmless(self, request: dict[str, Any]) -> dict[str, Any]:
        """A request whose messages and tools hold no control tokens: what users wrote is text, as in training. Refusal
        400 for a raw prompt that holds one: a token it was never meant to be, or a template rendered elsewhere."""
        texts = request.get("prompt", "")
        for text in [texts] if isinstance(texts, str) else texts:
            if isinstance(text, str) and (token := control.first_in(text, self.control)):
                why = (
                    f"prompt holds {token}, which is a control token of {self.name} and is no text: send the turns to "
                    "/v1/chat/completions, or the prompt as token ids"
                )
                raise Refusal(400, why, param="prompt", code="control_token")
        said = {name: request[name] for name in ("messages", "tools", "tool_choice") if name in request}
        return {**request, **control.harmless_in(said, self.control)}

    async def start(self, tell: Callable[[str], None]) -> None:
        """Start all replicas, then watch over them. EngineError if one does not start."""
        for replica in self.replicas:
            tell(f"starting an engine for {self.name}; its log is {replica.engine.process.log}")
            await replica.engine.start(tell)
            self.greeting = await probe.read(replica.engine, self.name, [GREETING])
            replica.ready = True
        self._keepers = [
            asyncio.create_task(forever(partial(self._keep, replica), f"watching the engine for {self.name}"))
            for replica in self.replicas
        ]

    async def stop(self) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        for replica in self.replicas:
            replica.ready = False
            await replica.engine.stop()
            replica.engine.process.discard()

    def ready(self) -> list[Replica]:
        return [replica for replica in self.replicas if replica.ready]

    def pick(self, model: str, without: Collection[Replica] = ()) -> Replica:
        """The replica that answers for an adapter now, none of `without`. Refusal 503 if none is ready."""
        ready = [replica for replica in self.ready() if replica not in without]
        if not ready:
            raise unavailable(f"the engine for {self.name} is being restarted; try again soon")
        if len(ready) == 1:
            return ready[0]
        least = min(replica.admission.running for replica in ready)
        preferred = sorted(ready, key=lambda r: hashlib.sha256(f"{model} {r.engine.process.log}".encode()).digest())
        return next(replica for replica in preferred if replica.admission.running <= least + SPILL)

    async def load(self, name: str, adapter: Adapter, made: Scores | None = None) -> None:
        """Load an adapter everywhere, and see that it does what it should, before anyone may ask for it.

        `made` are the scores of its conversations from when it was made, if they are known. If one engine cannot load
        it (EngineError) or does not do with it what it should (Refused), none keeps it.
        """
        if name in self.wanted:
            return
        if not self.ready():
            raise EngineError(f"the engine for {self.name} is being restarted")
        async with self._loading:  # one after the other, so that what changes the base's answers is known
            try:
                while new := [replica for replica in self.ready() if name not in replica.engine.loaded]:
                    loads = (self._load(replica, name, adapter, made) for replica in new)
                    for scores in await asyncio.gather(*loads, return_exceptions=True):
                        if isinstance(scores, BaseException):
                            raise scores
                        adapter.scores = scores
            except FactoryError:
                await asyncio.gather(*(r.engine.unload(name) for r in self.ready()), return_exceptions=True)
                raise
            self.wanted[name] = adapter

    async def _load(self, replica: Replica, name: str, adapter: Adapter, made: Scores | None) -> Scores:
        before = await probe.read(replica.engine, self.name, adapter.prompts)
        await replica.engine.load(name, adapter.folder)
        try:
            async with replica.admission.turn(f"{name} (probe)", name):  # it needs a slot as others do
                return await probe.check(replica.engine, self.name, name, adapter.prompts, before, made)
        except Refusal as busy:
            raise EngineError(busy.message) from None

    async def unload(self, name: str) -> None:
        if self.wanted.pop(name, None):
            await asyncio.gather(*(r.engine.unload(name) for r in self.ready()), return_exceptions=True)

    async def _keep(self, replica: Replica) -> None:
        """Watch one replica until it ends or hangs, and start it again with everything it held."""
        engine, up_since = replica.engine, time.monotonic()
        await self._until_gone(engine)
        replica.ready = False
        replica.admission.fail(unavailable(f"the engine for {self.name} stopped; try again soon"))
        log.error("the engine for %s is gone; restarting it%s", self.name, await engine.process.tail(3))
        if time.monotonic() - up_since > LONGEST_PAUSE:
            replica.pause = 1.0
        while not replica.ready:
            await engine.stop()
            await asyncio.sleep(replica.pause)
            replica.pause = min(2 * replica.pause, LONGEST_PAUSE)
            try:
                await engine.start()
                await self._replay(engine)
                replica.ready = True
            except EngineError as error:
                log.error("%s", error)
            except Exception:  # whatever it is, it may pass, and nobody else would try again
                log.exception("the engine for %s cannot be started; trying again", self.name)
        replica.restarts += 1
        log.info("the engine for %s is back with %d adapters", self.name, len(self.wanted))

    async def _replay(self, engine: Engine) -> None:
        """Load all wanted adapters, also those that came to be wanted meanwhile, and see that they and the base do what
        they did; an adapter that does not is not wanted any more. EngineError if the base does not."""
        while True:
            for name in sorted(set(self.wanted) - engine.loaded):
                if adapter := self.wanted.get(name):
                    await engine.load(name, adapter.folder)
                    try:
                        await probe.again(engine, name, adapter.prompts, adapter.scores)
                    except Refused as error:
                        log.error("%s is refused: %s", name, error)
                        await engine.unload(name)
                        await self.unload(name)
                        self.refused(name, str(error))
            try:
                await probe.again(engine, self.name, [GREETING], self.greeting)
            except Refused as error:
                raise EngineError(f"the engine for {self.name} is of no use: {error}") from None
            if engine.loaded >= set(self.wanted):
                return

    @staticmethod
    async def _until_gone(engine: Engine) -> None:
        misses, probed = 0, time.monotonic()
        while await engine.process.alive() and misses < PATIENCE:
            await asyncio.sleep(WATCH)
            if time.monotonic() - probed >= PROBE:
                misses = 0 if await engine.healthy() else misses + 1
                probed = time.monotonic()
