"""`factory bench only=preference`: DPO and GRPO by plain TRL, and by one process of ours. `part=` is one of three.

`dpo`: TASKS runs by TRL, half before and half after ours, against one process that trains all of them. `grpo`: the time
of a step on banking77, from one fine-tuned adapter; both sides take turns. `accuracy`: the time to the same held-out
accuracy on the made task of `gain`, which so small a base can learn from rewards. Both sides go on from one supervised
adapter, with the same questions, settings and reward (`exact`), a checkpoint at every eighth of their steps, whose
writing is in the time. What these are worth is found afterwards, by the same code for both.
"""

import itertools
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench import gain, rows
from bench.exact import exact
from bench.measure import own_home, ratio
from bench.training import Process, measured_process, ours
from factory.base.build import Base, load_model, prepare
from factory.base.loaded import Loaded, held
from factory.data.rows import Row

PLAIN = Path(__file__).with_name("plain_preference.py")
TASKS, PAIRS = 8, 8  # DPO runs; pairs of each
GROUP, BATCH, SAID = 8, 2, 16  # GRPO: answers to each of so many questions a step; tokens of one at most
FEW = 10  # steps up to which GRPO is measured twice
SIDES = ("ours", "trl")  # in that order: a fault of ours is known after a shorter time
MARKS = 8  # points of a curve to accuracy
COMMON: dict[str, Any] = {"epochs": 1, "r": 16, "max_length": 512, "max_tokens": SAID, "rubric": "classification"}
SFT = COMMON | {"batch": 16, "lr": 1e-3}
DPO = COMMON | {"batch": 4, "lr": 2.5e-4, "stage": {"dpo": {"sft": 0}}}
GRPO = COMMON | {"batch": BATCH, "group": GROUP, "lr": 2.5e-4, "stage": {"grpo": {"group": GROUP}}}
PICK: dict[str, Any] = {"rubric": gain.TASK, "max_tokens": gain.RECIPE["decoding"]["max_tokens"]}
PICK_SFT = SFT | PICK | {key: gain.RECIPE["train"][key] for key in ("epochs", "batch", "lr")}
PICK_GRPO = GRPO | PICK | {"batch": 4}

Progress = Callable[[str], None]


def run(
    steps: int = 0, part: str = "", *, base: str = "auto", progress: Progress = lambda line: None
) -> dict[str, Any]:
    """Measure; returns the `preference` part of the benchmark's JSON. `steps` are those of GRPO, 0: as many as each
    part takes by itself."""
    known = prepare(base)
    on = held(known)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tasks = rows.write(TASKS, 240, on.tokenizer, folder / "tasks") if part != "accuracy" else []
        if part in ("", "dpo"):
            found["dpo"] = _dpo(known, tasks, folder, progress)
        if part in ("", "grpo"):
            found["grpo"] = _grpo(known, tasks[0], folder, steps or 2, progress)
        if part in ("", "accuracy"):
            found["accuracy"] = _accuracy(known, on, folder, steps or 40, progress)
    return {**found, "base": known.label, "machine": {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 2)}}


def _dpo(base: Base, tasks: Sequence[rows.Task], folder: Path, progress: Progress) -> dict[str, Any]:
    """Of the shortest rows each answer over the next one's."""
    for task in tasks:
        known = rows.read(task.folder / "train.jsonl")[: 8 * PAIRS]
        pairs = [
            {"prompt": row.turns, "chosen": row.messages[-1:], "rejected": other.messages[-1:]}
            for row, other in itertools.pairwise(sorted(known, key=lambda row: len(str(row.messages)))[: PAIRS + 1])
        ]
        _write(task.folder / "pairs.jsonl", pairs)
    settings = DPO | {"steps": PAIRS // 4}

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


def _grpo(base: Base, task: rows.Task, folder: Path, steps: int, progress: Progress) -> dict[str, Any]:
    """The time of a step."""
    asked = [row for row in rows.read(task.folder / "train.jsonl") if row.messages[0]["role"] == "system"]
    settings = GRPO | {"parent": _started(base, task, folder, SFT)}
    runs = [
        _both(base, task, asked, folder / f"grpo-{turn}", settings, steps, progress)[0]
        for turn in range(2 if steps <= FEW else 1)
    ]
    mine, trl = (
        median(b - a for seconds in runs for a, b in itertools.pairwise([0.0, *seconds[side]])) for side in SIDES
    )
    return {
        "steps": steps,
        "answers_a_step": BATCH * GROUP,
        "trl_seconds_a_step": round(trl, 2),
        "our_seconds_a_step": round(mine, 2),
        "step_ratio": ratio([(trl, mine)]),
    }


def _accuracy(base: Base, on: Loaded, folder: Path, steps: int, progress: Progress) -> dict[str, Any]:
    """The curves of both sides, and the time to the lower one of their highest held-out accuracies."""
    made = [
        Row(({"role": "user", "content": one["prompt"]}, {"role": "assistant", "content": one["completion"]}))
        for one in gain.questions(gain.ROWS + gain.HELD)
    ]
    made = [row.with_system(gain.PROMPT) for row in made]
    few, asked, held_out = made[: gain.SEEN], made[gain.SEEN : gain.ROWS], made[gain.ROWS :]
    task = rows.Task(f"0-{gain.TASK}", folder / f"0-{gain.TASK}", 0)
    rows.save(task.folder / "train.jsonl", few)
    marks = sorted({max(1, steps * part // MARKS) for part in range(1, MARKS + 1)})
    with own_home(base), gain.made(folder / "project"):
        settings = PICK_GRPO | {"parent": _started(base, task, folder, PICK_SFT), "marks": marks}
        seconds, places = _both(base, task, asked, folder / "accuracy", settings, steps, progress)
    model = load_model(base)
    before = _right(model, on, Path(settings["parent"]), held_out, settings["max_tokens"])
    progress(f"where both start: {before:.1%} of {len(held_out)} right")
    curves: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for side, mark in itertools.product(SIDES, marks):
        right = _right(model, on, places[side] / f"checkpoint-{mark}", held_out, settings["max_tokens"])
        curves[side].append({"step": mark, "seconds": round(seconds[side][mark - 1], 1), "right": right})
        progress(f"{side}, step {mark}, {seconds[side][mark - 1]:.0f} s: {right:.1%} right")
    same = min(max(point["right"] for point in curve) for curve in curves.values())
    mine, trl = (next(point["seconds"] for point in curves[side] if point["right"] >= same) for side in SIDES)
    return {
        "task": gain.TASK,
        "steps": steps,
        "answers_a_step": settings["batch"] * GROUP,
        "held_out": len(held_out),
        "right_before": before,
        **curves,
        "same_accuracy": same,
        "trl_seconds": trl,
        "our_seconds": mine,
        "ratio": ratio([(trl, mine)]) if same > before else "nothing learned yet",
    }


def _started(base: Base, task: rows.Task, folder: Path, settings: dict[str, Any]) -> str:
    """The adapter that both sides go on from: supervised learning of the task's rows."""
    ours(base, [task], folder / "sft", settings)
    return str(folder / "sft" / task.name / "adapter")


def _both(
    base: Base,
    task: rows.Task,
    asked: Sequence[Row],
    out: Path,
    settings: dict[str, Any],
    steps: int,
    progress: Progress,
) -> tuple[dict[str, list[float]], dict[str, Path]]:
    """GRPO by both sides, one after the other: when each step was over, in seconds, and where the adapters lie."""
    drawn = [asked[n % len(asked)] for n in range(steps * settings["batch"])]
    path, settings = task.folder / "train.jsonl", settings | {"steps": steps}
    _write(path, [{"prompt": r.turns, "completion": r.messages[-1:], "answer": r.answer} for r in drawn])
    places = {"trl": out / "trl", "ours": out / "ours" / task.name}
    seconds: dict[str, list[float]] = {}
    for side in SIDES:
        if side == "trl":
            _plain("grpo", base, path, places[side], settings | {"seed": task.seed})
        else:
            ours(base, [task], out / "ours", settings)
        seconds[side] = json.loads((places[side] / "steps.json").read_text())
        progress(f"{steps} GRPO steps by {side}: {seconds[side][-1]:.0f} s")
    return seconds, places


def _plain(method: str, base: Base, path: Path, out: Path, settings: dict[str, Any]) -> Process:
    known = {key: value for key, value in settings.items() if key not in ("stage", "rubric")}
    return measured_process(
        [sys.executable, str(PLAIN), method, str(base.folder), str(path), str(out), json.dumps(known)]
    )


def _right(model: Any, on: Loaded, adapter: Path, held_out: Sequence[Row], most: int) -> float:
    """The share of greedy answers that are the row's: one ruler for both sides."""
    from factory.answers import adapted, complete

    with adapted(model, adapter) as peft:
        said = complete(peft, on.tokenizer, held_out, most)
    return round(sum(exact(text, row.answer) for (text, _), row in zip(said, held_out, strict=True)) / len(held_out), 4)


def _write(path: Path, values: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values), encoding="utf-8")
