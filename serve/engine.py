"""One vLLM over one 4-bit base: started on a private socket with a random key, watched, and stopped with its children.

The checkpoint is the very one that training used, and nothing outside a version changes its answers: no generation
config of the base's makers, a fixed seed, thinking off, the checkpoint's own chat template. The unsafe runtime updates
of vLLM stay off; adapters come through our plugin's routes (`serve/plugin.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from factory.base.build import Base
from factory.errors import FactoryError
from factory.home import shown
from serve.boot import PARENT, python_path

START_LIMIT = 900.0  # seconds until an engine counts as stuck while starting
KEEP_ALIVE = 120  # seconds that the engine keeps an idle connection; we give it up long before, so none breaks in use
STOP_LIMIT = 10.0  # seconds it may take to stop before it is killed
MODULE = "serve.boot"  # what an engine's process runs
# How families of models write tool calls (vLLM's parsers); other bases answer without tools.
TOOL_PARSERS = {"qwen2": "hermes", "qwen3": "hermes", "llama": "llama3_json", "mistral": "mistral"}
PLUGINS = "adapter_factory,adapter_factory_child,bitsandbytes"


class EngineError(FactoryError):
    """The engine did not do what it was asked; it may be gone."""


@dataclass(frozen=True)
class Size:
    """How many adapters, and of which rank, an engine is built for."""

    slots: int = 8  # adapters in one batch
    rank: int = 16  # one of vLLM's: 1, 8, 16, 32, 64, 128, 256, 320, 512
    held: int = 64  # adapters in memory beside the slots; more are read again from their files when asked for
    requests: int = 128  # requests in one batch


class Engine:
    """A vLLM process. `start` it, talk to it through `session`, `stop` it; it may be started again."""

    def __init__(self, base: Base, log: Path, size: Size, name: str = "") -> None:
        self.base, self.log, self.size = base, log, size
        self.name = name or Path(base.name).name
        self.folder = Path(tempfile.mkdtemp(prefix=f"factory-engine-{os.getpid()}-"))
        self.socket = self.folder / "engine.sock"
        self.key = secrets.token_urlsafe(24)
        self.process: subprocess.Popen[bytes] | None = None
        self.loaded: set[str] = set()  # adapter names since the last start
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The connection pool to the engine. Only within the event loop that called `start`."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                "http://engine",
                connector=aiohttp.UnixConnector(str(self.socket), limit=0, keepalive_timeout=KEEP_ALIVE / 2),
                headers={"authorization": f"Bearer {self.key}"},
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
                auto_decompress=False,
                read_bufsize=2**18,
            )
        return self._session

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    async def start(self, progress: Callable[[str], None] = lambda text: None) -> None:
        """Start vLLM and wait until it answers. EngineError with the end of its log if it dies or takes too long."""
        self.socket.unlink(missing_ok=True)
        self.loaded.clear()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                command(self.base, self.socket, self.size, self.name),
                env=environment(self.key),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        told = 0.0
        while not await self.healthy():
            waited = time.monotonic() - began
            if not self.alive():
                code = self.process.returncode
                await self.stop()
                raise EngineError(f"the engine for {self.name} ended with code {code} while starting{self.tail()}")
            if waited > START_LIMIT:
                await self.stop()
                raise EngineError(f"the engine for {self.name} was not ready after {START_LIMIT:.0f} s{self.tail()}")
            if waited - told >= 5:
                told = waited
                progress(f"engine for {self.name} starting: {waited:.0f} s")
            await asyncio.sleep(0.2)
        progress(f"engine for {self.name} ready after {time.monotonic() - began:.0f} s")

    async def stop(self) -> None:
        """End vLLM and all its children; kill what does not end within STOP_LIMIT seconds."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        process, self.process = self.process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        limit = time.monotonic() + STOP_LIMIT
        while process.poll() is None and time.monotonic() < limit:
            await asyncio.sleep(0.05)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def discard(self) -> None:
        """Remove the private folder. The log stays."""
        shutil.rmtree(self.folder, ignore_errors=True)

    async def healthy(self, limit: float = 5.0) -> bool:
        """True if the engine answers within `limit` seconds."""
        if not self.alive() or not self.socket.exists():
            return False
        try:
            async with self.session.get("/health", timeout=aiohttp.ClientTimeout(total=limit)) as reply:
                return reply.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def load(self, name: str, folder: Path) -> None:
        """Load the adapter in `folder` under `name`. EngineError with vLLM's reason if it refuses."""
        await self._ask("load", {"name": name, "path": str(folder)})
        self.loaded.add(name)

    async def warm_up(self, model: str, messages: list[dict[str, Any]] | None = None) -> str:
        """One short sampled answer, so that no caller pays for the first use. EngineError if there is none."""
        request = {"model": model, "messages": messages or [{"role": "user", "content": "Hello"}], "max_tokens": 2}
        try:
            async with self.session.post("/v1/chat/completions", json=request) as reply:
                if reply.status != 200:
                    raise EngineError(f"the engine answers {model} with {reply.status}: {(await reply.text())[:300]}")
                return str((await reply.json())["choices"][0]["message"]["content"])
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise EngineError(f"the engine for {self.name} does not answer: {error or type(error).__name__}") from None

    async def unload(self, name: str) -> None:
        self.loaded.discard(name)
        await self._ask("unload", {"name": name})

    async def pin(self, name: str) -> None:
        await self._ask("pin", {"name": name})

    async def adapters(self) -> dict[str, bool]:
        """The loaded names, and whether the engine holds each in memory now."""
        return dict((await self._ask("adapters"))["adapters"])

    async def _ask(self, what: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        method = "POST" if body else "GET"
        try:
            async with self.session.request(
                method, f"/v1/factory/{what}", json=body, timeout=aiohttp.ClientTimeout(total=120)
            ) as reply:
                answer = await reply.json()
                if reply.status != 200:
                    raise EngineError(f"the engine refused to {what} {(body or {}).get('name', '')}: {answer}")
                return dict(answer)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise EngineError(f"the engine for {self.name} does not answer: {error or type(error).__name__}") from None

    def tail(self, lines: int = 12) -> str:
        """The end of the log, for messages."""
        text = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return f"; its log {shown(self.log)} ends:\n  " + "\n  ".join(line[:300] for line in text[-lines:])


def command(base: Base, socket: Path, size: Size, name: str) -> list[str]:
    """The command line of vLLM for a base."""
    options: dict[str, Any] = {
        "model": base.folder,
        "served-model-name": name,
        "uds": socket,
        "max-loras": size.slots,
        "max-cpu-loras": max(size.held, size.slots),
        "max-lora-rank": size.rank,
        "max-num-seqs": size.requests,
        "max-model-len": context_length(base),
        "seed": 0,
        "generation-config": "vllm",
        "default-chat-template-kwargs": json.dumps({"enable_thinking": False}),
    }
    flags = ["enable-lora", "disable-uvicorn-access-log", "disable-fastapi-docs"]
    if not cuda():
        flags.append("enforce-eager")
    config = json.loads((base.folder / "config.json").read_text())
    if parser := TOOL_PARSERS.get(config.get("model_type", "")):
        flags.append("enable-auto-tool-choice")
        options["tool-call-parser"] = parser
    return [
        *(sys.executable, "-m", MODULE),
        *(f"--{key}={value}" for key, value in options.items()),
        *(f"--{flag}" for flag in flags),
    ]


def environment(key: str) -> dict[str, str]:
    """The engine's environment: ours, offline, without usage reports, with our plugin and no other."""
    return {
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB, unless the user says otherwise
        **os.environ,
        PARENT: str(os.getpid()),
        "PYTHONPATH": python_path(),
        "VLLM_API_KEY": key,
        "VLLM_PLUGINS": PLUGINS,
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": str(KEEP_ALIVE),
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "0",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def context_length(base: Base) -> int:
    """Tokens of a prompt and its answer together: what the base was made for, at most 16,384."""
    config = json.loads((base.folder / "config.json").read_text())
    return min(16384, int(config.get("max_position_embeddings") or 4096))


def cuda() -> bool:
    import torch

    return torch.cuda.is_available()
