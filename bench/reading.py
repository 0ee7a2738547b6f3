"""vLLM as the factory starts it, in this process and held to AVX2: how fast it reads prompts.

python -m bench.reading BASE FORM, FORM being `dequantised` (as our engines are) or `packed` (bitsandbytes' plugin)

Writes a line when it is ready, and then for each line that it gets tokens a second. FACTORY_PRECISION says in which
precision. What vLLM is made of for AVX512 it chooses by asking torch, which is held to say no.
"""

import json
import os
import random
import sys
import time
from typing import Any

LENGTH, TOGETHER, SECONDS = 128, 4, 5.0  # tokens of a prompt, prompts at once, and how long is measured
HELD = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}


def main(name: str, form: str) -> None:
    os.environ.update(HELD)
    import torch

    torch.cpu._is_avx512_supported = torch.cpu._is_avx512_bf16_supported = lambda: False
    torch.cpu._is_amx_tile_supported = torch.cpu._is_amx_fp16_supported = lambda: False
    from factory.base.build import prepare
    from factory.precision import speeds
    from serve import process

    base = prepare(name)
    os.environ.update(process.environment("none"))
    words = process.command(base, {}, process.Size(), base.label)
    if form == "packed":
        words = [word for word in words if not word.startswith(("--load-format=", "--hf-overrides="))]
    llm = _engine(words)
    draw = random.Random(0)
    _read(llm, draw, 1)
    print(json.dumps(speeds()), flush=True)
    for _ in sys.stdin:
        began, count = time.monotonic(), 0
        while time.monotonic() - began < SECONDS:
            count += _read(llm, draw, TOGETHER)
        print(json.dumps(count / (time.monotonic() - began)), flush=True)


def _engine(words: list[str]) -> Any:
    from vllm import LLM, EngineArgs
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    known, _ = EngineArgs.add_cli_args(FlexibleArgumentParser()).parse_known_args(words[3:])
    return LLM.from_engine_args(EngineArgs.from_cli_args(known))


def _read(llm: Any, draw: random.Random, count: int) -> int:
    """Have it read so many prompts that it has not seen; their tokens."""
    from vllm import SamplingParams

    prompts = [{"prompt_token_ids": [draw.randint(100, 30_000) for _ in range(LENGTH)]} for _ in range(count)]
    llm.generate(prompts, SamplingParams(max_tokens=1, temperature=0), use_tqdm=False)
    return count * LENGTH


if __name__ == "__main__":
    main(*sys.argv[1:])
