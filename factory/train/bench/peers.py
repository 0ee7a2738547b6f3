"""`factory bench peers=llamafactory`: the same rows, base and settings trained by LLaMA-Factory.

It needs versions of its own of nearly everything, so it lives in a throw-away environment that is removed afterwards.
What it takes is measured like every other trainer: whole processes, one task after the other.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from factory.base.build import Base, load_tokenizer, prepare
from factory.errors import FactoryError
from factory.train.bench import rows
from factory.train.bench.compare import measured_process

PACKAGES = ("llamafactory", "bitsandbytes")


def run(
    *, base: str = "auto", tasks: int = 1, rows_per_task: int = 240, epochs: float = 2.0,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:  # fmt: skip
    """Seconds and memory of LLaMA-Factory on the benchmark's first tasks; `{"measured": False}` and why if it fails."""
    known = prepare(base)
    settings = {"epochs": epochs, "batch": 16, "lr": known.lr, "r": 16, "max_length": 1024}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            python = _environment(folder / "environment", progress)
            made = rows.write(tasks, rows_per_task, load_tokenizer(known), folder / "tasks")
            processes = []
            for task in made:
                config = write(known, task, folder / task.name, settings)
                command = [str(python.parent / "llamafactory-cli"), "train", str(config)]
                processes.append(measured_process(command))
                progress(f"llamafactory {task.name}: {processes[-1].wall:.1f} s")
        except FactoryError as error:
            return {"measured": False, "why": str(error)}
    return {
        "measured": True,
        "wall_seconds": round(sum(process.wall for process in processes), 2),
        "peak_mb": round(max(process.peak for process in processes) / 2**20),
        "processes": [asdict(process) for process in processes],
        "tasks": [task.name for task in made],
    }


def _environment(folder: Path, progress: Callable[[str], None]) -> Path:
    """A fresh environment with the peer in it; returns its Python."""
    progress(f"installing {', '.join(PACKAGES)} into a throw-away environment")
    python = folder / "bin" / "python"
    commands: Sequence[list[str]] = (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", *PACKAGES],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise FactoryError(f"it could not be installed: {_last_line(done.stderr or done.stdout)}")
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
        "disable_gradient_checkpointing": True,
        "save_strategy": "no",
        "report_to": "none",
        "seed": task.seed,
    }
    path = folder / "train.yaml"
    path.write_text(json.dumps(config, indent=2))  # JSON is YAML
    return path


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1]
