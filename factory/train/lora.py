"""An adapter's form from its recipe, as PEFT takes it."""

from __future__ import annotations

import re
from typing import Any

from factory.recipe import Lora
from factory.strict import nearest


def config(lora: Lora) -> Any:
    """PEFT's LoraConfig for the recipe's `lora` section."""
    from peft import LoraConfig

    return LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.r,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # PEFT takes any number
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        use_rslora=lora.rslora,
        init_lora_weights="gaussian" if lora.init == "gaussian" else True,
        rank_pattern=dict(lora.rank_pattern),
        alpha_pattern=dict(lora.alpha_pattern),
    )


def untrainable(model: Any, lora: Lora) -> list[str]:
    """What `lora.targets` names that would not be trained: layers that are not in 4 bits, and names of none."""
    from bitsandbytes.nn import Linear4bit

    if lora.targets == "all-linear":
        return []
    named = [lora.targets] if isinstance(lora.targets, str) else lora.targets
    pattern = isinstance(lora.targets, str)
    faults = []
    for target in named:
        found = [
            (name, module)
            for name, module in model.named_modules()
            if (re.fullmatch(target, name) if pattern else f".{name}".endswith(f".{target}"))
        ]
        linear = sorted({name.rpartition(".")[2] for name, m in model.named_modules() if isinstance(m, Linear4bit)})
        if not found:
            faults.append(f"lora.targets: no layer is called {target!r}{nearest(target, linear)}")
        elif other := [name for name, module in found if not isinstance(module, Linear4bit)]:
            faults.append(
                f"lora.targets: {other[0]} is no linear layer in 4 bits and cannot be trained here: take "
                f"{', '.join(linear)}, or all-linear"
            )
    return faults
