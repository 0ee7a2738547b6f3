"""`make bench-gpu`: small-batch adapters over randomly initialised bases of real shapes in NF4: together, one after the
other, and each by plain TRL.

Speed does not depend on what the weights say, so nothing is downloaded. What is timed is training and nothing else:
the clock starts after WARM steps and stops before the adapters are saved, the memory probe lies before it and the time
for packing rows is taken off; checkpoints are never due. Reported: tokens a second, model FLOP utilisation against the
peak that this device reached in this very run, and memory.
"""

import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from factory.base.build import Base
from factory.recipe import Recipe
from factory.shares import give_back
from factory.train.fused import ALL, Job, train_many
from factory.train.fused.lora import Adapter
from factory.train.fused.packing import size, supervised
from factory.train.kernels import liger_runs, use_liger
from factory.train.lora import config
from factory.train.tokens import IGNORE, Example

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
RANK, BATCH, LENGTH = 16, 4, 256  # of each adapter: its rank, the rows of a step, the tokens of the longest row
WARM, STEPS = 5, 45  # steps before the clock starts, and all of them


def run(
    shapes: Sequence[str] = ("0.6B", "4B", "8B"),
    adapters: Sequence[int] = (1, 4, 8, 16),
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """The `training.gpu` part of the benchmark's JSON; `{"measured": False}` with the reason where there is no GPU."""
    if not torch.cuda.is_available():
        return {"measured": False, "why": "no CUDA GPU here"}
    device = torch.device("cuda:0")
    result: dict[str, Any] = {"measured": True, "device": torch.cuda.get_device_name()}
    for shape in shapes:
        model = random_base(COMMON | SHAPES[shape], device)
        result[shape] = measure(model, adapters, progress)
        if liger_runs():
            use_liger(model)
            result[f"{shape} with Liger"] = measure(model, [1, 8], progress)
        del model
        give_back()
    return result


def measure(
    model: Any, adapters: Sequence[int], progress: Callable[[str], None] = lambda line: None
) -> list[dict[str, Any]]:
    """For each number of adapters what training them together gives, beside one alone and plain TRL on the same rows.

    One after the other they are as fast as one alone, which is measured first whatever `adapters` says.
    """
    peak = peak_flops(model.device)
    rows = random_rows(model.config.vocab_size, STEPS * BATCH, LENGTH // 2, LENGTH)
    lora = int(Adapter(model, adapter_recipe(Path()).lora, 0).weights.numel())
    needed = flops(model.config, rows, lora) / size(rows)
    points, alone, trl = [], _ours(model, rows, 1), _trl(model, rows)
    for n in adapters:
        it = alone if n == 1 else _ours(model, rows, n)
        points.append(
            {
                "adapters": n,
                "tokens_per_second": round(it.rate),
                "mfu": mfu(it.rate, needed, peak),
                "peak_memory_gb": round(it.memory / 2**30, 2),
                "against_one_after_the_other": round(it.rate / alone.rate, 2),
                "against_trl": round(it.rate / trl.rate, 2),
                "trl": {"tokens_per_second": round(trl.rate), "mfu": mfu(trl.rate, needed, peak)},
                "peak_tflops": round(peak / 1e12, 2),
            }
        )
        progress(str(points[-1]))
    return points


@dataclass(frozen=True)
class Timed:
    """Tokens that went through the model while the clock ran, the seconds, and the peak memory in bytes (CUDA)."""

    tokens: int
    seconds: float
    memory: int

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds


def mfu(rate: float, flops_per_token: float, peak: float) -> float:
    """The share of the device's peak that this many tokens a second need."""
    return round(rate * flops_per_token / peak, 4)


class _Clock:
    """Reads of (time, tokens), after the device has done all it was given."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.reads = device, list[tuple[float, int]]()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()

    def read(self, tokens: int, left_out: float = 0.0) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        self.reads.append((time.perf_counter() - left_out, tokens))

    def timed(self) -> Timed:
        """From the read after WARM steps to the last."""
        (began, before), (ended, after) = self.reads[WARM - 1], self.reads[-1]
        memory = torch.cuda.max_memory_allocated() if self.device.type == "cuda" else 0
        return Timed(after - before, ended - began, memory)


def _ours(model: Any, rows: Sequence[Example], adapters: int) -> Timed:
    clock = _Clock(model.device)

    def progress(name: str, record: dict[str, Any]) -> None:
        if name == ALL and "tokens" in record:
            clock.read(record["tokens"], record["packing"])

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = Base("random", "random", "", "0" * 64, folder, 1e-4)
        jobs = [Job(str(i), adapter_recipe(folder), [*rows], [], folder / str(i)) for i in range(adapters)]
        train_many(jobs, base, model, checkpoint_seconds=float("inf"), progress=progress)
    return clock.timed()


def _trl(model: Any, rows: Sequence[Example]) -> Timed:
    """One adapter by SFTTrainer with PEFT, its padded batches and all, on the same model and rows. In its favour:
    gradient checkpointing is off, and padding is not counted but only what we count."""
    from datasets import Dataset
    from peft import get_peft_model
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast, TrainerCallback
    from transformers.trainer_callback import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    clock = _Clock(model.device)

    class Reading(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            clock.read(size(rows[: state.global_step * BATCH]))

    words = Tokenizer(models.WordLevel({"<pad>": 0, "<unk>": 1, "<eos>": 2}, unk_token="<unk>"))
    with tempfile.TemporaryDirectory() as folder:
        recipe = adapter_recipe(Path(folder))
        settings = SFTConfig(
            output_dir=folder, max_steps=len(rows) // BATCH, per_device_train_batch_size=BATCH, bf16=True,
            learning_rate=1e-4, train_sampling_strategy="sequential", max_length=None, gradient_checkpointing=False,
            save_strategy="no", report_to=[], disable_tqdm=True, logging_steps=1000,
            use_cpu=model.device.type == "cpu",
        )  # fmt: skip
        peft = get_peft_model(model, config(recipe.lora, model))
        trainer = SFTTrainer(
            peft,
            settings,
            train_dataset=Dataset.from_dict({key: [getattr(r, key) for r in rows] for key in ("input_ids", "labels")}),
            processing_class=PreTrainedTokenizerFast(
                tokenizer_object=words, pad_token="<pad>", unk_token="<unk>", eos_token="<eos>"
            ),
            callbacks=[Reading()],
        )
        trainer.remove_callback(PrinterCallback)
        try:
            trainer.train()
        finally:
            peft.unload()
            if hasattr(model, "peft_config"):
                del model.peft_config
            model.requires_grad_(False)
    return clock.timed()


def adapter_recipe(folder: Path, rank: int = RANK, length: int = LENGTH) -> Recipe:
    train = {"batch": BATCH, "epochs": 1, "patience": 0, "lr": 1e-4, "max_length": length}
    train |= {"gradient_checkpointing": False}
    lora = {"r": rank, "alpha": 2 * rank}
    return Recipe.model_validate({"task": "bench", "kind": "general", "folder": folder, "lora": lora, "train": train})


def random_rows(vocabulary: int, count: int, shortest: int, longest: int) -> list[Example]:
    """Random tokens, of which the last quarter of each row is learned."""
    draw = random.Random(0)
    rows = []
    for _ in range(count):
        length = draw.randint(shortest, longest)
        ids = [draw.randrange(3, vocabulary) for _ in range(length)]
        rows.append(Example(ids, [IGNORE] * (length - length // 4) + ids[length - length // 4 :]))
    return rows


def flops(config: Any, rows: Sequence[Example], lora_parameters: int) -> float:
    """What training on the rows needs: frozen weights forward and for the gradient of their input (no gradient of their
    own), adapters with theirs, causal attention of each sequence, the head for learned tokens alone."""
    width = config.head_dim * (config.num_attention_heads * 2 + config.num_key_value_heads * 2)
    frozen = config.num_hidden_layers * config.hidden_size * (width + 3 * config.intermediate_size)
    attention = sum(len(e.input_ids) ** 2 for e in rows) * config.num_hidden_layers
    attention *= config.num_attention_heads * config.head_dim
    head = supervised(rows) * config.hidden_size * config.vocab_size
    return float(4 * frozen * size(rows) + 6 * lora_parameters * size(rows) + 6 * attention + 4 * head)


def peak_flops(device: torch.device, side: int = 8192, times: int = 20) -> float:
    """The most that one bf16 product of square matrices reaches on this device."""
    side, times = (side, times) if device.type == "cuda" else (512, 3)
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    clock = _Clock(device)
    for _ in range(times + 1):
        clock.read(0)
        a @ b
    clock.read(0)
    return max(2 * side**3 / (after - before) for (before, _), (after, _) in pairwise(clock.reads[1:]))


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
