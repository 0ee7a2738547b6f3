"""Every part of `factory bench` by its name. A part takes the settings and returns its figures, as JSON holds them;
or several by their names, its own among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


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


def training(settings: Settings) -> dict[str, Any]:
    from bench import training
    from factory.home import home

    small: dict[str, Any] = {"rows_per_task": 40, "epochs": 1.0, "repeats": 1, "grows": False} if settings.small else {}
    found = training.run((1, 3, 8) if settings.small else (1, 3, 8, 16), **small, progress=settings.progress)
    training.plot(found, home("bench.png"))
    return found


def preference(settings: Settings) -> dict[str, Any]:
    from bench import preference

    return preference.run(settings.steps, settings.part, progress=settings.progress)


def gain(settings: Settings) -> dict[str, Any]:
    from bench import gain

    found = settings.task, settings.changes, settings.progress
    return gain.run(settings.steps or 40, *found, seeds=settings.seeds, part=settings.part)


def ways(settings: Settings) -> dict[str, Any]:
    from bench import ways

    return ways.run(settings.task, settings.changes, settings.progress)


def serving(settings: Settings) -> dict[str, Any]:
    from bench import serving

    small: dict[str, Any] = {"versions": 60, "rounds": 1} if settings.small else {}
    return serving.run(**small, soak_minutes=settings.soak, progress=settings.progress)


def dialogues(settings: Settings) -> dict[str, Any]:
    from bench import dialogues

    return dialogues.run(progress=settings.progress)


def precision(settings: Settings) -> dict[str, Any]:
    from bench import precision

    return precision.run(progress=settings.progress)


def data(settings: Settings) -> dict[str, Any]:
    from bench import data

    return data.run()


def grading(settings: Settings) -> dict[str, Any]:
    from bench import grading

    return grading.run()


def answers(settings: Settings) -> dict[str, Any]:
    from bench import answers

    return answers.run()


def pages(settings: Settings) -> dict[str, Any]:
    from bench import pages

    return pages.run()


def gate(settings: Settings) -> dict[str, Any]:
    from bench import gate

    return gate.run(settings.experiments, progress=settings.progress)


def gpu(settings: Settings) -> dict[str, Any]:
    from bench import gpu

    return gpu.run(progress=settings.progress)


def memory(settings: Settings) -> dict[str, Any]:
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


def llamafactory(settings: Settings) -> dict[str, Any]:
    from bench import peers

    return peers.run(progress=settings.progress)


Part = Callable[[Settings], dict[str, Any]]
PARTS: dict[str, Part] = {
    "training": training,
    "preference": preference,
    "gain": gain,
    "ways": ways,
    "dialogues": dialogues,
    "serving": serving,
    "precision": precision,
    "data": data,
    "grading": grading,
    "answers": answers,
    "pages": pages,
    "gate": gate,
    "gpu": gpu,
    "memory": memory,
}
# What can be run of a part alone.
INNER = {"preference": ("dpo", "grpo", "accuracy"), "gain": ("grpo", "rounds", "dpo_norm")}
PEERS: dict[str, Part] = {"llamafactory": llamafactory}
