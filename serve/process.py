"""The process of an engine: vLLM's command line and environment, on a private unix socket or, elsewhere, on a port.

The checkpoint is the very one that training used, and nothing outside a version changes its answers: no generation
config of the base's makers, a fixed seed, thinking off, the checkpoint's own chat template. The unsafe runtime updates
of vLLM stay off; adapters come through our plugin's routes (`serve/plugin.py`), and every path needs the random key.
"""

import asyncio
import contextlib
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp

from factory.base.build import Base
from factory.environment import ALLOCATOR, DEFAULTS
from factory.errors import FactoryError
from factory.home import shown
from factory.precision import precision
from factory.shares import ENGINE, gpus, on_gpu
from factory.train.memory import Shape
from serve import nf4
from serve.boot import PARENT, python_path
from serve.private import Private

KEEP_ALIVE = 120  # seconds that the engine keeps an idle connection; we give it up long before, so none breaks in use
STOP_LIMIT = 10.0  # seconds it may take to stop before it is killed
MODULE = "serve.boot"  # what an engine's process runs
# How models write tool calls: vLLM's parser, and the mark that opens a call, which tokenizer and template must hold.
TOOL_PARSERS = {"hermes": "<tool_call>", "llama3_json": "<|python_tag|>", "mistral": "[TOOL_CALLS]"}
PLUGINS = "adapter_factory,adapter_factory_child,adapter_factory_nf4,bitsandbytes"
STEP = 512  # tokens that an engine on a CPU reads and writes in one step
CACHED = 12_288  # tokens whose keys and values an engine on a CPU keeps; more if one request may be longer
FEW = 4  # cores, none of which vLLM shall keep free; where there are more it binds its threads to them
WORKING = 1.5e9  # bytes that an engine's activations, graphs and kernels take beside weights, slots, keys and values
# The one function that vLLM compiles on a CPU in spite of enforce-eager ranks log-probabilities: that takes a compiler
# of 500 MB beside the engine, and uncompiled it takes 2 ms for 64 tokens.
EAGER = {"TORCHDYNAMO_DISABLE": "1"}


@dataclass(frozen=True)
class Size:
    """How many adapters, and of which rank, an engine is built for, and what of the machine it gets."""

    slots: int = 8  # adapters in one batch
    rank: int = 16  # one of vLLM's: 1, 8, 16, 32, 64, 128, 256, 320, 512
    held: int = 64  # adapters in memory beside the slots; more are read again from their files when asked for
    requests: int = 128  # requests in one batch
    long: int = 0  # long prompts that are read at once; 0: any number
    tensor: int = 1  # GPUs that it is split over
    devices: str = ""  # those, as CUDA_VISIBLE_DEVICES names them; empty: what this process sees
    share: float = 0.0  # of each GPU's memory; 0: what is free there, as `planned` finds
    beside: int = 1  # engines on the same GPUs


class Process:
    """vLLM on this machine. With `host` it listens on a free port there, else on a unix socket in a private folder."""

    def __init__(self, base: Base, size: Size, name: str, log: Path, host: str = "") -> None:
        self.base, self.size, self.name, self.log, self.host = base, size, name, log, host
        self.private = Private()
        self.socket = self.private.path / "engine.sock"
        self.key = secrets.token_urlsafe(24)
        self.url = "http://engine"
        self._running: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it; it answers some time later."""
        self.private.ensure()
        self.socket.unlink(missing_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        listen = {"uds": str(self.socket)}
        if self.host:
            with socket.create_server((self.host, 0)) as probe:
                port = int(probe.getsockname()[1])
            listen, self.url = {"host": self.host, "port": str(port)}, f"http://{self.host}:{port}"
        with open(self.log, "ab") as log:
            self._running = subprocess.Popen(
                command(self.base, listen, self.size, self.name),
                env=environment(self.key, self.size.devices),
                cwd=self.private.path,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        assert self._running is not None
        return self._running.pid

    async def alive(self) -> bool:
        return self._running is not None and self._running.poll() is None

    async def stop(self) -> None:
        """End vLLM and all its children; kill what does not end within STOP_LIMIT seconds."""
        process, self._running = self._running, None
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

    def connector(self) -> aiohttp.BaseConnector:
        return aiohttp.UnixConnector(str(self.socket), limit=0, keepalive_timeout=KEEP_ALIVE / 2)

    def discard(self) -> None:
        """Remove the private folder. The log stays."""
        self.private.discard()

    async def tail(self, lines: int = 12) -> str:
        """The end of the log, for messages."""
        text = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return f"; its log {shown(self.log)} ends:\n  " + "\n  ".join(line[:300] for line in text[-lines:])


def command(base: Base, listen: dict[str, str], size: Size, name: str) -> list[str]:
    """The command line of vLLM for a base."""
    options: dict[str, Any] = {
        "model": base.folder,
        "served-model-name": name,
        **listen,
        "max-loras": size.slots,
        "max-cpu-loras": max(size.held, size.slots),
        "max-lora-rank": size.rank,
        "max-num-seqs": size.requests,
        "max-model-len": context_length(base),
        "middleware": "serve.plugin.RequireKey",
        "dtype": precision().engine,
        "scheduling-policy": "priority",  # as the gateway says (`fair.py`)
        "seed": 0,
        "generation-config": "vllm",
        "default-chat-template-kwargs": json.dumps({"enable_thinking": False}),
        # JSON without white space: a small model pads it for ever where it may.
        "structured-outputs-config": json.dumps({"backend": "xgrammar", "disable_any_whitespace": True}),
        "chat-template-content-format": "string",  # as training renders it; vLLM would give some templates lists
    }
    flags = ["enable-lora", "disable-uvicorn-access-log", "disable-fastapi-docs"]
    if not cuda():
        flags.append("enforce-eager")
        # A step takes as long as its tokens, and whoever comes waits for it: they are few, and fewer of a long prompt.
        options |= {"max-num-batched-tokens": STEP, "long-prefill-token-threshold": STEP // 8}
        options["scheduler-cls"] = "serve.scheduler.ShortFirst"
        if len(os.sched_getaffinity(0)) <= FEW and not os.environ.get("VLLM_CPU_OMP_THREADS_BIND"):
            # By its full name: under its short one vLLM takes a process more for it, and one core less.
            options["distributed-executor-backend"] = "vllm.v1.executor.uniproc_executor.UniProcExecutor"
        options |= {"load-format": nf4.FORMAT, "hf-overrides": json.dumps({"quantization_config": None})}
        options["kv-cache-memory-bytes"] = cached(base)  # VLLM_CPU_KVCACHE_SPACE, in GiB, wins over it
    else:
        options |= {"gpu-memory-utilization": planned(base, size), "tensor-parallel-size": size.tensor}
    if parser := tool_parser(base):
        flags.append("enable-auto-tool-choice")
        options["tool-call-parser"] = parser
    return [
        *(sys.executable, "-m", MODULE),
        *(f"--{key}={value}" for key, value in options.items()),
        *(f"--{flag}" for flag in flags),
    ]


def planned(base: Base, size: Size) -> float:
    """The share of its GPUs' memory that an engine takes: `size.share`, else from what is free on the first of them.

    FactoryError if what is free does not hold the base, the slots, and keys and values of the longest request. All is
    computed from shapes; it was not run on a GPU.
    """
    there = on_gpu(size.devices or os.environ.get("CUDA_VISIBLE_DEVICES", ""))
    if size.share or there is None:
        return size.share or ENGINE
    needed: float = sum(file.stat().st_size for file in base.folder.glob("*.safetensors"))
    if shape := _shape(base):
        needed += 2 * size.slots * shape.lora(size.rank) + context_length(base) * shape.keys_and_values(2)
    needed = needed / size.tensor + WORKING
    if share := there.engine(needed, size.beside):
        return share
    raise FactoryError(
        f"the engine for {base.label} needs {needed / 1e9:.1f} GB of the GPU, and {there.free / 1e9:.1f} GB of "
        f"{there.total / 1e9:.1f} are free: end what else is on it (nvidia-smi tells), serve with fewer replicas, or "
        f"split it over {2 * size.tensor} GPUs (tensor_parallel={2 * size.tensor})"
    )


def cached(base: Base) -> int:
    """Bytes of keys and values that an engine on a CPU keeps."""
    shape = _shape(base)
    return max(CACHED, context_length(base)) * shape.keys_and_values(precision().dtype.itemsize) if shape else 2**30


def _shape(base: Base) -> Shape | None:
    """None where the configuration does not say it in the usual words."""
    config = json.loads((base.folder / "config.json").read_text())
    usual = {"num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size", "vocab_size"}
    return Shape.of(config) if usual <= config.keys() else None


def split(base: Base, size: Size) -> Size:
    """The same with its GPUs and its share of them: as few as hold the base, each with as many heads of its attention.

    FactoryError if all of them together do not.
    """
    heads = json.loads((base.folder / "config.json").read_text()).get("num_attention_heads") or 1
    ways = [n for n in range(1, max(1, len(gpus())) + 1) if heads % n == 0]
    for tensor in ways[:-1]:
        with contextlib.suppress(FactoryError):
            return _with_share(base, replace(size, tensor=tensor))
    return _with_share(base, replace(size, tensor=ways[-1]))


def _with_share(base: Base, size: Size) -> Size:
    one = placed(size, 0, 1)
    return replace(one, share=planned(base, one))


def placed(size: Size, number: int, replicas: int) -> Size:
    """The same for replica `number` of so many: each on GPUs of its own while there are enough, then several on one."""
    if not cuda():
        return size
    names = gpus()
    places = max(1, len(names) // size.tensor)
    first = number % places * size.tensor
    return replace(size, devices=",".join(names[first : first + size.tensor]), beside=-(-replicas // places))


def for_callers(size: Size) -> Size:
    """For people who wait beside each other: without a GPU fewer requests in a batch, and one long prompt at a time."""
    return size if cuda() else replace(size, requests=32, long=1)


def environment(key: str, devices: str = "") -> dict[str, str]:
    """The engine's environment: ours, offline, without usage reports, with our plugin and no other, on `devices`."""
    own = {name: value for name, value in os.environ.items() if DEFAULTS.get(name) != value or name not in ALLOCATOR}
    return {
        **own,
        **({"CUDA_VISIBLE_DEVICES": devices} if devices else {}),
        **({} if cuda() else EAGER),
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


def tool_parser(base: Base) -> str:
    """vLLM's parser for the tool calls that the base writes; empty if its template takes no tools.

    The family does not tell: of two llamas one may have the token that opens a call and the other not.
    """
    template = base.folder / "chat_template.jinja"
    text = template.read_text() if template.is_file() else ""
    if not re.search(r"\btools\b", text):
        return ""
    tokens = (base.folder / "tokenizer.json").read_text()
    return next((parser for parser, mark in TOOL_PARSERS.items() if mark in text and json.dumps(mark) in tokens), "")


def context_length(base: Base) -> int:
    """Tokens of a prompt and its answer together: what the base was made for, at most 16,384."""
    config = json.loads((base.folder / "config.json").read_text())
    return min(16384, int(config.get("max_position_embeddings") or 4096))


def cuda() -> bool:
    import torch

    return torch.cuda.is_available()
