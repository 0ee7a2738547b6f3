"""Adapters with random weights over a base, in PEFT's files: quick to make, and each answers in its own way."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from factory.base.build import Base
from factory.decoding import Decoding
from factory.home import digest
from factory.registry import aliases, store
from factory.registry.preflight import PREFIX, module_shapes
from factory.registry.store import CONFIG, WEIGHTS, Facts, Version

TARGETS = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]


def config(rank: int = 8, **changes: Any) -> dict[str, Any]:
    """An adapter_config.json as PEFT writes it, as far as it matters here."""
    return {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": 2 * rank,
        "bias": "none",
        "target_modules": TARGETS,
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "base",
        "lora_dropout": 0.0,
        "use_dora": False,
        "use_rslora": False,
        "modules_to_save": None,
        "init_lora_weights": True,
        "rank_pattern": {},
        "alpha_pattern": {},
        "inference_mode": True,
    } | changes


def facts(base: Base, task: str, **changes: Any) -> Facts:
    template = base.folder / "chat_template.jinja"
    values = {
        "task": task,
        "kind": "general",
        "base": base.name,
        "fingerprint": base.fingerprint,
        "chat_template": digest(template.read_text() if template.is_file() else ""),
        "prompt": f"You do the task {task}.",
        "decoding": Decoding(max_tokens=16),
        "labels": [],
    }
    return Facts.model_validate(values | changes)


def register(base: Base, task: str, seed: int, *, rank: int = 8, scale: float = 0.1, **changes: Any) -> Version:
    """A version of `task` with random weights in the store and the registry; the first of a task is promoted."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "adapter"
        folder.mkdir()
        save_file(random_weights(base, seed, rank, scale), folder / WEIGHTS)
        (folder / CONFIG).write_text(json.dumps(config(rank)))
        version = store.add(folder, facts(base, task, **changes))
    aliases.register(version)
    if "prod" not in aliases.read(task).aliases:
        aliases.point(version)
    return version


def random_weights(base: Base, seed: int, rank: int = 8, scale: float = 0.05) -> dict[str, np.ndarray]:
    """A and B for every linear layer of the base; `scale` is the strength of B."""
    random = np.random.default_rng(seed)
    tensors = {}
    for module, (out, width) in module_shapes(base.folder).items():
        tensors[f"{PREFIX}{module}.lora_A.weight"] = random.normal(0, width**-0.5, (rank, width)).astype(np.float32)
        tensors[f"{PREFIX}{module}.lora_B.weight"] = random.normal(0, scale, (out, rank)).astype(np.float32)
    return tensors
