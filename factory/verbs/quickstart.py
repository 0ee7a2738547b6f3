"""`factory quickstart`: the whole way once, for real: train, compare, promote, serve, ask, stop."""

from __future__ import annotations

import time
from typing import Any

from factory.base.loaded import forget
from factory.pipeline.data import dataset
from factory.recipe import load
from factory.terminal import err, out
from factory.verbs.registry import promote
from factory.verbs.train import train
from serve.server import Options, running

TASKS = ("summary", "identity", "classification")


def quickstart(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Train and promote the three shipped tasks, ask each a question over HTTP, and say how to go on."""
    from openai import OpenAI

    started = time.monotonic()
    console = out(quiet)
    made = train({"task": ",".join(TASKS)}, changes, quiet)["versions"]
    asked = {}
    for version in made:
        asked[version["task"]] = version["task"]
        if version["gate"]["decision"] == "PROMOTE":
            promote({"version": version["version"]}, {}, quiet)
        else:
            asked[version["task"]] = f"{version['task']}@v{version['ordinal']}"
            err.print(f"[yellow]{version['task']} is not promoted: {version['gate']['why']}[/]")
    questions = {task: _question(task, changes) for task in TASKS}
    answers = {}
    forget()
    with running(Options(port=0, base=load(TASKS[0], changes).base)) as url:
        client = OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        console.print(f"[bold]Three adapters on one base, at {url}/v1[/]\n")
        for task in TASKS:
            reply = client.chat.completions.create(
                model=asked[task], messages=[{"role": "user", "content": questions[task]}], timeout=120
            )
            answers[task] = reply.choices[0].message.content or ""
            console.print(f'[bold]model="{asked[task]}"[/]\n{questions[task]}\n[green]→ {answers[task]}[/]\n')
    seconds = round(time.monotonic() - started, 1)
    console.print(f"Done in {seconds:.0f} s. To go on:")
    console.print("  factory list                       what there is, with scores")
    console.print("  factory serve                      serve it on http://127.0.0.1:8000/v1")
    console.print("  factory train task=summary lora.r=8   another version of a task")
    console.print("  factory new task=triage kind=classification   a task of your own")
    return {"versions": made, "answers": answers, "seconds": seconds}


def _question(task: str, changes: dict[str, str]) -> str:
    """A text the adapter never trained on: of the eval rows that say what an answer must hold the first, if any do."""
    rows = dataset(load(task, changes)).eval
    return next((row for row in rows if row.meta.get("expect")), rows[0]).source
