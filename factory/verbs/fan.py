"""`factory train … devices=N`: work spread over several GPUs of this machine, a process with a base of its own on each.

Plain processes and not Ray: on one machine they need no daemon and no package that GPU machines are not set up with
(requirements/gpu.txt has no Ray), and what a worker leaves (runs, checkpoints, versions) lies in the home in any case.
Where there is no GPU the processes share the processor's cores. It was tried with processes on a CPU, on no GPU.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.errors import FactoryError, InputError
from factory.shares import gpus
from factory.terminal import err
from factory.train.fused import Failed
from factory.train.trained import Trained
from serve.boot import PARENT, python_path

DEAF = 30.0  # seconds after which a worker that does not end is killed
TRIES = 2  # on so many devices a piece of work may lose its worker
PROCESS = "from serve.boot import die_with_parent; die_with_parent()"  # what a worker begins with
COMMAND = f"{PROCESS}; from factory.cli import main; exit(main())"
PART = f"{PROCESS}; import sys; from factory.verbs import fan, {{0}}; exit(fan.answer({{0}}.child, sys.argv[1]))"


@dataclass(frozen=True)
class Lost:
    """Why a piece of work has no result."""

    why: str


@dataclass(frozen=True)
class Device:
    """Where a worker runs: a GPU as CUDA_VISIBLE_DEVICES names it, or some cores of the processor."""

    name: str
    environment: dict[str, str]


def devices(asked: str) -> list[Device]:
    """The first so many devices of this machine. InputError if it has not as many."""
    import torch

    count = int(asked) if asked.isdecimal() else 0
    if torch.cuda.is_available():
        found = [Device(f"GPU {name}", {"CUDA_VISIBLE_DEVICES": name}) for name in gpus()]
    else:
        cores = os.cpu_count() or 1
        each = {"OMP_NUM_THREADS": str(max(1, cores // max(1, count)))}
        found = [Device(f"process {number}", each) for number in range(1, cores + 1)]
    if not 1 <= count <= len(found):
        raise InputError(f"devices={asked}: must be a whole number from 1 to {len(found)}, as many as there are here")
    return found[:count]


def encoded(result: Trained | Failed) -> dict[str, Any]:
    """What came of a training, as a worker prints it."""
    if isinstance(result, Failed):
        return {"failed": result.why, "step": result.step, "run": str(result.run)}
    return {"failed": "", "trained": result.to_json()}


def decoded(name: str, said: dict[str, Any]) -> Trained | Failed:
    """The same, read again."""
    if said["failed"]:
        return Failed(name, said["failed"], said["step"], Path(said["run"]))
    return Trained.of_json(said["trained"])


def answer(child: Callable[[dict[str, Any]], dict[str, Any]], spec: str) -> int:
    """What a worker of PART does: `child` of a verb's module is given the spec, and its result printed as JSON."""
    try:
        print(json.dumps(child(json.loads(spec))), flush=True)
    except FactoryError as error:
        print(f"factory: {error}", file=sys.stderr)
        return error.exit_code
    return 0


class Worker:
    """Runs pieces of work, each the words of a `factory` command or the `code` of another, and reads their JSON."""

    def __init__(self, code: str = COMMAND) -> None:
        self.code = code
        self.running: set[subprocess.Popen[str]] = set()
        self.stopped = False

    def __call__(self, words: Sequence[str], device: Device) -> dict[str, Any] | Lost:
        """What it prints, or how it was lost. InputError with its message if it says that the input is wrong."""
        if self.stopped:
            return Lost("stopped")
        process = subprocess.Popen(
            [sys.executable, "-c", self.code, *words],
            env={**os.environ, **device.environment, PARENT: str(os.getpid()), "PYTHONPATH": python_path()},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.add(process)
        if self.stopped:  # while it was being started: it has begun nothing
            process.kill()
        said: list[str] = []
        assert process.stderr and process.stdout
        teller = threading.Thread(target=_tell, args=(process.stderr, device.name, said), daemon=True)
        teller.start()
        with process.stdout:
            result = process.stdout.read()
        code = process.wait()
        teller.join()
        self.running.discard(process)
        if code == InputError.exit_code:
            raise InputError(*[line.removeprefix("factory: ") for line in said[-1:]])
        try:
            return dict(json.loads(result.splitlines()[-1]))
        except (ValueError, IndexError):
            return Lost(f"its process ended with {code} on {device.name}: {(said or ['it said nothing'])[-1]}")

    def stop(self) -> None:
        """End what still runs, when the rest is of no use any more. What does not hear it, as a process that waits in a
        library for another one that is gone, is killed."""
        self.stopped, began = True, time.monotonic()
        while self.running:  # asked again after a while: between its start and its program a process hears nothing
            for process in list(self.running):
                process.kill() if time.monotonic() - began > DEAF else process.terminate()
            limit = time.monotonic() + 3
            while self.running and time.monotonic() < limit:
                time.sleep(0.05)


def _tell(lines: Any, device: str, said: list[str]) -> None:
    with lines:
        for line in lines:
            said.append(line.rstrip())
            err.print(f"{device}: {line.rstrip()}", markup=False)


def spread(
    works: Sequence[Sequence[str]],
    on: Sequence[Device],
    work: Callable[[Sequence[str], Device], dict[str, Any] | Lost],
) -> list[dict[str, Any] | Lost]:
    """The result of each piece of work, in their order; whoever is free takes the next.

    What loses its worker is tried again on another device, and the device that lost it gets nothing more, unless it is
    the last. Errors of `work` itself end the whole.
    """
    waiting, tries = list(range(len(works))), Counter[int]()
    results: dict[int, dict[str, Any] | Lost] = {}
    left, over = len(on), False
    changed = threading.Condition()

    def serve(device: Device) -> None:
        nonlocal left
        while True:
            with changed:
                changed.wait_for(lambda: waiting or over or len(results) == len(works))
                if not waiting or over:
                    return
                number = waiting.pop(0)
            result = work(works[number], device)
            with changed:
                if isinstance(result, Lost) and not over:
                    tries[number] += 1
                    err.print(f"lost: {result.why}", markup=False)
                if isinstance(result, Lost) and tries[number] < TRIES:
                    waiting.insert(0, number)
                else:
                    results[number] = result
                changed.notify_all()
                if isinstance(result, Lost) and left > 1:
                    left -= 1
                    return

    with ThreadPoolExecutor(len(on)) as pool:
        try:  # a signal that comes while they are being started ends those that were
            served = [pool.submit(serve, device) for device in on]
            for one in wait(served, return_when=FIRST_EXCEPTION).done:
                one.result()
        finally:
            with changed:
                over = True
                changed.notify_all()
            if len(results) < len(works) and isinstance(work, Worker):
                work.stop()
    return [results[number] for number in range(len(works))]
