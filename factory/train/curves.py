"""What a run leaves behind of its course: metrics.jsonl, a plot, and in words what the curves mean."""

from __future__ import annotations

import contextlib
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SPIKE = 3.0  # three steps, each with this many times the median loss of the steps before: one alone is a hard batch
LEARNED = 0.98  # the last losses must be below this share of the first ones


def read(run: Path) -> list[dict[str, Any]]:
    """The records of a run: `{"step", "loss", "grad_norm", "lr"}` and `{"step", "eval_loss"}`, one a line."""
    path = run / "metrics.jsonl"
    found = []
    for line in path.read_text(errors="replace").splitlines() if path.is_file() else []:
        with contextlib.suppress(ValueError):  # a line that a crash or a full disk tore
            found.append(json.loads(line))
    return found


def last_step(run: Path) -> int:
    """How many steps the run has noted."""
    return max((record["step"] for record in read(run)), default=0)


def warnings(records: Sequence[dict[str, Any]]) -> list[str]:
    """What a person would say who looks at the curves; empty if they look as they should."""
    said = []
    losses = [(r["step"], r["loss"]) for r in records if "loss" in r]
    evals = [(r["step"], r["eval_loss"]) for r in records if "eval_loss" in r]
    if len(evals) >= 2:
        best_step, best = min(evals, key=lambda e: e[1])
        last_step, last = evals[-1]
        if last > best * 1.02 and last_step > best_step:
            said.append(
                f"overfitting from step {best_step}: the eval loss rose from {best:.3f} to {last:.3f}; the weights of "
                f"step {best_step} are kept (fewer train.epochs, a lower train.lr or more rows would help)"
            )
    if len(losses) >= 10:
        tenth = max(1, len(losses) // 10)
        first = statistics.mean(loss for _, loss in losses[:tenth])
        final = statistics.mean(loss for _, loss in losses[-tenth:])
        if final > first * LEARNED:
            said.append(f"the loss never fell ({first:.3f} to {final:.3f}): train.lr is too low or far too high")
    for i in range(10, len(losses) - 2):
        usual = statistics.median(loss for _, loss in losses[i - 10 : i])
        now = min(loss for _, loss in losses[i : i + 3])
        if now > max(SPIKE * usual, usual + 0.5):
            said.append(f"the loss spikes at step {losses[i][0]} ({usual:.3f} to {now:.3f}): lower train.lr")
            break
    return said


def plot(run: Path, title: str) -> Path:
    """`curves.png`: train and eval loss above, gradient norm below."""
    from matplotlib.figure import Figure

    records = read(run)
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    for axis, key, style in ((above, "loss", "-"), (above, "eval_loss", "o-"), (below, "grad_norm", "-")):
        points = [(r["step"], r[key]) for r in records if key in r]
        if points:
            axis.plot(*zip(*points, strict=True), style, label=key.replace("_", " "), linewidth=1.2, markersize=4)
    above.set_yscale("log")
    above.set_title(title)
    above.legend()
    below.legend()
    below.set_xlabel("step")
    path = run / "curves.png"
    figure.savefig(path, dpi=110)
    return path
