"""`factory bench only=precision`: the engine in fp32 beside bf16 where a processor has no bf16 instructions.

Three vLLMs over the same NF4 checkpoint, held to AVX2, take turns in reading prompts: ours in fp32, ours in bf16, and
bitsandbytes' plugin in bf16, which dequantises each layer anew for each pass and cannot compute in fp32.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from statistics import median
from typing import Any

from factory.base.build import prepare
from factory.errors import FactoryError

KINDS = {"fp32": ("fp32", "dequantised"), "bf16": ("bf16", "dequantised"), "bf16_packed": ("bf16", "packed")}
ROUNDS = 3


def run(base: str = "auto", progress: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Prompt tokens a second of each, fp32 over both, and GFLOP/s of torch's linear layer in both precisions."""
    known = prepare(base)
    speeds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with contextlib.ExitStack() as stack:
        engines = {kind: stack.enter_context(_engine(known.name, *how)) for kind, how in KINDS.items()}
        torch, *_ = [_line(engine) for engine in engines.values()]
        for number in range(ROUNDS):
            for kind, engine in engines.items():
                assert engine.stdin
                engine.stdin.write("\n")
                engine.stdin.flush()
                speeds[kind].append(_line(engine))
            told = ", ".join(f"{kind} {of[-1]:.0f}" for kind, of in speeds.items())
            progress(f"{number + 1}/{ROUNDS}: {told} prompt tokens/s")
    ratios = {kind: median(a / b for a, b in zip(speeds["fp32"], of, strict=True)) for kind, of in speeds.items()}
    return {
        "prompt_tokens_per_second": {kind: round(median(of), 1) for kind, of in speeds.items()},
        "fp32_over": {kind: round(ratio, 2) for kind, ratio in ratios.items() if kind != "fp32"},
        "torch_linear_gflops": {kind: round(value, 1) for kind, value in torch.items()},
        "base": known.label,
        "cores": os.cpu_count(),
    }


@contextlib.contextmanager
def _engine(name: str, precision: str, form: str) -> Any:
    with subprocess.Popen(
        [sys.executable, "-m", "bench.reading", name, form],
        env=os.environ | {"FACTORY_PRECISION": precision},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def _line(engine: subprocess.Popen[str]) -> Any:
    """The next line that is an answer: vLLM prints too."""
    assert engine.stdout
    for line in engine.stdout:
        with contextlib.suppress(ValueError):
            return json.loads(line)
    raise FactoryError(f"{' '.join(map(str, engine.args[-3:]))} ended; run it by hand to see why")  # type: ignore[index]
