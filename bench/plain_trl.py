"""What a user writes today to train one adapter: TRL's SFTTrainer with PEFT over a 4-bit base. One process a task.

    python plain_trl.py BASE train.jsonl OUT '{"epochs": 2, "batch": 16, "lr": 2e-3, …}'

It stands on its own and follows TRL's documentation. In its favour: nothing is evaluated on the way, and gradient
checkpointing, which SFTConfig switches on by default and which costs a third of the speed, is off.
"""

import json
import sys
from typing import Any

import torch
from datasets import load_dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer


def main(base: str, rows: str, out: str, settings: dict[str, Any]) -> None:
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16),
        processing_class=AutoTokenizer.from_pretrained(base),
        train_dataset=load_dataset("json", data_files=rows, split="train"),
        args=SFTConfig(
            output_dir=out,
            num_train_epochs=settings["epochs"],
            per_device_train_batch_size=settings["batch"],
            learning_rate=settings["lr"],
            lr_scheduler_type="cosine",
            warmup_steps=0.05,
            bf16=True,
            gradient_checkpointing=False,
            packing=settings["packing"],
            max_length=settings["max_length"],
            logging_steps=10,
            save_strategy="no",
            report_to="none",
            seed=settings["seed"],
            use_cpu=not torch.cuda.is_available(),
        ),
        peft_config=LoraConfig(
            r=settings["r"], lora_alpha=2 * settings["r"], target_modules="all-linear", task_type="CAUSAL_LM"
        ),
    )
    trainer.train()
    trainer.save_model(out)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4]))
