"""`factory top`: the running server, live in the terminal."""

import time
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from factory.errors import FactoryError
from serve import remote

EVERY = 1.0  # seconds


def top() -> None:
    """Show the server until Ctrl-C. FactoryError if none runs over this home."""
    with Live(screen=True, auto_refresh=False) as live:
        while True:
            state = remote.state()
            if state is None:
                raise FactoryError("no server runs over this factory: start one with factory serve")
            live.update(view(state), refresh=True)
            time.sleep(EVERY)


def view(state: dict[str, Any]) -> Group:
    """A state of `serve.admin.state` as two tables."""
    tasks = Table(title="tasks", title_justify="left", expand=True)
    for name in ("task", "live", "before", "canary", "shadow", "req/s", "errors", "first token", "per token", "queue"):
        tasks.add_column(name, justify="left" if name in ("task", "live", "before", "canary", "shadow") else "right")
    for task in state["tasks"]:
        canary = f"{_version(task['canary'])} {task['share']:.0%}" if task["canary"] and task["share"] else ""
        tasks.add_row(
            task["task"],
            Text(f"{_version(task['prod'])} not servable", "red") if task["why_not"] else _version(task["prod"]),
            _version(task["previous"]),
            canary,
            _version(task["shadow"]),
            f"{task['per_second']:.1f}",
            Text(f"{task['errors']:.0f}", "red" if task["errors"] else ""),
            _milliseconds(task["first"]),
            _milliseconds(task["each"]),
            f"{task['running']}+{task['waiting']}",
        )
    engines = Table(title="engines", title_justify="left", expand=True)
    for name in ("base", "replica", "state", "running", "waiting", "in memory", "restarts"):
        engines.add_column(name, justify="left" if name in ("base", "state") else "right")
    for engine in state["engines"]:
        engines.add_row(
            engine["base"],
            str(engine["replica"]),
            Text("ready", "green") if engine["ready"] else Text("restarting", "red"),
            *(str(engine[name]) for name in ("running", "waiting")),
            f"{'–' if engine['resident'] is None else engine['resident']} of {engine['adapters']}",
            str(engine["restarts"]),
        )
    reasons = [Text(f"{task['task']}: {task['why_not']}", "red") for task in state["tasks"] if task["why_not"]]
    return Group(
        tasks,
        engines,
        *reasons,
        Text(
            "Ctrl-C ends; medians of the last 30 s; queue is running+waiting; in memory: of the loaded adapters", "dim"
        ),
    )


def _version(name: str | None) -> str:
    return name.partition("@")[2] if name else "–"


def _milliseconds(seconds: float | None) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds is not None else "–"
