"""What a run leaves behind of its course: metrics.jsonl, a plot, and in words what the curves mean."""

import contextlib
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from factory.data.filters import repeats
from factory.data.words import words

SPIKE = 3.0  # three steps, each with this many times the median loss of the steps before: one alone is a hard batch
LEARNED = 0.98  # the last losses must be below this share of the first ones

NOTHING = 1e-4  # a loss of so much is 0
FELL = -0.1  # change of a chosen token's log-probability, in nats, that is told
LONGER = 1.1  # times as many words as before, and a word more

EVEN, CUT = 0.7, 0.2  # shares of answers that teach nothing, and that do not end


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
    if any("reward" in record for record in records):
        return _rewarded(records)
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
    return said + _stalled(records)


def _stalled(records: Sequence[dict[str, Any]]) -> list[str]:
    """What only shows in figures that a loss does not tell of."""
    steps = [record for record in records if "loss" in record]
    last = steps[-max(1, len(steps) // 10) :]
    said = _still(steps)
    if len(steps) >= 10 and statistics.mean(abs(record["loss"]) for record in last) < NOTHING:
        said.append("the loss is 0, nothing is left to learn: fewer epochs, a lower lr, or harder rows")
    if last and "chosen" in last[0] and (fell := statistics.mean(record["chosen"] for record in last)) < FELL:
        said.append(
            f"chosen answers became less likely than before, too ({fell:.2f} a token): a larger sft or beta of the "
            "stage, or a lower lr, keeps them"
        )
    return said


def _still(steps: Sequence[dict[str, Any]]) -> list[str]:
    if not steps or any(record.get("grad_norm", 1) for record in steps[1:] or steps):
        return []
    return ["the adapter does not move: every gradient is 0 (are all pairs or rewards alike, or lora.alpha tiny?)"]


def _rewarded(records: Sequence[dict[str, Any]]) -> list[str]:
    """Of a run that draws its answers: whether the reward means anything, and still pays for what is wanted."""
    steps = [record for record in records if "reward" in record]
    tenth = max(1, len(steps) // 10)
    first, last = steps[:tenth], steps[-tenth:]

    def mean(records: Sequence[dict[str, Any]], key: str) -> float:
        return float(statistics.mean(record[key] for record in records))

    said = _still(steps)
    golds = [record for record in records if "kept" in record]
    if (kept := [one for one in golds if one["kept"]]) and kept[-1] is not golds[-1]:
        fell = f"the gold reward fell from {max(one['gold'] for one in kept):.2f} to {golds[-1]['gold']:.2f}"
        went = f"the reward went from {mean(first, 'reward'):.2f} to {mean(last, 'reward'):.2f}"
        hacked = mean(last, "reward") > mean(first, "reward")
        why = "what pays is not what is wanted" if hacked else "it unlearned what it knew"
        do = "pay for more of the rubric, or lower lr" if hacked else "lower lr"
        said.append(f"{fell} while {went}: {why}. The weights of step {kept[-1]['step']} are kept; {do}")
    if (even := mean(steps, "even")) > EVEN:
        said.append(
            f"{even:.0%} of the answers were no better or worse than their group: the reward has no variance (the "
            "questions are too easy or too hard, or temperature and group too small)"
        )
    if (cut := mean(last, "cut")) == 1:
        said.append("no answer came to an end: the end token is not learned (sft before teaches it)")
    elif cut > CUT:
        said.append(f"{cut:.0%} of the answers were cut off: a larger decoding.max_tokens, or sft before, ends them")
    if mean(last, "length") > mean(first, "length") * LONGER + 1:
        said.append(f"answers grew from {mean(first, 'length'):.0f} to {mean(last, 'length'):.0f} tokens")
    return said


def fell(was: Sequence[float], now: Sequence[float]) -> str:
    """That the gold reward of the same rows fell, in words; empty where it did not, by more than a standard error."""
    apart = [after - before for before, after in zip(was, now, strict=True)]
    error = statistics.stdev(apart) / len(apart) ** 0.5 if len(apart) > 1 else 1.0
    if not apart or statistics.mean(apart) >= -error:
        return ""
    return (
        f"the gold reward of {len(apart)} rows kept for tuning fell from {statistics.mean(was):.2f} to "
        f"{statistics.mean(now):.2f}: it unlearned what it knew; a lower lr, or other questions to draw for, would help"
    )


def drift(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """What became of the answers to the same questions: longer, or going round in circles."""
    was, now = ([words(answer) for answer in answers] for answers in (before, after))
    long, longer = (statistics.mean(map(len, said)) if said else 0.0 for said in (was, now))
    loops, more = (sum(map(repeats, said)) for said in (was, now))
    said = []
    if longer > long * LONGER + 1:
        said.append(
            f"answers grew longer: {longer:.0f} words, {long:.0f} before (dpo_norm does not pay for length; a higher "
            "beta or fewer epochs would help)"
        )
    if more > loops:
        said.append(f"{more} of {len(now)} answers repeat themselves, {loops} before: a lower lr or a larger sft")
    return said


def plot(run: Path, title: str) -> Path:
    """`curves.png`: train and eval loss above, gradient norm below; of a run with rewards these and the gold reward,
    how long answers are and how far the adapter is from its parent."""
    from matplotlib.figure import Figure

    records = read(run)
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    paid = any("reward" in record for record in records)
    lines = [(above, "loss", "-"), (above, "eval_loss", "o-"), (below, "grad_norm", "-")]
    if paid:
        beside = below.twinx()
        lines = [(above, "reward", "-"), (above, "gold", "o-"), (below, "length", "-"), (beside, "kl", "C1-")]
    for axis, key, style in lines:
        points = [(r["step"], r[key]) for r in records if key in r]
        if points:
            label = {"kl": "KL from the parent"}.get(key, key.replace("_", " "))
            axis.plot(*zip(*points, strict=True), style, label=label, linewidth=1.2, markersize=4)
    above.set_yscale("linear" if paid else "log")
    above.set_title(title)
    for axis in dict.fromkeys(axis for axis, *_ in lines):
        if axis.lines:
            axis.legend(loc="lower right" if axis not in (above, below) else "best")
    below.set_xlabel("step")
    path = run / "curves.png"
    figure.savefig(path, dpi=110)
    return path
