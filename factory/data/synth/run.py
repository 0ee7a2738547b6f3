"""`factory data task=… synth=…`: make rows, pass them through the same steps as anyone's, and write down both sorts."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from itertools import chain as chain_of
from typing import Any

from factory.data.build import eval_files, evals_of_others, steps_of
from factory.data.endpoint import Asker
from factory.data.formats import candidates, convert
from factory.data.load import load
from factory.data.manifest import reason
from factory.data.read import find
from factory.data.rows import Dropped, Row
from factory.data.steps import Progress, Work, chain, quiet
from factory.data.synth import evolve, from_documents, from_labels, personas, self_instruct, summarise
from factory.data.synth.job import SynthRun
from factory.errors import InputError
from factory.home import home, locked, shown, write_file
from factory.recipe import Recipe
from factory.strict import nearest

Generator = Callable[[SynthRun], list[dict[str, Any]]]
GENERATORS: dict[str, Generator] = {
    module.__name__.rpartition(".")[2].replace("_", "-"): module.make
    for module in (self_instruct, evolve, from_documents, from_labels, summarise, personas)
}


def run(recipe: Recipe, kind: str, tokenizer: Any, *, progress: Progress = quiet, pause: float = 0.5) -> dict[str, Any]:
    """Make rows for `recipe` with the generator `kind`. They lie in `synth/<kind>.jsonl` beside the recipe, what was
    thrown away in `synth/<kind>.dropped.jsonl`; the training rows themselves stay as they are.

    Interrupted, the same call goes on: answers that were paid for are not asked again. `pause` is the first wait
    before a retry, in seconds.
    """
    if kind not in GENERATORS:
        raise InputError(f"no generator {kind!r}{nearest(kind, GENERATORS)}", key="synth")
    endpoint = recipe.data.synth.endpoint
    if endpoint is None:
        raise InputError("names no endpoint: {url: http://…/v1, model: …, key_env: …}", key="data.synth.endpoint")
    folder = recipe.folder / "synth"
    folder.mkdir(exist_ok=True)
    with locked(home("asked", f"{recipe.task}-{kind}")):
        asker = Asker(endpoint, pause)
        job = SynthRun(recipe, asker, kind, progress)
        made = GENERATORS[kind](job)
        kept, dropped = _pass(recipe, kind, made, tokenizer, progress)
        dropped = [*job.dropped, *dropped]
        path = folder / f"{kind}.jsonl"
        write_file(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))
        lost = folder / f"{kind}.dropped.jsonl"
        write_file(lost, "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in dropped))
    train = recipe.data.train
    return {
        "task": recipe.task,
        "synth": kind,
        "made": len(made),
        "kept": len(kept),
        "dropped": len(dropped),
        "reasons": dict(Counter(reason(row) for row in dropped).most_common()),
        "file": shown(path),
        "trained_on": ",".join([*([train] if isinstance(train, str) else train), f"synth/{kind}.jsonl"]),
        "usage": asker.usage.as_json(),
    }


def lines(made: dict[str, Any]) -> list[str]:
    """What `run` returned, as text: rows, reasons, and what was paid for them."""
    u = made["usage"]
    return [
        f"{made['task']}: {made['kept']:,} of {made['made']:,} made rows kept in {made['file']}",
        *(f"  -{n:,} {why}" for why, n in made["reasons"].items()),
        f"  asked {u['asked']:,} ({u['retried']:,} again, {u['failed']:,} in vain; {u['cached']:,} known before): "
        f"{u['tokens_in']:,} tokens in, {u['tokens_out']:,} out, cost {u['cost']:.4g}",
        f"  read them, then train on them: data.train=[{made['trained_on']}]",
    ]


def _pass(
    recipe: Recipe, kind: str, made: list[dict[str, Any]], tokenizer: Any, progress: Progress
) -> tuple[list[dict[str, Any]], list[Dropped]]:
    """The made rows that pass the steps behind the training rows, so that none repeats what is there already."""
    work = Work(recipe, tokenizer, recipe.system_prompt(), frozenset(recipe.labels), progress)
    work.evals = evals_of_others(recipe, work.notes)
    if files := eval_files(recipe):
        work.evals[recipe.task] = list(load(files, recipe.data, recipe.folder, "data.eval", [], []))
    made_by = f"synth/{kind}"
    new = [as_row(value, made_by, i) for i, value in enumerate(made)]
    # A made row must not stand before the training rows it may copy: the first of two copies stays.
    there: Iterator[Row] = iter(())
    with suppress(InputError):  # the first rows of a task may well be made ones
        find(recipe.data.train, recipe.folder, "data.train")
        there = load(recipe.data.train, recipe.data, recipe.folder, "data.train", [], [])
    own = (row for row in there if row.file != shown(recipe.folder / f"synth/{kind}.jsonl"))
    steps = {name: step for name, step in steps_of(recipe, split_off=False).items() if name != "mix"}
    kept, _ = chain(chain_of(own, new), steps, work)
    numbers = [row.line for row in kept if row.file == made_by]
    return [made[number] for number in numbers], [row for row in work.dropped if row.file == made_by]


def as_row(value: dict[str, Any], file: str, number: int) -> Row:
    (messages, meta), *_ = convert(candidates(value)[0], value)
    return replace(Row(tuple(messages), meta), file=file, line=number)
