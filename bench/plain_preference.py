"""What a user writes today to learn from pairs or rewards: TRL's trainers with PEFT over a 4-bit base, a process a run.

    python plain_preference.py dpo|grpo BASE rows.jsonl OUT '{"steps": 3, "batch": 2, "lr": 5e-4, …}'

It follows TRL's documentation and stands on its own but for what it pays for, which is ours too (`exact`); as in
`plain_trl`, gradient checkpointing is off. After each step OUT/steps.json holds the seconds since the training began;
adapters of `marks` steps lie in OUT/checkpoint-<steps>.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from datasets import load_dataset
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer

from bench.exact import exact


class Marks(TrainerCallback):
    """Notes when each step was over, and saves at some."""

    def __init__(self, out: str, marks: list[int]) -> None:
        self.out, self.marks, self.seconds = Path(out), marks, list[float]()

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.began = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.seconds.append(time.monotonic() - self.began)
        (self.out / "steps.json").write_text(json.dumps(self.seconds))
        control.should_save = state.global_step in self.marks


def right(completions: list[Any], answer: list[str], **_: Any) -> list[float | None]:
    """1 for exactly the row's answer."""
    return [float(exact(said[0]["content"], gold)) for said, gold in zip(completions, answer, strict=True)]


def main(method: str, base: str, rows: str, out: str, settings: dict[str, Any]) -> None:
    Path(out).mkdir(parents=True, exist_ok=True)
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    shared: dict[str, Any] = {
        "output_dir": out,
        "max_steps": settings["steps"],
        "learning_rate": settings["lr"],
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.05,
        "bf16": True,
        "gradient_checkpointing": False,
        "save_strategy": "no",
        "save_only_model": True,
        "report_to": "none",
        "seed": settings["seed"],
        "use_cpu": not torch.cuda.is_available(),
    }
    given: dict[str, Any] = {
        "processing_class": AutoTokenizer.from_pretrained(base),
        "train_dataset": load_dataset("json", data_files=rows, split="train"),
        "callbacks": [Marks(out, settings.get("marks", []))],
    }
    if method == "dpo":
        dpo = DPOConfig(per_device_train_batch_size=settings["batch"], max_length=settings["max_length"], **shared)
        lora = LoraConfig(
            r=settings["r"], lora_alpha=2 * settings["r"], target_modules="all-linear", task_type="CAUSAL_LM"
        )
        trainer: Any = DPOTrainer(model=model, args=dpo, peft_config=lora, **given)
    else:
        grpo = GRPOConfig(
            per_device_train_batch_size=settings["batch"] * settings["group"],
            num_generations=settings["group"],
            max_completion_length=settings["max_tokens"],
            epsilon_high=0.28,
            **shared,
        )
        model = PeftModel.from_pretrained(model, settings["parent"], is_trainable=True)
        trainer = GRPOTrainer(model=model, reward_funcs=right, args=grpo, **given)
    trainer.train()
    trainer.save_model(out)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], json.loads(sys.argv[5]))
