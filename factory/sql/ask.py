"""The runner: a question to a database, whatever model writes the query; what ran and gave, or why it was refused."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.errors import InputError, Problem
from factory.home import project, shown
from factory.sql.execute import Result, run
from factory.sql.fill import TODAY
from factory.sql.guard import Access, Refused, bare, checked, written
from factory.sql.layouts import CONTEXT, databases
from factory.sql.prompt import SMALL, turns
from factory.sql.rights import rights
from factory.sql.schema import Schema, read
from factory.strict import nearest

LONGEST = 2000  # characters of a question
Say = Callable[[list[dict[str, Any]]], str]  # messages to a model's answer


@dataclass(frozen=True)
class Asked:
    """`query` is what the model wrote; `result` is there if it ran, `refused` says why it did not."""

    query: str
    result: Result | None = None
    refused: str = ""

    def to_json(self) -> dict[str, Any]:
        found = {"query": self.query, "refused": self.refused or None}
        if (r := self.result) is None:
            return found
        return {**found, "sql": r.sql, "columns": r.columns, "rows": [list(row) for row in r.rows], "cut": r.cut}


@dataclass(frozen=True)
class Source:
    """A database to ask: its schema and its file."""

    schema: Schema
    file: Path
    access: Access

    def messages(self, question: str) -> list[dict[str, Any]]:
        """What the model is asked. InputError: an empty or endless question."""
        if not question.strip() or len(question) > LONGEST:
            raise InputError(Problem(f"a question has between 1 and {LONGEST} characters", key="question"))
        return turns(question, self.schema, self.file, self.access, SMALL)

    def run(self, answer: str) -> Asked:
        """What becomes of a model's answer."""
        query = bare(answer)
        try:
            return Asked(query, run(query, self.schema, self.file, self.access))
        except Refused as refused:
            return Asked(query, refused=str(refused))

    def ask(self, question: str, say: Say) -> Asked:
        return self.run(say(self.messages(question)))

    def written(self, query: str, dialect: str) -> str:
        """The query as another database would get it. Refused as in `run`."""
        return written(checked(query, self.schema, self.access), dialect)


def shipped(task: str) -> list[str]:
    """The databases that a task brings along: the schemas in its folder."""
    return sorted(path.stem for path in (project() / "adapters" / task / "schemas").glob("*.yaml"))


def source(task: str, db: str, today: datetime.date | None = None, may: Path | None = None, **caller: str) -> Source:
    """The database by its name among the task's schemas, or by its file; when it is asked and by whom (user, team,
    company), and which file says what they may read (`rights`). Of the task's own databases that is by default when and
    whom their rows are made for. InputError: there is none."""
    own = db in shipped(task)
    path = project() / "adapters" / task / "schemas" / f"{db}.yaml" if own else Path(db)
    if not path.is_file():
        raise InputError(Problem(f"no such database{nearest(db, shipped(task))}", shown(path), key="db"))
    context: dict[str, int | str] = {**CONTEXT} if own else {}
    context |= {f"current_{who}": int(value) if value.isdecimal() else value for who, value in caller.items()}
    schema = read(path.resolve())
    access = Access(context=context, today=today or (TODAY if own else datetime.date.today()))
    return Source(schema, databases(schema)[0], rights(may, schema, access) if may else access)
