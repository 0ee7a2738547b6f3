"""The real server over fake engines (`tests/fakes/engine.py`) and made-up bases: up in a second, for tests of the rest.

`python -m tests.fakes.serving '{"port": 0}'` is `python -m serve.server` with these two replaced, and with a verb and
its words it is `factory`. FAKE_PATIENCE is how many seconds a client may take to send its headers, or its body;
FAKE_PREFLIGHT_SECONDS how much longer the preflight takes; FAKE_PREPARE_SECONDS how long a base is made; FAKE_OPENED a
file that gets the path of every file that the server's process opens once it serves; FAKE_GPU_BYTES the memory of each
of CUDA_VISIBLE_DEVICES, all of it free.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from bench.adapters import TARGETS
from factory import cli
from factory.base.build import Base
from factory.errors import InputError
from factory.home import digest, home, write_json
from factory.shares import Shares
from serve import boot, guard, loading, process, replies, server

LAYERS, WIDTH = 2, 32


def fake_base(name: str = "tiny") -> Base:
    """A checkpoint of which only the shapes are there."""
    folder = home("bases", name)
    if not folder.exists():
        folder.mkdir(parents=True)
        tensors = {}
        for layer in range(LAYERS):
            for target in TARGETS:
                place = "mlp" if target in ("down_proj", "gate_proj", "up_proj") else "self_attn"
                shape = json.dumps({"shape": [WIDTH, WIDTH], "of": name}).encode()
                key = f"model.layers.{layer}.{place}.{target}.weight.quant_state.bitsandbytes__nf4"
                tensors[key] = np.frombuffer(shape, np.uint8)
        save_file(tensors, folder / "model.safetensors")
        write_json(folder / "config.json", {"max_position_embeddings": 512})
        write_json(folder / "base.json", {"name": name, "fingerprint": digest(name)})
    return found_base(name)


def found_base(name: str) -> Base:
    """`factory.base.build.prepare` for the bases made by `fake_base`."""
    folder = home("bases", "tiny" if name == "auto" else name)
    if not folder.exists():
        raise InputError(f"base={name}: there is none")
    facts = json.loads((folder / "base.json").read_text())
    return Base(facts["name"], facts["name"], "1", facts["fingerprint"], folder, 1e-3)


@dataclass
class Fake:
    """A running server over fake engines."""

    url: str
    process: subprocess.Popen[str]
    home: Path

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def fake_server(folder: Path, **options: Any) -> Iterator[Fake]:
    """The server over the home `folder`; it may be killed before the block ends."""
    with tempfile.TemporaryFile("w+") as said:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.serving", json.dumps({"port": 0, **options})],
            env={
                **os.environ,
                "FACTORY_HOME": str(folder),
                boot.PARENT: str(os.getpid()),
                "PYTHONPATH": boot.python_path(),
            },
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("FAKE_STDERR") else said,
            text=True,
        )
        assert child.stdout is not None
        try:
            line = child.stdout.readline()
            if not line:
                code = child.wait()
                said.seek(0)
                raise RuntimeError(f"the server ended with {code}: {said.read()[-3000:]}")
            answer = json.loads(line)
            if "error" in answer:
                raise RuntimeError(answer["error"])
            yield Fake(answer["url"], child, folder)
        finally:
            child.terminate()
            child.wait()
            child.stdout.close()


def main() -> int:
    process.MODULE = "tests.fakes.engine"
    process.cuda = lambda: False
    if size := int(os.environ.get("FAKE_GPU_BYTES", "0")):
        process.cuda, process.on_gpu = (lambda: True), (lambda visible: Shares("cuda", size, size))
    loading.prepare = found_base
    if making := os.environ.get("FAKE_PREPARE_SECONDS"):
        loading.prepare = lambda name: _slowly(float(making)) or found_base(name)
    if patience := os.environ.get("FAKE_PATIENCE"):
        guard.HEADER_LIMIT = replies.BODY_LIMIT = float(patience)
    if seconds := os.environ.get("FAKE_PREFLIGHT_SECONDS"):
        check = loading.preflight
        loading.preflight = lambda *given: time.sleep(float(seconds)) or check(*given)
    if opened := os.environ.get("FAKE_OPENED"):
        _note_opened(opened)
    return server.main() if sys.argv[1].startswith("{") else cli.main(sys.argv[1:])


def _slowly(seconds: float) -> None:
    """As libraries work: in Python, a short call at a time."""
    print("making the base", file=sys.stderr, flush=True)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.01)


def _note_opened(path: str) -> None:
    """Write down what this process opens, as Python's audit events tell it."""
    notes = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def hook(event: str, words: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(words[0], str | bytes):
            os.write(notes, os.fsencode(os.path.abspath(words[0])) + b"\n")

    sys.addaudithook(hook)


if __name__ == "__main__":
    sys.exit(main())
