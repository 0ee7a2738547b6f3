"""One engine as the server talks to it: vLLM in a process of its own, here (`process.py`) or elsewhere (`ray.py`)."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, Self

import aiohttp

from factory.errors import FactoryError
from serve.process import Size

START_LIMIT = 900.0  # seconds until an engine counts as stuck while starting


class EngineError(FactoryError):
    """The engine did not do what it was asked; it may be gone."""


class EngineProcess(Protocol):
    """A vLLM process that can be started, watched and stopped. `url` and `key` hold once it was started."""

    url: str
    key: str
    name: str
    size: Size
    log: Path

    async def start(self) -> None: ...
    async def alive(self) -> bool: ...
    async def stop(self) -> None: ...
    async def tail(self, lines: int = 12) -> str: ...
    def connector(self) -> aiohttp.BaseConnector: ...
    def discard(self) -> None: ...


class Engine:
    """`start` it, talk to it through `session`, `stop` it; it may be started again."""

    def __init__(self, process: EngineProcess) -> None:
        self.process, self.name, self.size = process, process.name, process.size
        self.loaded: set[str] = set()  # adapter names since the last start
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The connection pool to the engine. Only within the event loop that called `start`."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                self.process.url,
                connector=self.process.connector(),
                headers={"authorization": f"Bearer {self.process.key}"},
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
                auto_decompress=False,
                read_bufsize=2**18,
            )
        return self._session

    async def start(self, progress: Callable[[str], None] = lambda text: None) -> None:
        """Start vLLM and wait until it answers. EngineError with the end of its log if it dies or takes too long."""
        self.loaded.clear()
        began = time.monotonic()
        await self.process.start()
        told = 0.0
        while not await self.healthy():
            waited = time.monotonic() - began
            why = ""
            if not await self.process.alive():
                why = "ended while starting"
            elif waited > START_LIMIT:
                why = f"was not ready after {START_LIMIT:.0f} s"
            if why:
                message = f"the engine for {self.name} {why}{await self.process.tail()}"
                await self.stop()
                raise EngineError(message)
            if waited - told >= 5:
                told = waited
                progress(f"engine for {self.name} starting: {waited:.0f} s")
            await asyncio.sleep(0.2)
        progress(f"engine for {self.name} ready after {time.monotonic() - began:.0f} s")

    async def __aenter__(self) -> Self:
        """Not started yet: `start` may want to tell how it goes."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing of it is left, however the block ends."""
        await self.stop()
        self.process.discard()

    async def stop(self) -> None:
        """End vLLM and all its children. Who asks meanwhile opens connections of their own, and is told that nobody
        answers."""
        await self._hang_up()
        await self.process.stop()
        await self._hang_up()

    async def _hang_up(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def healthy(self) -> bool:
        """True if the engine answers within five seconds."""
        if not await self.process.alive():
            return False
        try:
            async with self.session.get("/health", timeout=aiohttp.ClientTimeout(total=5)) as reply:
                return reply.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def load(self, name: str, folder: Path) -> None:
        """Load the adapter in `folder` under `name`. EngineError with vLLM's reason if it refuses."""
        await self._ask("load", {"name": name, "path": str(folder)})
        self.loaded.add(name)

    async def read(self, model: str, messages: list[dict[str, Any]]) -> list[float]:
        """The log-probability of each token of a conversation, as the model's chat template renders it, but the first;
        and a short answer is sampled, so that no caller pays for the first use. EngineError if there is none."""
        request = {"model": model, "messages": messages, "max_tokens": 2, "prompt_logprobs": 0}
        try:
            async with self.session.post("/v1/chat/completions", json=request) as reply:
                if reply.status != 200:
                    raise EngineError(f"the engine answers {model} with {reply.status}: {(await reply.text())[:300]}")
                scored = (await reply.json())["prompt_logprobs"]
                return [float(next(iter(token.values()))["logprob"]) for token in scored[1:]]
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError, TypeError) as error:
            raise EngineError(f"the engine for {self.name} does not answer: {error or type(error).__name__}") from None

    async def unload(self, name: str) -> None:
        self.loaded.discard(name)
        await self._ask("unload", {"name": name})

    async def end(self, request: str) -> dict[str, int]:
        """End a running request. What it has used up: its prompt's tokens, those of its unfinished answers, the
        longest's and how many they are. EngineError if the engine does not say so."""
        return await self._ask("end", {"name": request}, limit=30.0)

    async def resident(self) -> int | None:
        """How many adapters the engine holds in memory now; None if it does not say so at once."""
        try:
            return int(sum((await self._ask("adapters", limit=2.0))["adapters"].values()))
        except EngineError:
            return None

    async def _ask(self, what: str, body: dict[str, Any] | None = None, limit: float = 120.0) -> dict[str, Any]:
        method = "POST" if body else "GET"
        try:
            async with self.session.request(
                method, f"/v1/factory/{what}", json=body, timeout=aiohttp.ClientTimeout(total=limit)
            ) as reply:
                answer = await reply.json()
                if reply.status != 200:
                    raise EngineError(f"the engine refused to {what} {(body or {}).get('name', '')}: {answer}")
                return dict(answer)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise EngineError(f"the engine for {self.name} does not answer: {error or type(error).__name__}") from None
