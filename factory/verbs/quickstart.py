"""`factory quickstart`: the whole way once, for real: train, compare, promote, serve, ask, stop."""

import os
import time
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context
from typing import Any

from factory.environment import settle
from factory.errors import FactoryError
from factory.recipe import load
from factory.stopping import stoppable
from factory.terminal import err, heartbeat, out, silent
from serve.boot import PARENT, die_with_parent
from serve.server import Options, running

TASKS = ("summary", "identity", "classification")
Result = tuple[list[dict[str, Any]], dict[str, str]]  # the versions, and a question for each task


def quickstart(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Train and promote the three shipped tasks, ask each a question over HTTP, and say how to go on."""
    from openai import OpenAI

    started = time.monotonic()
    console = out(quiet)
    made, questions = _trained(changes, quiet)
    asked = {v["task"]: v["task"] if _proven(v) else f"{v['task']}@v{v['ordinal']}" for v in made}
    answers = {}
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


def _trained(changes: dict[str, str], quiet: bool) -> Result:
    """The new versions, promoted if they may be, and what to ask them; made in another process: what it held and
    imported is the machine's again before an engine starts."""
    with silent(), ProcessPoolExecutor(1, get_context("spawn"), _begin, (os.getpid(),)) as pool:
        work = pool.submit(_train, changes, quiet)
        try:
            result = work.result()
        except BrokenProcessPool:
            raise FactoryError("the training's process was killed: the machine may lack memory") from None
        except KeyboardInterrupt:
            if not wait([work], timeout=2).done:  # a terminal has told both
                for child in active_children():
                    child.terminate()
            raise
    if isinstance(result, FactoryError):
        raise result
    return result


def _begin(parent: int) -> None:
    os.environ[PARENT] = str(parent)
    die_with_parent()
    settle()


def _train(changes: dict[str, str], quiet: bool) -> Result | FactoryError:
    from factory.verbs.registry import promote
    from factory.verbs.train import train

    with stoppable(), heartbeat(f"training {', '.join(TASKS)}"):
        try:
            made = train({"task": ",".join(TASKS)}, changes, quiet)["versions"]
            for version in made:
                if _proven(version):
                    promote({"version": version["version"]}, {}, quiet)
                else:
                    err.print(f"[yellow]{version['task']} is not promoted: {version['gate']['why']}[/]")
            return made, {task: _question(task, changes) for task in TASKS}
        except FactoryError as error:
            told = FactoryError(str(error))
            told.exit_code, told.result = error.exit_code, error.result
            return told


def _proven(version: dict[str, Any]) -> bool:
    return bool(version["gate"]["decision"] == "PROMOTE")


def _question(task: str, changes: dict[str, str]) -> str:
    """A text the adapter never trained on: of the eval rows that say what an answer must hold the first, if any do."""
    from factory.pipeline.data import dataset

    rows = dataset(load(task, changes)).eval
    return next((row for row in rows if row.meta.get("expect")), rows[0]).source
