"""Every part of `factory bench` by its name. A part takes the settings and returns its figures, as JSON holds them;
or several by their names, its own among them."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

# What can be run of a part alone. Of gain the first two are measured without being asked for.
INNER = {"preference": ("dpo", "grpo", "accuracy"), "gain": ("grpo", "rounds", "dpo_norm")}


@dataclass(frozen=True)
class Settings:
    """What can be set: a callable for remarks, minutes of load at the end of serving, experiments of the gate, GRPO
    steps (0: as many as the part takes by itself), the task of gain and ways with changes of its recipe, the seeds of
    gain, one of the INNER parts, and whether training and serving measure less, in minutes."""

    progress: Callable[[str], None] = lambda line: None
    soak: float = 0
    experiments: int = 1000
    steps: int = 0
    task: str = ""
    changes: Mapping[str, str] = field(default_factory=dict)
    seeds: int = 1
    part: str = ""
    small: bool = False


def _run(name: str, *given: Any, **named: Any) -> dict[str, Any]:
    """A bench's `run`; it is imported now, and with it all that it compares with."""
    found: dict[str, Any] = importlib.import_module(f"bench.{name}").run(*given, **named)
    return found


def training(s: Settings) -> dict[str, Any]:
    from bench.training import plot
    from factory.home import home

    small: dict[str, Any] = {"rows_per_task": 40, "epochs": 1.0, "repeats": 1, "grows": False} if s.small else {}
    found = _run("training", (1, 3, 8) if s.small else (1, 3, 8, 16), **small, progress=s.progress)
    plot(found, home("bench.png"))
    return found


def memory(_: Settings) -> dict[str, Any]:
    """What a training needs on a GPU, computed: rows of so many tokens, adapters, with and without recomputing."""
    from bench.gpu import COMMON, SHAPES
    from factory.train.memory import Shape, on_gpu

    found: dict[str, Any] = {}
    for name, shape in SHAPES.items():
        for tokens, adapters in ((1024, 1), (1024, 8), (4096, 1), (4096, 8)):
            kept, anew = (
                on_gpu(Shape.of(COMMON | shape), tokens=tokens, adapters=adapters, recompute=recompute)["total"] / 1e9
                for recompute in (False, True)
            )
            row = {"gb": round(kept, 1), "gb_recomputing": round(anew, 1)}
            found[f"{name}, {tokens} tokens, {adapters} adapter{'s' if adapters > 1 else ''}"] = row
    return found


def serving(s: Settings) -> dict[str, Any]:
    small: dict[str, Any] = {"versions": 60, "rounds": 1} if s.small else {}
    return _run("serving", **small, soak_minutes=s.soak, progress=s.progress)


Part = Callable[[Settings], dict[str, Any]]
PARTS: dict[str, Part] = {
    "training": training,
    "preference": lambda s: _run("preference", s.steps, s.part, progress=s.progress),
    "gain": lambda s: _run("gain", s.steps or 40, s.task, s.changes, s.progress, seeds=s.seeds, part=s.part),
    "ways": lambda s: _run("ways", s.task, s.changes, s.progress),
    "dialogues": lambda s: _run("dialogues", progress=s.progress),
    "serving": serving,
    "precision": lambda s: _run("precision", progress=s.progress),
    "data": lambda s: _run("data"),
    "grading": lambda s: _run("grading"),
    "answers": lambda s: _run("answers"),
    "pages": lambda s: _run("pages"),
    "gate": lambda s: _run("gate", s.experiments, progress=s.progress),
    "gpu": lambda s: _run("gpu", progress=s.progress),
    "memory": memory,
}
PEERS: dict[str, Part] = {"llamafactory": lambda s: _run("peers", progress=s.progress)}
