"""`factory data`: build a task's data set and report it, or make more rows; `factory new`: a task of one's own."""

from typing import Any

from factory import recipe as recipes
from factory.base.build import load_tokenizer, prepare
from factory.data import report, scaffold
from factory.data.synth import run as synth
from factory.home import shown
from factory.pipeline.data import dataset, every
from factory.recipe import Recipe
from factory.terminal import out, progress_bar


def data(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Build and report the data set of every task named; with `synth=…` make rows that pass the same steps."""
    console = out(quiet)

    def one(recipe: Recipe) -> dict[str, Any]:
        if "synth" in arguments:
            with progress_bar() as bar:
                line = bar.add_task(f"make {arguments['synth']}", total=None, text="")
                made = synth.run(
                    recipe,
                    arguments["synth"],
                    load_tokenizer(prepare(recipe.base)),
                    progress=lambda step, rows: bar.update(line, completed=rows, text=step),
                )
            for text in synth.lines(made):
                console.print(text, markup=False, soft_wrap=True)
            return made
        built = dataset(recipe)
        path, facts = report.write(built)
        for text in report.lines(built, path):
            console.print(text, markup=False, soft_wrap=True)
        return {**facts, "report": str(path)}

    found, error = every(recipes.load_all(arguments["task"], changes), one)
    if error:
        error.result = {"data": found} if found else None
        raise error
    return {"data": found}


def new(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Make a task folder that already trains."""
    folder = scaffold.new(arguments["task"], arguments["kind"])
    task = arguments["task"]
    out(quiet).print(
        f"{shown(folder)} is ready to change. Next:\n  factory data task={task}\n  factory train task={task}"
    )
    return {"task": task, "folder": str(folder)}
