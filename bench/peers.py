"""`factory bench peers=llamafactory`: the same rows, base and settings trained by LLaMA-Factory.

It needs versions of its own of nearly everything, so it lives in a throw-away environment that is removed afterwards.
What it takes is measured like every other trainer: whole processes, one task after the other, plain TRL and our engine
in turn with it.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from bench import rows
from bench.training import Process, measured_process, ours, plain
from factory.base.build import Base, load_tokenizer, prepare
from factory.errors import FactoryError

PACKAGES = ("llamafactory", "bitsandbytes")


def run(
    *, base: str = "auto", tasks: int = 1, rows_per_task: int = 240, epochs: float = 2.0,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:  # fmt: skip
    """LLaMA-Factory, plain TRL and ours on the benchmark's first tasks; `{"measured": False}` and why if it fails.

    `wall_ratio` is our time over that of LLaMA-Factory, process starts counted.
    """
    known = prepare(base)
    settings = {"epochs": epochs, "batch": 16, "lr": known.lr, "r": 16, "max_length": 1024}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            python = _environment(folder / "environment", progress)
            made = rows.write(tasks, rows_per_task, load_tokenizer(known), folder / "tasks")
            processes: dict[str, list[Process]] = {"llamafactory": [], "plain": [], "ours": []}
            for task in made:
                config = write(known, task, folder / task.name, settings)
                peer = measured_process([str(python.parent / "llamafactory-cli"), "train", str(config)])
                processes["llamafactory"].append(peer)
                processes["plain"].append(plain(known, task, folder / "plain", settings, packing=False))
                processes["ours"].append(ours(known, [task], folder / "ours", settings))
                progress(", ".join(f"{kind} {p[-1].wall:.1f} s" for kind, p in processes.items()) + f": {task.name}")
        except FactoryError as error:
            return {"measured": False, "why": str(error)}
    walls = {kind: sum(process.wall for process in found) for kind, found in processes.items()}
    return {
        "measured": True,
        "wall_ratio": round(walls["ours"] / walls["llamafactory"], 3),
        "wall_seconds": {kind: round(wall, 2) for kind, wall in walls.items()},
        "peak_mb": {kind: round(max(p.peak for p in found) / 2**20) for kind, found in processes.items()},
        "tasks": [task.name for task in made],
    }


def _environment(folder: Path, progress: Callable[[str], None]) -> Path:
    """A fresh environment with the peer in it; returns its Python.

    The peer imports torchaudio and torchvision even for texts. Where torch is a CPU build, theirs from the same index
    may be linked against CUDA and fail on import, so what is linked goes: for texts both do without it.
    """
    progress(f"installing {', '.join(PACKAGES)} into a throw-away environment")
    python = folder / "bin" / "python"
    commands: Sequence[list[str]] = (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", *PACKAGES],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            *_, why = ["no reason given", *(done.stderr or done.stdout).strip().splitlines()]
            raise FactoryError(f"it could not be installed: {why}")
    if not torch.cuda.is_available():
        subprocess.run([str(python), "-m", "pip", "uninstall", "--quiet", "--yes", "torchvision"], capture_output=True)
        for library in folder.glob("lib/python*/site-packages/torchaudio/lib/*.so"):
            library.unlink()
    return python


def write(base: Base, task: rows.Task, folder: Path, settings: dict[str, Any]) -> Path:
    """The peer's data and configuration for one task; returns the configuration."""
    folder.mkdir(parents=True)
    conversations = [{"messages": list(row.messages)} for row in rows.read(task.folder / "train.jsonl")]
    (folder / "rows.json").write_text(json.dumps(conversations, ensure_ascii=False))
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    described = {"formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": tags | {"system_tag": "system"}}
    (folder / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.json", **described}}))
    config = {
        "model_name_or_path": str(base.folder),
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_target": "all",
        "lora_rank": settings["r"],
        "lora_alpha": 2 * settings["r"],
        "dataset": "rows",
        "dataset_dir": str(folder),
        "cutoff_len": settings["max_length"],
        "output_dir": str(folder / "out"),
        "per_device_train_batch_size": settings["batch"],
        "gradient_accumulation_steps": 1,
        "learning_rate": settings["lr"],
        "num_train_epochs": settings["epochs"],
        "lr_scheduler_type": "cosine",
        "warmup_ratio": 0.05,
        "bf16": True,
        "use_cpu": not torch.cuda.is_available(),
        "disable_gradient_checkpointing": True,
        "save_strategy": "no",
        "report_to": "none",
        "seed": task.seed,
    }
    path = folder / "train.yaml"
    path.write_text(json.dumps(config, indent=2))  # JSON is YAML
    return path
