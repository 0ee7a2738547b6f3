"""A schema of which only some tables and columns are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from factory.sql.schema import Schema


def part(schema: Schema, columns: Mapping[str, Sequence[str]]) -> Schema:
    tables = {name: schema.tables[name] for name in columns}
    return replace(
        schema,
        tables={
            name: replace(table, columns={c: column for c, column in table.columns.items() if c in columns[name]})
            for name, table in tables.items()
        },
    )
