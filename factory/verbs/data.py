"""`factory data`: build a task's data set and report it, or make more rows; `factory new`: a task of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from factory.base.build import load_tokenizer, prepare
from factory.data import report, scaffold
from factory.data.build import build
from factory.data.steps import Progress
from factory.data.synth import run as make_rows
from factory.home import shown
from factory.terminal import out, progress_bar
from factory.verbs.train import read_recipes


def data(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Build and report the data set of every task named; with `synth=…` make rows that pass the same steps."""
    console = out(quiet)
    found = []
    for recipe in read_recipes(arguments["task"], changes):
        tokenizer = load_tokenizer(prepare(recipe.base))
        if "synth" in arguments:
            with steps_shown(f"make {arguments['synth']}") as show:
                made = make_rows(recipe, arguments["synth"], tokenizer, progress=show)
            console.print(f"{recipe.task}: {made['kept']} of {made['made']} rows kept in {made['file']}", markup=False)
            console.print(f"  dropped: {made['reasons'] or 'none'}; used: {made['usage']}", markup=False)
            found.append(made)
            continue
        with steps_shown(f"data {recipe.task}") as show:
            built = build(recipe, tokenizer, progress=show)
        path, facts = report.write(built)
        for line in report.lines(built, path):
            console.print(line, markup=False)
        found.append({**facts, "report": str(path)})
    return {"data": found}


def new(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Make a task folder that already trains."""
    folder = scaffold.new(arguments["task"], arguments["kind"])
    task = arguments["task"]
    out(quiet).print(
        f"{shown(folder)} is ready to change. Next:\n  factory data task={task}\n  factory train task={task}"
    )
    return {"task": task, "folder": str(folder)}


@contextmanager
def steps_shown(title: str) -> Iterator[Progress]:
    """A bar for long sets: the step at work and the rows it has let through."""
    with progress_bar() as bar:
        line = bar.add_task(title, total=None, text="")
        yield lambda step, rows: bar.update(line, completed=rows, text=step)
