"""`factory data`: build a task's data set and report it, or make more rows; `factory new`: a task of one's own;
`factory base`: what it is trained over."""

from typing import Any

from rich.markup import escape

from factory import recipe as recipes
from factory.base.build import load_tokenizer, prepare, summary
from factory.data import report, scaffold
from factory.data.synth import run as synth
from factory.home import shown
from factory.pipeline.data import dataset, every
from factory.recipe import Recipe
from factory.terminal import out, progress_bar
from serve.process import tool_parser


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


def base(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Quantise (if needed) and show a base: where it came from, its licence, fingerprint, size and what it can take."""
    ready = prepare(arguments.get("base", "auto"))
    found = {**summary(ready), "tools": tool_parser(ready) or None}
    for key, value in found.items():
        out(quiet).print(f"[bold]{key:<14}[/] {escape(str(value))}", soft_wrap=True)
    return found
