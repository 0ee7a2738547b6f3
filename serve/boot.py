"""The engine's own process: `python -m serve.boot …` is vLLM's API server that never outlives its parent.

A gateway that is killed cannot stop its children any more, so each process of the engine asks the kernel to kill it
when its own parent dies: this one before vLLM starts, forked ones after the fork, spawned ones through the general
plugin (`die_with_parent` is its entry point), which vLLM runs in every process.
"""

import ctypes
import os
import signal
from pathlib import Path

PARENT = "FACTORY_SERVE_PARENT"
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends. Outside our engine, and without Linux, do nothing.

    `FACTORY_SERVE_PARENT` holds the parent's process id; each process hands its own on to its children.
    """
    parent, me = int(os.environ.get(PARENT, "0")), os.getpid()
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is None or parent in (0, me):
        return
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ[PARENT] = str(me)
    try:
        os.kill(parent, 0)
    except ProcessLookupError:  # it ended before we asked
        os._exit(1)


def python_path() -> str:
    """PYTHONPATH with which a child finds this package, whatever its working directory."""
    return os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))


def main() -> None:
    """Run vLLM's API server with this process's arguments."""
    die_with_parent()
    os.register_at_fork(after_in_child=die_with_parent)
    from vllm.entrypoints.launchers.api_server.entry import main as vllm_main

    vllm_main()


if __name__ == "__main__":
    main()
