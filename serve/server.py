"""`factory serve`: engines, gateway and admin listener as one process to start and stop.

`serve()` blocks until Ctrl-C or SIGTERM. `running()` runs the same in a child process while a block runs, for tests,
quickstart and bench; the child ends with its parent, however that ends.
"""

import asyncio
import contextlib
import json
import logging
import os
import platform
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Literal

import uvicorn
import uvloop

from factory import stopping
from factory.base.build import Base
from factory.errors import FactoryError, InputError
from factory.home import PRIVATE, home, locked, write_json
from factory.listening import address, listen
from serve import boot
from serve.admin import Admin
from serve.auth import LOCAL, Keys, keys_file
from serve.control import FOLLOW, Control
from serve.engine import EngineProcess
from serve.gateway import Gateway
from serve.guard import GuardedProtocol
from serve.logs import open_logs
from serve.metrics import Metrics
from serve.pool import Launch, forever
from serve.private import sweep
from serve.process import Process, Size, for_callers, placed
from serve.telemetry import Traces

log = logging.getLogger("serve")
KEEP_ALIVE = 75  # seconds that an idle connection stays open: longer than clients keep theirs, so none breaks in use
LINGER = 20  # seconds that running answers have to end when the server stops
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """How to serve. Port 0 takes a free one; `base` is started even if no version of it is promoted. Each engine is
    split over `tensor_parallel` GPUs and takes the share `memory` of each; 0 takes what is free."""

    host: str = "127.0.0.1"
    port: int = 8000
    admin_port: int = 0
    base: str = ""
    replicas: int = 1
    engine: Literal["local", "ray"] = "local"
    tensor_parallel: int = 1
    memory: float = 0.0


def serve(options: Options, progress: Progress | None = None) -> None:
    """Serve until Ctrl-C or SIGTERM. InputError for a port that is taken, EngineError if vLLM does not start."""
    tell = progress or (lambda text: print(text, file=sys.stderr, flush=True))

    def ready(url: str, models: list[str]) -> None:
        tell(f"serving {', '.join(models)} at {url}/v1; Ctrl-C stops it")
        question = f'{{"model": "{models[-1]}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
        tell(f"  curl {url}/v1/chat/completions -H 'content-type: application/json' -d '{question}'")
        if not keys_file().exists():
            tell("  no keys: only this machine is served (make one: factory key new name=app)")

    _until_stopped(options, tell, ready)
    tell("stopped")


@contextlib.contextmanager
def running(options: Options | None = None, progress: Progress | None = None) -> Iterator[str]:
    """Serve while the block runs; gives the URL, by default on a free port of the loopback.

    `progress` is called with each line that the server says of itself, by default they go to stderr. FactoryError if it
    cannot start. At the end of the block everything is stopped, and also when the thread that entered it ends.
    """
    child = subprocess.Popen(
        [sys.executable, "-m", "serve.server", json.dumps(asdict(options or Options(port=0)))],
        env={**os.environ, boot.PARENT: str(os.getpid()), "PYTHONPATH": boot.python_path()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if progress else None,
        text=True,
    )
    assert child.stdout is not None
    if progress and child.stderr:
        threading.Thread(target=_relay, args=(child.stderr, progress), daemon=True).start()
    try:
        line = child.stdout.readline()
        answer = json.loads(line) if line else {"error": f"the server ended with code {child.wait()}"}
        if "error" in answer:
            raise (InputError if answer.get("code") == 2 else FactoryError)(answer["error"])
        yield answer["url"]
    finally:
        child.terminate()
        child.wait()
        child.stdout.close()


def _relay(lines: IO[str], progress: Progress) -> None:
    with lines:
        for line in lines:
            progress(line.rstrip())


def main() -> int:
    """The child of `running`: options as JSON in, one line of JSON out when it is ready or has failed."""
    boot.die_with_parent()
    options = Options(**json.loads(sys.argv[1]))

    def ready(url: str, models: list[str]) -> None:
        print(json.dumps({"url": url, "models": models}), flush=True)

    try:
        _until_stopped(options, lambda text: print(text, file=sys.stderr, flush=True), ready)
    except FactoryError as error:
        print(json.dumps({"error": str(error), "code": error.exit_code}), flush=True)
        return error.exit_code
    except OSError as error:
        print(json.dumps({"error": f"the server could not start, or go on: {error}", "code": 1}), flush=True)
        raise
    except stopping.Stopped as stopped:
        return 128 + stopped.number
    return 0


def _until_stopped(options: Options, tell: Progress, ready: Callable[[str, list[str]], None]) -> None:
    """Serve until a signal comes. Stopped if it comes before `ready`."""
    served: list[str] = []

    def is_ready(url: str, models: list[str]) -> None:
        served.append(url)
        ready(url, models)

    try:
        stopping.run(run(options, tell, is_ready), uvloop.run)
    except stopping.Stopped:
        if not served:
            raise


async def run(options: Options, tell: Progress, ready: Callable[[str, list[str]], None]) -> None:
    """Start everything, call `ready` with the URL and the models, and serve until cancelled; then stop everything."""
    keys, metrics = Keys(keys_file()), Metrics()
    if options.host not in LOCAL and not keys.required:
        raise InputError(
            f"host={options.host} would serve others without keys: make one first (factory key new name=app)"
        )
    folder = home("runs", f"serve-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
    with contextlib.ExitStack() as undo:
        undo.enter_context(locked(home("serve", "server"), _taken))
        for links in home("runs").glob("serve-*/adapters"):  # of servers that were killed, as what `sweep` finds
            shutil.rmtree(links, ignore_errors=True)
        sweep()
        public = undo.enter_context(contextlib.closing(listen(options.host, options.port)))
        private = undo.enter_context(contextlib.closing(listen("127.0.0.1", options.admin_port, "admin_port")))
        undo.enter_context(open_logs(folder))
        traces = Traces()
        undo.callback(traces.close)
        token = secrets.token_urlsafe(32)
        control = Control(folder, metrics, options.replicas, _launch(options), tell)
        apps = [
            stopping.unheard(uvicorn.Server(_config(Gateway(control, keys, metrics, traces)))),
            stopping.unheard(uvicorn.Server(_config(Admin(control, keys, metrics, token)))),
        ]
        jobs: list[asyncio.Task[None]] = []
        try:
            await control.start(options.base)
            jobs = [
                *(asyncio.create_task(app.serve([at])) for app, at in zip(apps, (public, private), strict=True)),
                asyncio.create_task(forever(control.look, "following the registry", FOLLOW)),
                asyncio.create_task(forever(partial(asyncio.to_thread, keys.refresh), "reading the keys", FOLLOW)),
            ]
            while not all(app.started for app in apps):
                await asyncio.sleep(0.01)
            facts = {"host": platform.node(), "pid": os.getpid(), "url": address(public), "admin": address(private)}
            facts["token"] = token
            write_json(home("serve", "server.json"), facts, PRIVATE)
            undo.callback(home("serve", "server.json").unlink, missing_ok=True)
            ready(address(public), [*control.routes.bases, *control.routes.live()])
            await asyncio.gather(*jobs)
        finally:
            for app in apps:
                app.should_exit = True
            for job in jobs[len(apps) :]:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)
            await control.loading.stop()


def _launch(options: Options) -> Launch:
    """What starts an engine: a process here, each replica on GPUs of its own, or one that a Ray cluster places."""
    start: Launch = Process
    if options.engine == "ray":
        from serve.ray import on_ray

        start = on_ray()
    begun = Counter[str]()

    def launch(base: Base, size: Size, name: str, log: Path) -> EngineProcess:
        size = replace(size, tensor=options.tensor_parallel, share=options.memory)
        if start is Process:
            size = for_callers(placed(size, begun[base.name], options.replicas))
        begun[base.name] += 1
        return start(base, size, name, log)

    return launch


def _taken() -> None:
    """One server a home. The lock goes when the process does."""
    where = ""
    with contextlib.suppress(OSError, ValueError, KeyError):  # it may still be starting
        where = f" (on {json.loads(home('serve', 'server.json').read_text())['host']})"
    raise InputError(f"a server runs over this factory already{where}: stop it first, or set another FACTORY_HOME")


def _config(app: Gateway | Admin) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=GuardedProtocol,
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=LINGER,
    )


if __name__ == "__main__":
    sys.exit(main())
