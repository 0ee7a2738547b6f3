"""Answers of the base or of a version for grading, greedy: the one way in is `of_version` and `of_base`.

    verbs, factory.pipeline ──▶ of_version, of_base ──▶ given before: a file in the home
                                                    ──▶ few: this process (factory.answers)
                                                    ──▶ many: an engine of the server's own, for one call

What is asked is what the gateway would ask, but greedy. The engine is on a private socket and without the gateway, so
it also works while a server of the same home runs.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
from rich.progress import Progress as Bar

from factory import answers, control, stopping
from factory.base.build import Base, base_of, too_large
from factory.base.loaded import held
from factory.chat import each
from factory.data.rows import Row
from factory.data.templated import without_thought
from factory.decoding import Decoding
from factory.errors import FactoryError
from factory.home import digest, home, locked, write_json
from factory.recipe import Recipe
from factory.registry.store import Facts, Version
from factory.shares import give_back
from factory.terminal import err, progress_bar
from serve.catalogue import size_for
from serve.engine import Engine, EngineError
from serve.process import Process, cuda, split

Answerer = Callable[[Sequence[Row]], list[str]]
Progress = Callable[[int, str], None]  # how many rows are answered, and what else there is to say
ASKED = 64  # rows that the engine is asked at once


@dataclass(frozen=True)
class Speed:
    """What answering costs on a kind of device: seconds until an engine is up, and how many of the tokens that answers
    may have (rows · max_tokens; most end before) this process and the engine get through in a second."""

    start: float
    here: float
    engine: float


# "cpu" is what `factory bench only=answers` gave for SmolLM2-135M over summaries on two cores in bf16: an engine never
# pays there (for labels it gave 612 and 744). "cuda" was not measured on a GPU, it is worked out for qwen3-4b: vLLM
# loads, compiles and captures its graphs in a minute. Here 4 GB of keys and values (`ANSWERS` in shares.py) hold 64
# rows of 450 tokens; a step launches some thousand kernels from Python, 40 ms; answers end half way on average:
# 64 / 0.04 · 2. The engine takes twice as many rows in half the time a step.
SPEEDS = {"cpu": Speed(start=19, here=449, engine=413), "cuda": Speed(start=60, here=3200, engine=12_800)}


def pays(kind: str, rows: int, tokens: int) -> bool:
    """Whether an engine on a "cpu" or on "cuda", its start counted, gives so many answers of at most so many tokens
    sooner than this process."""
    speed = SPEEDS[kind]
    gain = 1 / speed.here - 1 / speed.engine
    return rows * tokens * gain > speed.start


def of_version(version: Version) -> Answerer:
    """Answers as the server gives them: the version's prompt, its decoding, the form of its answers."""
    return lambda rows: _once(base_of(version.facts.base, version.facts.fingerprint), version, rows, version.facts)


def of_base(recipe: Recipe, base: Base) -> Answerer:
    """The base's own answers with the task's prompt, decoding and labels."""
    return lambda rows: _once(base, None, rows, recipe)


def base_name(recipe: Recipe, base: Base) -> str:
    """What the base is called among the graded: another name when what it is asked with changes its answers."""
    asked = [base.fingerprint, recipe.system_prompt(), recipe.decoding.model_dump(), recipe.labels]
    return f"{base.name}+{recipe.task}@{digest(asked)[:12]}"


def _once(base: Base, version: Version | None, rows: Sequence[Row], how: Facts | Recipe) -> list[str]:
    """Greedy answers never change, so each is given once: a file for everything that decides them but the turns."""
    prompt = how.system_prompt() if isinstance(how, Recipe) else how.prompt
    prompted = [row.with_system(prompt) for row in rows]
    keys = [digest([*row.turns]) for row in prompted]
    if how.decoding.grammar:  # another release may make another one of the same prompt
        keys = [digest([key, how.decoding.form(row.turns)]) for key, row in zip(keys, prompted, strict=True)]
    decides = [base.fingerprint, version.sha if version else "", how.decoding.model_dump(), how.labels]
    path = home("answers", f"{digest(decides)}.json")

    def known() -> dict[str, str]:
        return dict(json.loads(path.read_text())) if path.is_file() else {}

    given = known()
    if new := {key: row for key, row in zip(keys, prompted, strict=True) if key not in given}:
        said = dict(zip(new, answer(base, version, [*new.values()], how.decoding, how.labels), strict=True))
        with locked(path):
            given = known() | said
            write_json(path, given)
    return [_said(given[key], row) for key, row in zip(keys, rows, strict=True)]


def _said(text: str, row: Row) -> str:
    """Without what was thought before, unless thoughts are part of what is asked for, as in the row's own answer."""
    return without_thought(text) if without_thought(row.answer) == row.answer else text


def answer(
    base: Base,
    version: Version | None,
    rows: Sequence[Row],
    decoding: Decoding,
    labels: Sequence[str] = (),
    seed: int | None = None,
    whole: bool = False,
    bar: Bar | None = None,
) -> list[str]:
    """Of a version, or of the base alone: many from an engine, few (or without one) from this process. With a `seed`
    answers are drawn at the temperature of `decoding`; where they are to be `whole`, what did not come to its end is
    empty. How it goes is told in a `bar` of its own, if none is given."""
    who = version.short if version else base.label
    with nullcontext(bar) if bar else progress_bar() as shown:
        line = shown.add_task(f"answers of {who}", total=len(rows), text="")

        def progress(done: int, text: str = "") -> None:
            shown.update(line, completed=done, text=text)

        if too_large(base) or pays("cuda" if cuda() else "cpu", len(rows), decoding.max_tokens):
            try:
                return by_engine(base, version, rows, decoding, labels, progress, seed, whole)
            except EngineError as error:
                why = str(error).splitlines()[0]
                err.print(f"{who} answers in this process, which takes longer: {why}", markup=False)
        on = held(base)
        with answers.adapted(on.model, version.folder) if version else nullcontext(on.model) as model:
            return answers.answer(model, on.tokenizer, rows, decoding, labels, progress, seed, whole)


def by_engine(
    base: Base,
    version: Version | None,
    rows: Sequence[Row],
    decoding: Decoding,
    labels: Sequence[str] = (),
    progress: Progress = lambda done, text: None,
    seed: int | None = None,
    whole: bool = False,
) -> list[str]:
    """One answer per row, in the rows' order, from a vLLM that lives for this call; with a `seed` drawn at random.

    EngineError if the engine does not start or stops meanwhile, FactoryError for a row that it refuses.
    """
    return stopping.run(_by_engine(base, version, rows, decoding, labels, progress, seed, whole))


async def _by_engine(
    base: Base,
    version: Version | None,
    rows: Sequence[Row],
    decoding: Decoding,
    labels: Sequence[str],
    progress: Progress,
    seed: int | None,
    whole: bool,
) -> list[str]:
    log = home("runs", f"answers-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}", "engine.log")
    give_back()  # what this process does not use; the base it holds stays
    needed = replace(size_for([version] if version else []), slots=1, held=1)
    try:
        needed = split(base, needed) if cuda() else needed
    except FactoryError as error:
        raise EngineError(str(error)) from None
    async with Engine(Process(base, needed, base.label, log)) as engine:
        await engine.start(lambda text: progress(0, text))
        if version:
            await engine.load(version.name, version.folder)
        name = version.name if version else base.label
        how: dict[str, Any] = {"model": name, "max_tokens": decoding.max_tokens, "temperature": 0}
        if seed is not None:
            how |= {"temperature": decoding.temperature, "top_p": 1, "top_k": 0}
        tokens = control.tokens_of(base.folder)
        found, done = [""] * len(rows), 0

        async def ask(number: int) -> None:
            nonlocal done
            row = rows[number]
            form = {"choice": [*labels]} if labels else decoding.form(row.turns)
            held = {"structured_outputs": form} if form and seed is None else {}
            body = how | held | {"messages": control.harmless_in(row.turns, tokens)}
            said, ended = await _ask(engine, row, body if seed is None else body | {"seed": seed + number})
            found[number] = said if ended or not whole else ""
            done += 1
            progress(done, "")

        await each(range(len(rows)), ASKED, ask)
        return found


async def _ask(engine: Engine, row: Row, body: dict[str, Any]) -> tuple[str, bool]:
    """What it answers, and whether that came to its end."""
    try:
        async with engine.session.post("/v1/chat/completions", json=body) as reply:
            said = await reply.json()
            if reply.status == 200:
                choice = said["choices"][0]
                return str(choice["message"]["content"] or "").strip(), choice["finish_reason"] != "length"
            why = said.get("error", {}).get("message", said)
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise EngineError(f"the engine stopped while answering: {error or type(error).__name__}") from None
    if reply.status < 500:
        place = f"{row.file}:{row.line}: " if row.file else ""
        raise FactoryError(f"{place}the server would not answer this row, so shorten it or take it out: {why}")
    raise EngineError(f"the engine answers with {reply.status}: {why}")
