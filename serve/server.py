"""`factory serve`: the engine, the gateway before it, and what keeps the two in step, as one process to start and stop.

`serve()` blocks until Ctrl-C or SIGTERM; `running()` is the same as a context manager, for tests and quickstart.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import uvicorn
import uvloop

from factory.base.build import Base, prepare
from factory.errors import InputError
from factory.home import home, shown
from factory.registry.store import Version
from serve.control import Control, read_registries, read_versions, size_for
from serve.engine import Engine
from serve.gateway import Gateway

log = logging.getLogger("serve")
LINGER = 10  # seconds that running answers have to end when the server stops
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """How to serve. `port=0` takes a free one; `base` is started even if no version of it is promoted."""

    host: str = "127.0.0.1"
    port: int = 8000
    base: str = ""


def serve(options: Options, progress: Progress | None = None) -> None:
    """Serve until Ctrl-C or SIGTERM. InputError for a port that is taken, EngineError if vLLM does not start."""
    tell = progress or (lambda text: print(text, file=sys.stderr, flush=True))

    def ready(url: str, models: list[str]) -> None:
        tell(f"serving {', '.join(models)} at {url}/v1; Ctrl-C stops it")
        question = f'{{"model": "{models[-1]}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
        tell(f"  curl {url}/v1/chat/completions -H 'content-type: application/json' -d '{question}'")

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await run(options, tell, ready)
        tell("stopped")

    uvloop.run(main())


@contextlib.contextmanager
def running(options: Options | None = None, progress: Progress | None = None) -> Iterator[str]:
    """Serve in a thread while the block runs; gives the URL, by default on a free port of the loopback.

    Raises what starting raises. At the end of the block everything is stopped.
    """
    options = options or Options(port=0)
    url: Future[str] = Future()
    loop = uvloop.new_event_loop()
    task = loop.create_task(run(options, progress or log.info, lambda address, _: url.set_result(address)))

    def main() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            if not url.done():
                url.set_exception(error)
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    thread = threading.Thread(target=main, name="serve", daemon=True)
    thread.start()
    try:
        yield url.result()
    finally:
        if thread.is_alive():
            loop.call_soon_threadsafe(task.cancel)
        thread.join()


async def run(options: Options, tell: Progress, ready: Callable[[str, list[str]], None]) -> None:
    """Start everything, call `ready` with the URL and the models, and serve until cancelled; then stop everything."""
    listener = _listen(options)
    engines: list[Engine] = []
    folder = home("runs", f"serve-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
    gateway = Gateway()
    try:
        engines += await asyncio.to_thread(_engines, options, folder)
        for engine in engines:
            tell(f"starting the engine for {engine.name}; its log is {shown(engine.log)}")
            await engine.start(tell)
        control = Control(gateway, engines)
        await control.refresh()
        server = _Server(_config(gateway))
        follow = asyncio.create_task(control.follow())
        serving = asyncio.create_task(server.serve([listener]))
        try:
            while not server.started:
                await asyncio.sleep(0.01)
            host, port = listener.getsockname()[:2]
            ready(
                f"http://{f'[{host}]' if ':' in host else host}:{port}",
                [*gateway.routes.bases, *sorted(gateway.routes.live)],
            )
            await asyncio.gather(serving, follow)
        finally:
            follow.cancel()
            server.should_exit = True
            await serving
    finally:
        listener.close()
        for engine in engines:
            await engine.stop()
            engine.discard()


def _engines(options: Options, folder: Path) -> list[Engine]:
    """One engine for every base that a promoted version needs, or for the one that was asked for."""
    registries = read_registries()
    versions = read_versions(registries, {})
    prod = [versions[sha] for r in registries.values() if (sha := r.aliases.get("prod")) in versions]
    names = list(dict.fromkeys([*([options.base] if options.base else []), *(v.facts.base for v in prod)]))
    engines = []
    for name in names or ["auto"]:
        base = prepare(name)
        _warn_of_other_builds(base, prod)
        mine = [v for v in versions.values() if v.facts.fingerprint == base.fingerprint]
        engines.append(Engine(base, folder / f"engine-{Path(base.name).name}.log", size_for(mine)))
    return engines


def _warn_of_other_builds(base: Base, prod: list[Version]) -> None:
    for version in prod:
        if version.facts.base == base.name and version.facts.fingerprint != base.fingerprint:
            log.warning("%s was trained on another build of %s: train it again", version.name, base.name)


def _listen(options: Options) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((options.host, options.port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise InputError(f"port {options.port} is in use: give another with port={options.port + 1}") from None
        raise InputError(f"cannot listen on {options.host}:{options.port}: {error.strerror}") from None
    return listener


def _config(gateway: Gateway) -> uvicorn.Config:
    return uvicorn.Config(
        gateway,
        http="httptools",
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=LINGER,
    )


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: whoever runs the event loop decides when it stops."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
