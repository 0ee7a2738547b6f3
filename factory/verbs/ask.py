"""`factory ask task=sql db=shop "How many customers live in Porto?"`: the query, its result, or why it was refused."""

import datetime
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from factory.data.rows import Row
from factory.errors import FactoryError, InputError
from factory.registry import aliases
from factory.sql.ask import Say, source
from factory.sql.guard import DIALECTS
from factory.strict import nearest
from factory.terminal import out
from serve import remote
from serve.answers import of_version

SHOWN = 20  # rows on the terminal


def ask(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Ask the model for a query, check it, run it read-only, and show all three."""
    dialect = arguments.get("dialect", "sqlite")
    if dialect not in DIALECTS:
        raise InputError(f"dialect={dialect}: there is none of that name{nearest(dialect, DIALECTS)}")
    name, _, _ = arguments["task"].partition("@")
    today = _day(arguments["today"]) if "today" in arguments else None
    caller = {who: arguments[who] for who in ("user", "team", "company") if arguments.get(who)}
    may = Path(arguments["access"]) if "access" in arguments else None
    asked = source(name, arguments["db"], today, may, **caller)
    found = asked.ask(arguments["question"], _say(arguments["task"]))
    console = out(quiet)
    console.print(f"the model wrote: {found.query}", markup=False)
    if found.result is None:
        console.print(found.refused, markup=False)
        return found.to_json()
    console.print(f"what ran:        {found.result.sql}", markup=False)
    if dialect != "sqlite":
        console.print(f"in {dialect}: {asked.written(found.query, dialect)}", markup=False)
    table = Table(*map(escape, found.result.columns))
    for row in found.result.rows[:SHOWN]:
        table.add_row(*("" if value is None else escape(str(value)) for value in row))
    console.print(table)
    if (rows := len(found.result.rows)) > SHOWN or found.result.cut:
        console.print(f"{SHOWN} of {'at least ' * found.result.cut}{rows} rows")
    return found.to_json()


def _say(model: str) -> Say:
    """The running server, if there is one, else the version in this process."""
    running = remote.address()
    if running is None:
        version = aliases.resolve(model)
        return lambda messages: of_version(version)([Row(tuple(messages))])[0]
    from openai import OpenAI, OpenAIError

    client = OpenAI(base_url=f"{running['url']}/v1", api_key="none", max_retries=0, timeout=120)

    def say(messages: list[dict[str, Any]]) -> str:
        try:
            reply = client.chat.completions.create(model=model, messages=messages)  # type: ignore[arg-type]
        except OpenAIError as error:
            raise FactoryError(f"the server at {running['url']} does not answer: {error}") from None
        return reply.choices[0].message.content or ""

    return say


def _day(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise InputError(f"today={text}: write it as 2026-11-29") from None
