"""Makes an adapter as anybody would who has transformers and PEFT and has never heard of this project.

python -m tests.factory.registry.plain_peft <model folder> <output folder>
"""

from __future__ import annotations

import sys
from pathlib import Path


def make(model: Path, folder: Path, seed: int = 0) -> None:
    """A LoRA with random weights over the full-precision model, as `save_pretrained` writes it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    config = LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules="all-linear", init_lora_weights=False)
    adapted = get_peft_model(base, config)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.02)
    adapted.save_pretrained(folder)


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]))
