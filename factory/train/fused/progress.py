"""The progress of many adapters in the terminal: one line each, and a total."""

from typing import Any

from rich.progress import Progress as Bar
from rich.progress import TaskID

from factory.terminal import err
from factory.train.fused.engine import ALL, Progress


def lines(bar: Bar) -> Progress:
    """A `progress` for `train_many` that draws into `bar` (of `factory.terminal.progress_bar`)."""
    known: dict[str, TaskID] = {}
    texts: dict[str, dict[str, str]] = {}

    def show(name: str, record: dict[str, Any]) -> None:
        if "plan" in record:
            err.print(f"planned for this machine's memory: {record['plan']}", markup=False)
            return
        if "remark" in record:
            err.print(f"{name}: {record['remark']}", markup=False)
            return
        if name not in known:
            known[name] = bar.add_task(name or "all together", total=None, text="")
        if name == ALL:
            waiting = f", {record['waiting']} waiting" if record["waiting"] else ""
            text = f"{record['tokens_per_second']:,.0f} tokens/s, {record['running']} training{waiting}"
            bar.update(known[name], completed=record["tokens"], text=text)
            return
        said = texts.setdefault(name, {})
        for key, label in (("loss", "loss"), ("eval_loss", "eval"), ("reward", "reward"), ("score", "score")):
            if key in record:
                said[key] = f"{label} {record[key]:.3f}"
        if "tokens_per_second" in record:
            said["rate"] = f"{record['tokens_per_second']:,.0f} tokens/s"
        changed = {key: record[key] for key in ("total",) if key in record}
        bar.update(known[name], completed=record["step"], text="  ".join(said.values()), **changed)

    return show
