"""`factory bench only=preference`: DPO and GRPO by plain TRL, and by one process of ours.

GRPO starts from one adapter, fine-tuned before, and is paid for the right label; both sides take turns. TASKS DPO runs
by TRL, half before and half after ours, are measured against one process that trains all of them.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench import rows
from bench.measure import ratio
from bench.training import Process, measured_process, ours
from factory.base.build import Base, load_model, prepare
from factory.base.loaded import Loaded, held
from factory.data.rows import Row

PLAIN = Path(__file__).with_name("plain_preference.py")
TASKS, PAIRS = 8, 8  # DPO runs; pairs of each
GROUP, BATCH, SAID = 8, 2, 16  # GRPO: answers to each of so many questions a step; tokens of one at most
FEW = 10  # steps up to which GRPO is measured twice
COMMON: dict[str, Any] = {"epochs": 1, "r": 16, "max_length": 512, "max_tokens": SAID, "rubric": "classification"}
SFT = COMMON | {"batch": 16, "lr": 1e-3}
DPO = COMMON | {"batch": 4, "lr": 2.5e-4, "stage": {"dpo": {"sft": 0}}}
GRPO = COMMON | {"batch": BATCH, "group": GROUP, "lr": 2.5e-4, "stage": {"grpo": {"group": GROUP}}}


def run(steps: int = 2, *, base: str = "auto", progress: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Measure; returns the `preference` part of the benchmark's JSON."""
    known = prepare(base)
    on = held(known)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tasks = rows.write(TASKS, 240, on.tokenizer, folder / "tasks")
        found = {
            "dpo": _dpo(known, tasks, folder, progress),
            "grpo": _grpo(known, on, tasks[0], folder, steps, progress),
        }
    return {**found, "base": known.label, "machine": {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 2)}}


def _dpo(base: Base, tasks: Sequence[rows.Task], folder: Path, progress: Callable[[str], None]) -> dict[str, Any]:
    """Of the shortest rows each answer over the next one's."""
    for task in tasks:
        known = rows.read(task.folder / "train.jsonl")[: 8 * PAIRS]
        pairs = [
            {"prompt": row.turns, "chosen": row.messages[-1:], "rejected": other.messages[-1:]}
            for row, other in itertools.pairwise(sorted(known, key=lambda row: len(str(row.messages)))[: PAIRS + 1])
        ]
        _write(task.folder / "pairs.jsonl", pairs)
    settings = DPO | {"steps": PAIRS // 4, "marks": []}

    def plain(task: rows.Task) -> Process:
        return _plain(
            "dpo", base, task.folder / "pairs.jsonl", folder / "dpo-trl" / task.name, settings | {"seed": task.seed}
        )

    trl = [plain(task) for task in tasks[: TASKS // 2]]
    mine = ours(base, tasks, folder / "dpo", settings)
    trl += [plain(task) for task in tasks[TASKS // 2 :]]
    found = {
        "runs": TASKS,
        "pairs": PAIRS,
        "trl_seconds": round(sum(one.wall for one in trl), 1),
        "fused_seconds": round(mine.wall, 1),
        "wall_ratio": ratio([(sum(one.wall for one in trl), mine.wall)]),
        "training_ratio": ratio([(sum(one.training for one in trl), mine.training)]),
        "cpu_ratio": ratio([(sum(one.cpu for one in trl), mine.cpu)]),
        "peak_mb_trl": round(max(one.peak for one in trl) / 2**20),
        "peak_mb_fused": round(mine.peak / 2**20),
    }
    progress(f"{TASKS} DPO runs: {found['trl_seconds']} s by TRL, {found['fused_seconds']} s fused")
    return found


def _grpo(
    base: Base, on: Loaded, task: rows.Task, folder: Path, steps: int, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Time a step, and to the highest held-out accuracy that both sides come to above where they began."""
    asked, held_out = (
        [row for row in rows.read(task.folder / f"{part}.jsonl") if row.messages[0]["role"] == "system"]
        for part in ("train", "eval")
    )
    drawn = [asked[n % len(asked)] for n in range(steps * BATCH)]
    ours(base, [task], folder / "sft", SFT)
    start = folder / "sft" / task.name / "adapter"
    questions = [{"prompt": r.turns, "completion": r.messages[-1:], "answer": r.answer} for r in drawn]
    _write(task.folder / "train.jsonl", questions)
    marks = sorted({max(1, steps * quarter // 4) for quarter in (1, 2, 3, 4)})
    settings = GRPO | {"steps": steps, "marks": marks, "parent": str(start)}
    seconds: dict[str, list[list[float]]] = {"trl": [], "ours": []}
    places: dict[str, Path] = {}
    for turn in range(2 if steps <= FEW else 1):
        places = {"trl": folder / f"grpo-trl-{turn}", "ours": folder / f"grpo-{turn}" / task.name}
        _plain("grpo", base, task.folder / "train.jsonl", places["trl"], settings | {"seed": task.seed})
        ours(base, [task], folder / f"grpo-{turn}", settings)
        for side, place in places.items():
            seconds[side].append(json.loads((place / "steps.json").read_text()))
            progress(f"{steps} GRPO steps by {side}: {seconds[side][-1][-1]:.0f} s")
    each = {
        side: median(b - a for run in runs for a, b in zip([0.0, *run], run, strict=False))
        for side, runs in seconds.items()
    }
    model = load_model(base)
    before = _accuracy(model, on, start, held_out)
    after = {
        side: [_accuracy(model, on, place / f"checkpoint-{mark}", held_out) for mark in marks]
        for side, place in places.items()
    }
    same = min(map(max, after.values()))
    reached = {
        side: next(seconds[side][-1][mark - 1] for mark, value in zip(marks, after[side], strict=True) if value >= same)
        for side in after
    }
    return {
        "steps": steps,
        "answers_a_step": BATCH * GROUP,
        "trl_seconds_a_step": round(each["trl"], 2),
        "our_seconds_a_step": round(each["ours"], 2),
        "step_ratio": ratio([(each["trl"], each["ours"])]),
        "accuracy_before": before,
        "accuracy": {**after, "marks": marks},
        "accuracy_of_both": same,
        "same_accuracy_ratio": ratio([(reached["trl"], reached["ours"])]) if same > before else "nothing learned yet",
    }


def _plain(method: str, base: Base, path: Path, out: Path, settings: dict[str, Any]) -> Process:
    known = {key: value for key, value in settings.items() if key not in ("stage", "rubric")}
    return measured_process(
        [sys.executable, str(PLAIN), method, str(base.folder), str(path), str(out), json.dumps(known)]
    )


def _accuracy(model: Any, on: Loaded, adapter: Path, held_out: Sequence[Row]) -> float:
    """The share of greedy answers that are the row's: one ruler for both sides."""
    from factory.answers import adapted, complete

    with adapted(model, adapter) as peft:
        said = complete(peft, on.tokenizer, held_out, SAID)
    return round(sum(text == row.answer for (text, _), row in zip(said, held_out, strict=True)) / len(held_out), 3)


def _write(path: Path, values: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values), encoding="utf-8")
