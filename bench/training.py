"""`factory bench only=training`: N adapters by plain TRL one after the other, and by one process of ours.

Every figure is a whole process from its start to its end, as a user waits for it. In each repeat all of them take
turns, so that a slow minute of the machine hits all alike. N runs one after the other are sums over the same tasks; of
more than APART adapters, over the first APART tasks again and again, which are of the same kinds and sizes.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import growth, rows
from bench.measure import ratio
from factory.answers import adapted
from factory.base.build import Base, load_model, load_tokenizer, prepare
from factory.environment import DEFAULTS
from factory.errors import FactoryError
from factory.pipeline.recovery import held_out_loss
from factory.train.tokens import Example, encode

PLAIN = Path(__file__).with_name("plain_trl.py")
APART = 8  # tasks that are trained one after the other by TRL
ALONE = 3  # and by our engine, one process a task
# Linux counts the peak memory of the process that starts a command as the command's own, so a small one starts it.
STARTER = """import json, os, sys
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
print("\\n" + json.dumps({"cpu": usage.ru_utime + usage.ru_stime, "peak": usage.ru_maxrss * 1024}))
sys.exit(abs(os.waitstatus_to_exitcode(status)))
"""
SAME = 1.02  # a held-out loss up to this many times the other's counts as the same


@dataclass(frozen=True)
class Process:
    """One measured process: wall seconds, those of them spent training, its processor seconds, peak resident bytes."""

    wall: float
    training: float
    cpu: float
    peak: int


def run(
    adapters: Sequence[int] = (1, 3, 8, 16),
    *,
    base: str = "auto",
    rows_per_task: int = 160,
    epochs: float = 2.0,
    repeats: int = 2,
    grows: bool = True,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure; returns the `training` part of the benchmark's JSON. The tasks are many, so the repeats are few. With
    `grows` also how the cost grows (`growth`)."""
    known = prepare(base)
    settings: dict[str, Any] = {"epochs": epochs, "batch": 16, "lr": known.lr, "r": 16, "max_length": 1024}
    measured: dict[str, list[list[Process]]] = {"plain": [], "packed": [], "alone": []}
    measured |= {f"fused {n}": [] for n in adapters}
    load = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer = load_tokenizer(known)
        tasks = rows.write(max(adapters), rows_per_task, tokenizer, folder / "tasks")
        for repeat in range(repeats):
            turn: dict[str, list[Process]] = {kind: [] for kind in measured}
            for task in tasks[:APART]:
                turn["plain"].append(plain(known, task, folder / "plain", settings, packing=False))
            for task in tasks[:ALONE]:
                turn["alone"].append(ours(known, [task], folder / f"alone-{repeat}", settings))
            turn["packed"].append(plain(known, tasks[0], folder / "packed", settings, packing=True))
            for n in adapters:
                turn[f"fused {n}"].append(ours(known, tasks[:n], folder / f"fused-{n}-{repeat}", settings))
            for kind, processes in turn.items():
                measured[kind].append(processes)
                progress(f"{repeat + 1}/{repeats} {kind}: {sum(p.wall for p in processes):.1f} s")
            load.append(os.getloadavg()[0])
        losses = _losses(known, tokenizer, tasks, folder, adapters, settings["max_length"])
        tokens = [_tokens(tokenizer, task, settings) for task in tasks]
    return {
        "fused_vs_trl": {str(n): _verdict(n, measured, losses) for n in adapters},
        "trainers": {kind: _summary(kind, measured[kind], tokens) for kind in measured},
        "held_out_loss": losses,
        "tasks": [task.name for task in tasks],
        "settings": {**settings, "rows": rows_per_task, "repeats": repeats, "base": known.label},
        "growth": growth.run(known) if grows else {},
        "machine": {"cores": os.cpu_count(), "load_average": [round(value, 2) for value in load]},
    }


def plain(base: Base, task: rows.Task, out: Path, settings: dict[str, Any], *, packing: bool) -> Process:
    keys = {**settings, "packing": packing, "seed": task.seed}
    files = [PLAIN, base.folder, task.folder / "train.jsonl", out / task.name]
    return measured_process([sys.executable, *map(str, files), json.dumps(keys)])


def ours(base: Base, tasks: Sequence[rows.Task], out: Path, settings: dict[str, Any]) -> Process:
    folders = [str(task.folder) for task in tasks]
    return measured_process([sys.executable, "-m", "bench.ours", base.name, str(out), json.dumps(settings), *folders])


def measured_process(command: list[str]) -> Process:
    """Run a command and wait: its wall time, its own peak memory, and the training time that it prints."""
    # Compiled modules are kept, as on most machines: else each start pays for them, and plain runs start most often.
    environment = os.environ | DEFAULTS | {"PYTHONDONTWRITEBYTECODE": ""}
    starter = [sys.executable, "-ISc", STARTER]
    began = time.monotonic()
    done = subprocess.run(
        [*starter, *command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    wall = time.monotonic() - began
    *said, usage = done.stdout.splitlines() or [""]
    if done.returncode:
        raise FactoryError(f"{' '.join(command[:3])} ended with {done.returncode}:\n{chr(10).join(said)[-2000:]}")
    found = re.findall(r"train_runtime['\"]: ['\"]?([0-9.e+-]+)", done.stdout)
    used = json.loads(usage)
    return Process(wall, float(found[-1]) if found else 0.0, used["cpu"], used["peak"])


def _losses(
    base: Base, tokenizer: Any, tasks: list[rows.Task], folder: Path, adapters: Sequence[int], max_length: int
) -> dict[str, list[float]]:
    """Held-out losses of the adapters each trainer left, task by task, all by the same ruler."""
    model = load_model(base)
    held_out = [[encode(tokenizer, row, max_length) for row in rows.read(t.folder / "eval.jsonl")] for t in tasks]
    places = {
        "plain": (len(tasks[:APART]), "plain/{}"),
        "packed": (1, "packed/{}"),
        "alone": (len(tasks[:ALONE]), "alone-0/{}/adapter"),
    }
    places |= {f"fused {n}": (n, f"fused-{n}-0/{{}}/adapter") for n in adapters}
    return {
        kind: [_loss(model, folder / place.format(tasks[i].name), held_out[i]) for i in range(count)]
        for kind, (count, place) in places.items()
    }


def _loss(model: Any, adapter: Path, examples: Sequence[Example]) -> float:
    with adapted(model, adapter) as peft:
        return round(held_out_loss(peft, examples), 4)


def _tokens(tokenizer: Any, task: rows.Task, settings: dict[str, Any]) -> int:
    examples = [encode(tokenizer, row, settings["max_length"]) for row in rows.read(task.folder / "train.jsonl")]
    return round(sum(len(e.input_ids) for e in examples) * float(settings["epochs"]))


def _verdict(n: int, measured: dict[str, list[list[Process]]], losses: dict[str, list[float]]) -> dict[str, Any]:
    """The three figures of N adapters; ratios are medians over repeats, with the wall time's range beside them.

    `memory_ratio` is the peak of N together over that of one by plain TRL, `memory_ratio_ours` over that of one by our
    engine. `cpu_ratio` is that of processor seconds, which a busy machine distorts far less than wall time.
    """
    pairs = [
        ([plain[i % len(plain)] for i in range(n)], fused[0])
        for plain, fused in zip(measured["plain"], measured[f"fused {n}"], strict=True)
    ]
    walls = [fused.wall / sum(p.wall for p in plain) for plain, fused in pairs]
    ones = [max(p.peak for p in alone) for alone in measured["alone"]]
    same = all(mine <= SAME * theirs for mine, theirs in zip(losses[f"fused {n}"], losses["plain"], strict=False))
    return {
        "wall_ratio": round(statistics.median(walls), 3),
        "memory_ratio": ratio((max(p.peak for p in plain), fused.peak) for plain, fused in pairs),
        "memory_ratio_ours": ratio((one, fused.peak) for (_, fused), one in zip(pairs, ones, strict=True)),
        "same_score": same,
        "wall_ratio_range": [round(min(walls), 3), round(max(walls), 3)],
        "cpu_ratio": ratio((sum(p.cpu for p in plain), fused.cpu) for plain, fused in pairs),
    }


def _summary(kind: str, repeats: list[list[Process]], tokens: list[int]) -> dict[str, Any]:
    """What one trainer took for all its tasks: medians and ranges over the repeats."""
    walls = [sum(p.wall for p in processes) for processes in repeats]
    training = [sum(p.training for p in processes) for processes in repeats]
    count = int(kind.split()[1]) if kind.startswith("fused") else len(repeats[0])
    return {
        "adapters": count,
        "wall_seconds": round(statistics.median(walls), 2),
        "wall_seconds_range": [round(min(walls), 2), round(max(walls), 2)],
        "cpu_seconds": round(statistics.median(sum(p.cpu for p in processes) for processes in repeats), 2),
        "training_seconds": round(statistics.median(training), 2),
        "tokens_per_second": round(sum(tokens[:count]) / statistics.median(walls)),
        "tokens_per_second_training": round(sum(tokens[:count]) / max(statistics.median(training), 1e-9)),
        "peak_mb": round(max(p.peak for processes in repeats for p in processes) / 2**20),
    }


def plot(result: dict[str, Any], path: Path) -> None:
    """Wall seconds of N adapters, plain TRL against ours, and how ours grows."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    left, *others = figure.subplots(1, 1 + len(result["growth"]), squeeze=False)[0]
    ratios = result["fused_vs_trl"]
    left.bar(list(ratios), [figures["wall_ratio"] for figures in ratios.values()], width=0.5)
    left.axhline(1, color="grey", linewidth=0.8)
    left.set_xlabel("adapters")
    left.set_ylabel("wall time, fused ÷ plain TRL")
    for axis, (name, points) in zip(others, result["growth"].items(), strict=True):
        axis.plot([p["at"] for p in points], [p["tokens_per_second"] for p in points], "o-", linewidth=1.2)
        axis.set_xscale("log", base=2)
        axis.set_ylim(bottom=0)
        axis.set_xlabel(name)
        axis.set_ylabel("tokens per second")
    figure.savefig(path, dpi=110)
