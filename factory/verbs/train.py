"""`factory train`: build the data, train the adapters together, register them, grade them, ask the gate."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from evals import rubric as rubrics
from evals import show
from evals.scorecard import Scorecard, grade_answers
from factory import probe
from factory import recipe as recipes
from factory.base.build import prepare as prepare_base
from factory.data.build import Built
from factory.data.report import lines as data_lines
from factory.data.rows import Row
from factory.errors import FactoryError, InputError
from factory.home import digest, home, locked, shown
from factory.precision import precision
from factory.recipe import Recipe
from factory.registry import aliases, store
from factory.terminal import err, out, percent, progress_bar, table
from factory.train import curves
from factory.train.fused import Failed, Job, board, train_many
from factory.train.tokens import encode_all
from factory.train.trained import Trained
from factory.verbs import fan
from factory.verbs.answering import Loaded, dataset, every, loaded, of_base
from factory.verbs.fan import Device
from factory.verbs.grade import gate_of, grade_version


class SomeFailed(FactoryError):
    """Some adapters failed. `result` is what `--json` shows all the same: the versions that were made, and the rest."""

    def __init__(self, made: list[dict[str, Any]], failed: list[Failed]) -> None:
        self.result = {
            "versions": made,
            "failed": [{"task": f.name, "why": f.why, "step": f.step, "run": str(f.run)} for f in failed],
        }
        super().__init__("\n".join(f"{f.name}: {f.why} (step {f.step}; {shown(f.run)})" for f in failed))


def train(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Train every task named, all that share a base at once, and show each against the base; or sweep over one."""
    wanted = recipes.load_all(arguments["task"], changes)
    on = fan.devices(arguments["devices"]) if "devices" in arguments else []
    if "sweep" in arguments:
        from factory.verbs.sweep import sweep

        return sweep(wanted, arguments["sweep"], changes, quiet, on)
    if len(on) > 1:
        return _spread(wanted, changes, on, quiet)
    ready, error = every(wanted, _ready)
    if error:  # before anything is trained
        raise error
    made: list[dict[str, Any]] = []
    failed: list[Failed] = []
    for name in dict.fromkeys(one.base.name for one, _ in ready):  # a base may be written in many ways
        prepared = [one for where, one in ready if where.base.name == name]
        for (recipe, built, _), result in zip(prepared, _fit(loaded(name), [job for *_, job in prepared]), strict=True):
            if isinstance(result, Failed):
                failed.append(result)
                continue
            made.append(finish(recipe, built, loaded(name), result, quiet))
    if failed:
        raise SomeFailed(made, failed)
    return {"versions": made}


def _ready(recipe: Recipe) -> tuple[Loaded, tuple[Recipe, Built, Job]]:
    rubrics.load(recipe.rubric)
    on = loaded(recipe.base)
    return on, prepare(recipe, on)


def _spread(wanted: Sequence[Recipe], changes: dict[str, str], on: Sequence[Device], quiet: bool) -> dict[str, Any]:
    """The same on several devices: on each a process that trains, registers and grades its part of the tasks."""
    if len(wanted) < 2:
        raise InputError(f"devices={len(on)}: one task trains on one device; name several tasks, or give sweep=…")
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


def prepare(recipe: Recipe, on: Loaded) -> tuple[Recipe, Built, Job]:
    """A task's rows as tokens, and a run folder named after everything that decides the result."""
    built = dataset(recipe)
    if recipe.kind == "classification" and not recipe.labels:
        recipe = recipe.model_copy(update={"labels": built.manifest["labels"]})
    prompt = recipe.system_prompt()

    def prompted(row: Row) -> Row:
        return row if row.meta.get("replay") else row.with_system(prompt)

    learn, held_out = (
        encode_all(on.tokenizer, [prompted(row) for row in rows], recipe.train.max_length, on.base.fingerprint)
        for rows in (built.train, built.tune)
    )
    inputs = digest([recipe.hash(), on.base.fingerprint, [e.input_ids for e in (*learn, *held_out)]])
    err.print(f"{data_lines(built)[0]} (factory data task={recipe.task} tells why)", markup=False, soft_wrap=True)
    return recipe, built, Job(recipe.task, recipe, learn, held_out, home("runs", f"{recipe.task}-{inputs[:12]}"))


def _fit(on: Loaded, jobs: Sequence[Job]) -> list[Trained | Failed]:
    with one_at_a_time(jobs), progress_bar() as bar:
        return train_many(jobs, on.base, on.model, progress=board.lines(bar))


@contextmanager
def one_at_a_time(jobs: Sequence[Job]) -> Iterator[None]:
    """The jobs' runs are this process's alone: a second, identical training waits and takes what the first made."""
    with ExitStack() as held:
        for run in sorted({job.run for job in jobs}):
            said = f"{run.name} is being trained by another process: waiting for what it makes"
            held.enter_context(locked(run, functools.partial(err.print, said, markup=False)))
        yield


def finish(recipe: Recipe, built: Built, on: Loaded, trained: Trained, quiet: bool) -> dict[str, Any]:
    """Register a trained adapter, grade it and show it beside the base; returns what `--json` shows of it."""
    curves.plot(trained.run, f"{recipe.task} over {on.base.label}")
    remarks = curves.warnings(curves.read(trained.run))
    rate = trained.train_tokens / max(trained.seconds, 1e-9)
    err.print(
        f"{recipe.task}: trained in {trained.seconds:.0f} s, {rate:,.0f} tokens/s"
        f"{', stopped early' if trained.stopped else ''}; curves: {shown(trained.run / 'curves.png')}"
    )
    for remark in remarks:
        err.print(f"[yellow]{recipe.task}: {remark}[/]")
    version = store.add(trained.adapter, store.facts_of(recipe, on.base))
    store.note(version, "recipe", recipe.model_dump(mode="json"))
    store.note(version, "data", built.manifest)
    computed = precision(recipe.train.precision)
    run = {"folder": str(trained.run), "remarks": remarks, "stopped": trained.stopped, "precision": computed.name}
    store.note(version, "run", run)
    probe.remember(version, on.model, on.tokenizer)
    entry = aliases.register(version)
    rubric = rubrics.load(recipe.rubric)
    before = grade_answers(rubric, built.eval, of_base(recipe, on.base)(built.eval))
    store.note(version, "base_scorecard", before.to_json())
    report = grade_version(recipe, version, built.eval)
    console = out(quiet)
    console.print(_table(recipe.task, on.base.label, f"v{entry.ordinal}", _brief(before), _brief(report.scorecard)))
    said = list(show.lines(report))
    for line in said if recipe.kind == "judge" else said[-2:]:
        console.print(line)
    console.print(f"{version.short} is in the registry. Next:")
    named = f"version={recipe.task}@v{entry.ordinal}"
    promoted = report.gate.decision == "PROMOTE"
    console.print(f"  factory promote {named} && factory serve\n" if promoted else f"  factory show {named}\n")
    return {
        "task": recipe.task,
        "version": version.name,
        "ordinal": entry.ordinal,
        "base": on.base.label,
        "fingerprint": on.base.fingerprint,
        "seconds": round(trained.seconds, 2),
        "train_tokens": trained.train_tokens,
        "tokens_per_second": round(rate),
        "eval_loss": None if math.isnan(trained.eval_loss) else round(trained.eval_loss, 5),
        "run": str(trained.run),
        "remarks": remarks,
        "scorecard": _brief(report.scorecard),
        "gate": gate_of(report),
    }


def _brief(card: Scorecard) -> dict[str, Any]:
    """The scorecard without its item lists, as `--json` and the tables show it."""
    return {k: v for k, v in card.to_json().items() if k not in ("worst", "strata")}


def _table(task: str, base: str, version: str, before: dict[str, Any], after: dict[str, Any]) -> Any:
    rows = [[name, percent(before.get(name)), percent(after.get(name))] for name in ("good", "average", "poor")]
    rows += [
        [f"  {name}: good", percent(before["dimensions"].get(name, {}).get("good")), percent(card.get("good"))]
        for name, card in after["dimensions"].items()
    ]
    if after.get("labels"):
        rows.append(["accuracy", *(percent(card["labels"]["accuracy"]) for card in (before, after))])
    return table(f"{task}, {after['n']} eval rows", ["", base, version], rows)
