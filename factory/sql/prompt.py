"""The turns of a question: what of the database matters, then the question; in training, grading and asking alike."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from factory.sql.guard import Access
from factory.sql.pick import Budget, Index, index_of
from factory.sql.schema import Column, Schema

INSTRUCTION = "Write one SQLite SELECT that answers the question."
SMALL = Budget(
    tables=3, columns=8, further=4, near=0.8, numbers=False
)  # what a base of some hundred million parameters can read


def turns(
    question: str, schema: Schema, database: Path, access: Access, budget: Budget = SMALL
) -> list[dict[str, Any]]:
    """The system message with the picked part of what the caller may read, and the question as the user's."""
    if access.columns is not None:
        schema = schema.part(access.columns)
    index = index_of(schema, database, access.filters)
    system = f"{INSTRUCTION}\n{described(question, index, access.today, budget)}"
    return [{"role": "system", "content": system}, {"role": "user", "content": question}]


def described(question: str, index: Index, today: datetime.date, budget: Budget) -> str:
    """Tables with their columns (type, key or reference, comment in the question's language, two values), the values
    that the question names, and the date."""
    picked = index.pick(question, budget)
    lines = []
    for name, columns in picked.columns.items():
        table = index.schema.tables[name]
        said = table.said(question)
        lines.append(f"# {name}" + (f": {said}" if said and said != name else ""))
        lines += [
            _line(
                table.columns[c],
                question,
                index.examples[name, c] * (budget.numbers or table.columns[c].type == "text"),
            )
            for c in columns
        ]
    if picked.values:
        chosen = [f"{t}.{c} = '{v}'" for t, c, v in picked.values if t in picked.columns][:4]
        lines += [f"values: {'; '.join(chosen)}"] if chosen else []
    return "\n".join([*lines, f"today: {today}"])


def _line(column: Column, question: str, examples: list[str]) -> str:
    said = column.said(question)
    link = f" {'one-to-one' if column.one else '->'} {'.'.join(column.refers)}" if column.refers else ""
    about = f": {said}" if said and said != column.name else ""
    shown = f" [{', '.join(examples)}]" if examples and not (column.key or column.refers or column.meanings()) else ""
    return f"{column.name} {column.type}{' key' if column.key else ''}{link}{about}{shown}"
