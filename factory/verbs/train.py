"""`factory train`: train the tasks together, show each beside the base, and what the gate says."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evals import show
from factory import recipe as recipes
from factory.base.build import prepare as prepare_base
from factory.base.build import too_large
from factory.errors import InputError
from factory.home import home
from factory.pipeline.train import Made, SomeFailed, fit
from factory.pipeline.train import train as trained
from factory.recipe import Recipe
from factory.terminal import out, percent, table
from factory.train.fused import Failed
from factory.verbs import divided, fan
from factory.verbs.fan import Device
from factory.verbs.sweep import sweep
from serve.process import cuda


def train(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Train every task named, all that share a base at once, and show each against the base; or sweep over one."""
    wanted = recipes.load_all(arguments["task"], changes)
    on = fan.devices(arguments["devices"]) if "devices" in arguments else []
    together = _together(wanted, on, "sweep" in arguments)
    stages = [stage for one in wanted for stage in one.stages]
    if stages and "sweep" in arguments:
        raise InputError("stages: a recipe with stages trains without a sweep (stages=[] leaves them out)")
    if together and (whole := [stage.name for stage in stages if not stage.divides]):
        raise InputError(
            f"stages: {' and '.join(dict.fromkeys(whole))} cannot do with a base in parts, which devices={len(on)} "
            "makes of it here: leave such stages out, or train without devices= over a base that one GPU holds"
        )
    if "sweep" in arguments:
        best, variants = sweep(wanted, arguments["sweep"], changes, on, quiet)
        return {"versions": [tell(best, quiet)], "sweep": variants}
    if len(on) > 1 and not together:
        return _spread(wanted, changes, on, quiet)
    made: list[dict[str, Any]] = []
    failed: list[Failed] = []
    for result in trained(wanted, divided.over(on) if together else fit):
        if isinstance(result, Failed):
            failed.append(result)
        else:
            made.append(tell(result, quiet))
    if failed:
        raise SomeFailed(made, failed)
    return {"versions": made}


def _together(wanted: Sequence[Recipe], on: Sequence[Device], sweep: bool) -> bool:
    """Whether all devices train together, each with a part of the base: for one task, and where one is too small."""
    large = sorted({one.base for one in wanted if cuda() and too_large(prepare_base(one.base))})
    if large and (sweep or len(on) < 2):
        raise InputError(
            f"base={large[0]}: too large for one GPU here; devices=2 or more divides it over so many, and all tasks "
            "train together on it, without a sweep"
        )
    return len(on) > 1 and (bool(large) or len(wanted) == 1)


def _spread(wanted: Sequence[Recipe], changes: dict[str, str], on: Sequence[Device], quiet: bool) -> dict[str, Any]:
    """The same on several devices: on each a process that trains, registers and grades its part of the tasks."""
    for base in {recipe.base for recipe in wanted}:
        prepare_base(base)  # once, before many ask for it
    parts = _parts(wanted, len(on))
    given = [f"{key}={value}" for key, value in changes.items()]
    works = [["train", f"task={','.join(part)}", *given, "--json"] for part in parts]
    made: list[dict[str, Any]] = []
    failed: list[Failed] = []
    for part, result in zip(parts, fan.spread(works, on, fan.Worker()), strict=True):
        if isinstance(result, fan.Lost):
            failed += [Failed(task, result.why, 0, home("runs")) for task in part]
            continue
        made += result["versions"]
        failed += [Failed(f["task"], f["why"], f["step"], Path(f["run"])) for f in result.get("failed", [])]
    rows = [[v["task"], v["version"], percent(v["scorecard"].get("good")), v["gate"]["decision"]] for v in made]
    out(quiet).print(table("", ["task", "version", "good", "the gate says"], rows))
    if failed:
        raise SomeFailed(made, failed)
    return {"versions": made}


def _parts(wanted: Sequence[Recipe], count: int) -> list[list[str]]:
    """The tasks dealt out so that no part has much more to train than another, by the size of their files of rows."""

    def size(recipe: Recipe) -> float:
        files = [recipe.data.train] if isinstance(recipe.data.train, str) else recipe.data.train
        return recipe.train.epochs * sum(f.stat().st_size for name in files if (f := recipe.folder / name).is_file())

    parts: list[list[Recipe]] = [[] for _ in range(min(count, len(wanted)))]
    for recipe in sorted(wanted, key=size, reverse=True):
        min(parts, key=lambda part: (sum(map(size, part)), len(part))).append(recipe)
    return [[recipe.task for recipe in part] for part in parts]


def tell(made: Made, quiet: bool) -> dict[str, Any]:
    """Show a new version beside the base; returns what `--json` shows of it."""
    task, result, console = made.recipe.task, made.to_json(), out(quiet)
    console.print(_table(task, made.base.label, f"v{made.ordinal}", made.before.brief(), result["scorecard"]))
    for line in list(show.lines(made.report))[-2:]:
        console.print(line)
    console.print(f"{made.version.short} is in the registry. Next:")
    named = f"version={task}@v{made.ordinal}"
    promoted = result["gate"]["decision"] == "PROMOTE"
    console.print(f"  factory promote {named} && factory serve\n" if promoted else f"  factory show {named}\n")
    return result


def _table(task: str, base: str, version: str, before: dict[str, Any], after: dict[str, Any]) -> Any:
    rows = [[name, percent(before.get(name)), percent(after.get(name))] for name in ("good", "average", "poor")]
    rows += [
        [f"  {name}: good", percent(before["dimensions"].get(name, {}).get("good")), percent(card.get("good"))]
        for name, card in after["dimensions"].items()
    ]
    if after.get("labels"):
        rows.append(["accuracy", *(percent(card["labels"]["accuracy"]) for card in (before, after))])
    return table(f"{task}, {after['n']} eval rows", ["", base, version], rows)
