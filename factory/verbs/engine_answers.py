"""Answers of the base or of an adapter over it through vLLM, in an engine that lives for one call.

The engine is the server's own (`serve/process.py`), on a private socket and without the gateway, so it also works while
a server of the same home runs. What is asked is what the gateway would ask, but greedy.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import aiohttp

from factory import control
from factory.base.build import Base
from factory.data.rows import Row
from factory.errors import FactoryError
from factory.home import home
from factory.recipe import Decoding
from factory.registry.store import Version
from factory.shares import give_back
from serve.catalogue import size_for
from serve.engine import Engine, EngineError
from serve.process import Process, cuda, placed, planned

Progress = Callable[[int, str], None]  # how many rows are answered, and what else there is to say
ASKED = 64  # rows that the engine is asked at once


def answer(
    base: Base,
    version: Version | None,
    rows: Sequence[Row],
    decoding: Decoding,
    labels: Sequence[str] = (),
    progress: Progress = lambda done, text: None,
) -> list[str]:
    """One greedy answer per row, in the rows' order, of the version or of the base alone.

    EngineError if the engine does not start or stops meanwhile, FactoryError for a row that it refuses.
    """
    return asyncio.run(_answer(base, version, rows, decoding, labels, progress))


async def _answer(
    base: Base,
    version: Version | None,
    rows: Sequence[Row],
    decoding: Decoding,
    labels: Sequence[str],
    progress: Progress,
) -> list[str]:
    name = base.label
    log = home("runs", f"answers-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}", "engine.log")
    give_back()  # what this process does not use; the base it holds stays
    needed = placed(replace(size_for([version] if version else []), slots=1, held=1), 0, 1)
    try:
        needed = replace(needed, share=planned(base, needed) if cuda() else 0.0)
    except FactoryError as error:
        raise EngineError(str(error)) from None
    async with Engine(Process(base, needed, name, log)) as engine:
        await engine.start(lambda text: progress(0, text))
        if version:
            name = version.name
            await engine.load(name, version.folder)
        how: dict[str, Any] = {"model": name, "max_tokens": decoding.max_tokens, "temperature": 0}
        if labels:
            how["structured_outputs"] = {"choice": [*labels]}
        tokens = control.tokens_of(base.folder)
        asked = [replace(row, messages=tuple(control.harmless_turns(row.turns, tokens))) for row in rows]
        return await _ask_all(engine, asked, how, progress)


async def _ask_all(engine: Engine, rows: Sequence[Row], how: dict[str, Any], progress: Progress) -> list[str]:
    answers = [""] * len(rows)
    numbers = iter(range(len(rows)))
    done = 0

    async def client() -> None:
        nonlocal done
        for number in numbers:
            answers[number] = await _ask(engine, rows[number], how)
            done += 1
            progress(done, "")

    try:
        async with asyncio.TaskGroup() as clients:
            for _ in range(ASKED):
                clients.create_task(client())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return answers


async def _ask(engine: Engine, row: Row, how: dict[str, Any]) -> str:
    try:
        async with engine.session.post("/v1/chat/completions", json={**how, "messages": [*row.turns]}) as reply:
            said = await reply.json()
            if reply.status == 200:
                return str(said["choices"][0]["message"]["content"] or "").strip()
            why = said.get("error", {}).get("message", said)
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise EngineError(f"the engine stopped while answering: {error or type(error).__name__}") from None
    if reply.status < 500:
        place = f"{row.file}:{row.line}: " if row.file else ""
        raise FactoryError(f"{place}the server would not answer this row, so shorten it or take it out: {why}")
    raise EngineError(f"the engine answers with {reply.status}: {why}")
