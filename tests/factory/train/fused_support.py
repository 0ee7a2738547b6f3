"""A small NF4 base with random weights, jobs over it, and how runs are compared, for the tests of training at once."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from factory.answers.greedy import Answer
from factory.base.build import Base
from factory.pipeline.rewards import Rollouts
from factory.recipe import Recipe
from factory.train.fused import Failed, Job, train_many
from factory.train.fused.run import Run
from factory.train.methods import Grpo
from factory.train.tokens import IGNORE, Example

VOCABULARY = 256
LOSS = 1e-5  # how far apart two runs may be at any step, fp32
WEIGHT = 1e-4  # and at the end in any parameter


def make_base(folder: Path) -> Base:
    """Qwen2 in small: biases, grouped key heads, two layers, quantised as `factory.base.build` does it."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig, Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    shape = Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, initializer_range=0.1, tie_word_embeddings=True,
        bos_token_id=None, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    Qwen2ForCausalLM(shape).to(torch.bfloat16).save_pretrained(folder / "full")
    form = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(
        folder / "full", quantization_config=form, dtype=torch.bfloat16, device_map={"": "cpu"}
    )
    model.save_pretrained(folder / "nf4")
    return known_base(folder)


def known_base(folder: Path) -> Base:
    """The base that `make_base` has left in the folder."""
    return Base("small", "random", "0", "f" * 64, folder / "nf4", 1e-3)


def examples(count: int, seed: int, low: int, high: int) -> list[Example]:
    """Rows that can be learned: a prompt, then its first tokens in reverse, then the end. Three in four begin alike."""
    draw = random.Random(seed)
    system = [draw.randrange(3, VOCABULARY) for _ in range(9)]
    made = []
    for _ in range(count):
        own = [draw.randrange(3, VOCABULARY) for _ in range(draw.randint(low, high))]
        prompt = [*system, *own] if draw.random() < 0.75 else own
        answer = [*reversed(own[:3]), 2]
        made.append(Example([*prompt, *answer], [IGNORE] * len(prompt) + answer))
    return made


def example(length: int, answer: int = 2, first: int = 10) -> Example:
    ids = list(range(first, first + length))
    return Example(ids, [IGNORE] * (length - answer) + ids[length - answer :])


def make_job(
    run: Path, name: str = "one", *, rows: int = 24, held_out: int = 0, low: int = 6, high: int = 40, **settings: Any
) -> Job:
    """A job of `rows` rows. Keys of the recipe's `lora` (r, alpha, targets) and `train` sections go as they are."""
    lora = {key: settings.pop(key) for key in ("r", "alpha", "layers", "targets", "dropout") if key in settings}
    train = {"lr": 2e-3, "batch": 4, "epochs": 1, "precision": "fp32", "patience": 0, **settings}
    recipe = Recipe.model_validate(
        {"task": name, "kind": "general", "folder": run, "lora": {"r": 8, "alpha": 16, **lora}, "train": train}
    )
    seed = 1000 + recipe.train.seed
    return Job(name, recipe, examples(rows, seed, low, high), examples(held_out, seed + 1, low, high), run / name)


def make_tokenizer() -> Any:
    """Tokens are numbers: all that TRL asks of a tokenizer whose rows are token ids already."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<pad>": 0, "<unk>": 1, "<eos>": 2}, unk_token="<unk>"))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>", eos_token="<eos>")


class FakeRollouts(Rollouts):
    """Draws as the real one does; what is paid is made up: answers of low tokens."""

    def __init__(self, method: Grpo, seed: int) -> None:
        self.method, self.seed, self.most, self.tokenizer = method, seed, 6, make_tokenizer()

    def _rewards(self, prompts: Sequence[Example], answers: Sequence[Answer], gold: bool = False) -> list[float]:
        return [sum(token < 128 for token in answer.ids) / self.most for answer in answers]

    def _shown(self, *_: Any) -> str:
        return ""


def drawing(method: Grpo, run: Path, name: str, parent: Path | None = None, **settings: Any) -> Job:
    """A job whose rows are questions."""
    job = make_job(run, name, rows=0, **settings)
    asked = [e.input_ids[: e.labels.count(IGNORE)] for e in examples(12, job.recipe.train.seed, 6, 30)]
    rollouts = FakeRollouts(method, job.recipe.train.seed)
    return replace(job, method=method, parent=parent, train=[Example(a, a) for a in asked], rollouts=rollouts)


def upcast(model: Any) -> None:
    """Make the trainable weights fp32, as ours are: in bf16 most updates of a usual rate are lost to rounding."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)


def losses(job: Job) -> list[float]:
    records = [json.loads(line) for line in (job.run / "metrics.jsonl").read_text().splitlines()]
    return [r["loss"] for r in records if "loss" in r]


def final_weights(model: Any, base: Base, jobs: list[Job], **options: Any) -> dict[str, torch.Tensor]:
    """fp32 weights at the end, before they are rounded for saving: read from the checkpoint just before the end."""
    kept: dict[str, torch.Tensor] = {}
    result = Run.result

    def keep(run: Run) -> Any:
        kept[run.job.name] = run.adapter.weights.detach().clone()
        return result(run)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "result", keep)
        outcome = train_many(jobs, base, model, **options)
    assert not [o for o in outcome if isinstance(o, Failed)], outcome
    return kept


def apart(a: list[float], b: list[float]) -> float:
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


def largest(a: torch.Tensor, b: torch.Tensor) -> float:
    return (a - b).abs().max().item()
