"""`make bench-gpu`: small-batch adapters over randomly initialised bases of real shapes in NF4, together and apart.

Speed does not depend on what the weights say, so nothing is downloaded: torch, transformers, peft and bitsandbytes are
all it needs. Reported: tokens per second, model FLOP utilisation against the card's own measured peak, and memory.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from bench import small
from factory.base.build import Base
from factory.train.fused import train_many
from factory.train.fused.lora import Adapter
from factory.train.fused.rows import learned, size
from factory.train.kernels import liger_runs, use_liger
from factory.train.tokens import Example

SHAPES: dict[str, dict[str, Any]] = {  # of Qwen3
    "0.6B": {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16},
    "4B": {"hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36, "num_attention_heads": 32},
    "8B": {
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "tie_word_embeddings": False,
    },
}
COMMON: dict[str, Any] = {"num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151_936, "tie_word_embeddings": True}
STEPS, BATCH, LENGTH, RANK = 6, 4, 256, 16


def run(
    shapes: Sequence[str] = ("0.6B", "4B", "8B"),
    adapters: Sequence[int] = (1, 4, 8, 16),
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """The `training.gpu` part of the benchmark's JSON; `{"measured": False}` with the reason where there is no GPU."""
    if not torch.cuda.is_available():
        return {"measured": False, "why": "no CUDA GPU here"}
    device = torch.device("cuda:0")
    peak = peak_flops(device)
    result: dict[str, Any] = {"measured": True, "device": torch.cuda.get_device_name(), "peak_tflops": peak / 1e12}
    for shape in shapes:
        model = random_base(COMMON | SHAPES[shape], device)
        result[shape] = _measured(model, shape, adapters, peak, progress)
        if liger_runs():
            use_liger(model)
            name = f"{shape} with Liger"
            result[name] = _measured(model, name, [8], peak, progress)
        del model
        torch.cuda.empty_cache()
    return result


def _measured(
    model: Any, name: str, adapters: Sequence[int], peak: float, progress: Callable[[str], None]
) -> list[dict[str, Any]]:
    measure(model, adapters[0], peak)  # warms up
    points = []
    for n in adapters:
        points.append(measure(model, n, peak))
        progress(f"{name}: {points[-1]}")
    return points


def measure(model: Any, adapters: int, peak: float) -> dict[str, Any]:
    """`adapters` runs of a small batch, in one row each step and one after the other, over the same model."""
    together = _train(model, adapters, at_once=True)
    alone = _train(model, adapters, at_once=False) if adapters > 1 else together
    return {
        "adapters": adapters,
        "tokens_per_second": round(together["tokens"] / together["seconds"]),
        "one_after_the_other": round(alone["tokens"] / alone["seconds"]),
        "ratio": round(alone["seconds"] / together["seconds"], 2),
        "mfu": round(together["flops"] / together["seconds"] / peak, 3),
        "peak_memory_gb": round(together["memory"] / 2**30, 2),
    }


def _train(model: Any, adapters: int, *, at_once: bool) -> dict[str, float]:
    draw = random.Random(0)
    lengths = [draw.randint(LENGTH // 2, LENGTH) for _ in range(STEPS * BATCH)]
    rows = small.rows(model.config.vocab_size, lengths, draw)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = Base("random", "random", "", "0" * 64, folder, 1e-4)
        jobs = small.jobs(folder, rows, adapters, rank=RANK, batch=BATCH, length=LENGTH)
        parameters = Adapter(model, jobs[0].recipe.lora, 0).weights.numel()
        cuda = model.device.type == "cuda"
        if cuda:
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
        began = time.perf_counter()
        for group in [jobs] if at_once else [[job] for job in jobs]:
            train_many(group, base, model)
        if cuda:
            torch.cuda.synchronize()
        return {
            "seconds": time.perf_counter() - began,
            "tokens": adapters * size(rows),
            "flops": adapters * flops(model.config, rows, parameters),
            "memory": torch.cuda.max_memory_allocated() if cuda else 0,
        }


def flops(config: Any, rows: Sequence[Example], lora_parameters: int) -> float:
    """What training on the rows needs: frozen weights forward and for the gradient of their input (no gradient of their
    own), adapters with theirs, causal attention of each sequence, the head for learned tokens alone."""
    width = config.head_dim * (config.num_attention_heads * 2 + config.num_key_value_heads * 2)
    frozen = config.num_hidden_layers * config.hidden_size * (width + 3 * config.intermediate_size)
    attention = sum(len(e.input_ids) ** 2 for e in rows) * config.num_hidden_layers
    attention *= config.num_attention_heads * config.head_dim
    head = learned(rows) * config.hidden_size * config.vocab_size
    return float(4 * frozen * size(rows) + 6 * lora_parameters * size(rows) + 6 * attention + 4 * head)


def peak_flops(device: torch.device, side: int = 8192, times: int = 20) -> float:
    """The most that one bf16 product of square matrices reaches on this card."""
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    best = 0.0
    for _ in range(times):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        a @ b
        end.record()
        torch.cuda.synchronize()
        best = max(best, 2 * side**3 / (start.elapsed_time(end) / 1e3))
    return best


def random_base(shape: dict[str, Any], device: torch.device) -> Any:
    """A Qwen3 of this shape with random weights on the device, its linear layers in NF4 as a prepared base has them."""
    import bitsandbytes as bnb
    from transformers import Qwen3Config, Qwen3ForCausalLM

    others: dict[str, Any] = {"max_position_embeddings": 4096}
    config = Qwen3Config(**others, **shape)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with device:
            model = Qwen3ForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    for name, module in list(model.named_modules()):
        if isinstance(module, torch.nn.Linear) and name != "lm_head":
            layer: Any = bnb.nn.Linear4bit(
                module.in_features, module.out_features, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4",
                device="meta",
            )  # fmt: skip
            weight: Any = bnb.nn.Params4bit(module.weight.data, requires_grad=False, quant_type="nf4")
            layer.weight = weight.to(device)
            layer.support_avx512bf16_for_cpu = False
            model.set_submodule(name, layer)
    vars(model)["is_loaded_in_4bit"] = True  # PEFT asks this to know that its layers are in 4 bits
    return model.requires_grad_(False)
