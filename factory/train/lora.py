"""An adapter's form from its recipe, as PEFT takes it."""

import json
import math
import re
from pathlib import Path
from typing import Any

from factory.recipe import Lora
from factory.strict import nearest

FORM = {
    "r": "r", "alpha": "lora_alpha", "rslora": "use_rslora", "rank_pattern": "rank_pattern",
    "alpha_pattern": "alpha_pattern",
}  # what must be alike where one adapter starts from another: keys of a recipe, and PEFT's  # fmt: skip


def config(lora: Lora, model: Any) -> Any:
    """PEFT's LoraConfig for the recipe's `lora` section over a base.

    With `layers` below 1 the lower layers stay as they are: the backward pass ends above them, which saves their share
    of it in time and memory. PEFT wants layers and names then, so all-linear is spelt out.
    """
    from peft import LoraConfig

    targets, upper = lora.targets, None
    if lora.layers < 1:
        upper = list(range(untouched(lora, model), _layers(model)))
        targets = _linear(model) if targets == "all-linear" else targets
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.r,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # PEFT takes any number
        lora_dropout=lora.dropout,
        target_modules=targets,
        layers_to_transform=upper,
        use_rslora=lora.rslora,
        init_lora_weights="gaussian" if lora.init == "gaussian" else True,
        rank_pattern=dict(lora.rank_pattern),
        alpha_pattern=dict(lora.alpha_pattern),
    )


def untouched(lora: Lora, model: Any) -> int:
    """How many of the base's lower layers stay as they are."""
    return _layers(model) - math.ceil(lora.layers * _layers(model))


def untrainable(model: Any, lora: Lora) -> list[str]:
    """What `lora.targets` names that would not be trained: layers that are not in 4 bits, and names of none."""
    from bitsandbytes.nn import Linear4bit

    if lora.targets == "all-linear":
        return []
    pattern = isinstance(lora.targets, str)
    if pattern and lora.layers < 1:
        return ["lora.layers: a pattern in lora.targets says itself which layers it means; take out one of the two"]
    named = [lora.targets] if isinstance(lora.targets, str) else lora.targets
    faults = []
    for target in named:
        found = [
            (name, module)
            for name, module in model.named_modules()
            if (re.fullmatch(target, name) if pattern else f".{name}".endswith(f".{target}"))
        ]
        if not found:
            faults.append(f"lora.targets: no layer is called {target!r}{nearest(target, _linear(model))}")
        elif other := [name for name, module in found if not isinstance(module, Linear4bit)]:
            faults.append(
                f"lora.targets: {other[0]} is no linear layer in 4 bits and cannot be trained here: take "
                f"{', '.join(_linear(model))}, or all-linear"
            )
    return faults


def unlike(parent: Path, lora: Lora, model: Any) -> list[str]:
    """Why an adapter of this form cannot start from the one in the folder `parent`."""
    theirs, mine = json.loads((parent / "adapter_config.json").read_text()), config(lora, model)
    return [
        f"lora.{key} is {getattr(lora, key)}, in the version to start from {theirs.get(name)}: set lora.{key} to that"
        for key, name in FORM.items()
        if theirs.get(name) != getattr(mine, name)
    ]


def _layers(model: Any) -> int:
    return int(model.config.get_text_config().num_hidden_layers)


def _linear(model: Any) -> list[str]:
    """What the base's layers in 4 bits are called."""
    from bitsandbytes.nn import Linear4bit

    return sorted({name.rpartition(".")[2] for name, m in model.named_modules() if isinstance(m, Linear4bit)})
