"""What a database holds, as questions and prompts need it: tables, columns, types, keys, comments, relations.

A schema is a YAML file (`adapters/sql/schemas/shop.yaml`), whose databases `fill.py` makes, or an SQLite file, whose
tables are read as they are. A column of the YAML is one line of parts between semicolons:

    pay_type: int; way of payment, 0 = WeChat, 1 = Alipay; 支付方式, 0 = 微信, 1 = 支付宝; enum
              type [key | -> table.column | one-to-one table.column]; comment; comment in Chinese; how it is filled
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from pydantic import field_validator

from factory.errors import InputError, Problem
from factory.home import shown
from factory.strict import Strict, check, read_yaml

TYPES = ("int", "real", "text", "date")
RELATION = re.compile(r"(?:(key)|(->|one-to-one) (\w+)\.(\w+))")
MEANING = re.compile(r"(\w+) = ([^,，;]+)")
HAN = re.compile(r"[\u3400-\u9fff]")


@dataclass(frozen=True)
class Column:
    """`refers` is the (table, column) that it points to; `one` says that no two rows point to the same."""

    table: str
    name: str
    type: str
    comment: str = ""
    chinese: str = ""
    fill: str = ""
    key: bool = False
    refers: tuple[str, str] | None = None
    one: bool = False

    def said(self, question: str) -> str:
        """The comment in the language of the question."""
        return self.chinese if self.chinese and HAN.search(question) else self.comment

    def meanings(self, chinese: bool = False) -> dict[str, str]:
        """An enumeration's values and what they mean: {"0": "WeChat"}; empty for other columns."""
        return {value: what.strip() for value, what in MEANING.findall(self.chinese if chinese else self.comment)}


@dataclass(frozen=True)
class Table:
    name: str
    columns: dict[str, Column]
    comment: str = ""
    chinese: str = ""
    rows: int = 20

    def said(self, question: str) -> str:
        return self.chinese if self.chinese and HAN.search(question) else self.comment

    @property
    def label(self) -> str:
        """The column by which its rows are called: name or title, else its first text; empty without any."""
        texts = [name for name, column in self.columns.items() if column.type == "text"]
        return next((name for name in ("name", "title") if name in texts), [*texts, ""][0])


@dataclass(frozen=True)
class Schema:
    """All tables by name. `file` is where it was read from."""

    name: str
    tables: dict[str, Table]
    file: Path = field(default=Path(), compare=False)

    def columns(self) -> Iterator[Column]:
        for table in self.tables.values():
            yield from table.columns.values()

    def find(self, table: str, column: str) -> Column:
        return self.tables[table].columns[column]

    def part(self, columns: Mapping[str, Sequence[str]]) -> Self:
        """Only these columns of these tables."""
        there = {(table, name) for table, names in columns.items() for name in names}
        tables = {}
        for table in (table for table in self.tables.values() if table.name in columns):
            own = [c for c in table.columns.values() if (table.name, c.name) in there]
            own = [replace(c, refers=c.refers if c.refers in there else None) for c in own]
            tables[table.name] = replace(table, columns={c.name: c for c in own})
        return replace(self, tables=tables)


class _Table(Strict):
    is_: str = ""
    rows: int = 20
    sets: list[str] = []
    columns: dict[str, str] = {}


class _File(Strict):
    sets: dict[str, dict[str, str]] = {}
    tables: dict[str, _Table]

    @field_validator("tables", mode="before")
    @classmethod
    def _plain(cls, tables: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
        return {name: {("is_" if k == "is" else k): v for k, v in table.items()} for name, table in tables.items()}


def read(path: Path) -> Schema:
    """The schema of a YAML file or an SQLite file. InputError: all that is wrong with it."""
    return _of_yaml(path) if path.suffix in (".yaml", ".yml") else _of_sqlite(path)


def _of_yaml(path: Path) -> Schema:
    layer = read_yaml(path)
    found = check(_File, layer, shown(path))
    problems: list[Problem] = []
    tables: dict[str, Table] = {}
    for name, table in found.tables.items():
        lines = {"id": "int key"} if table.sets and "id" not in table.columns else {}
        for one in table.sets:
            if one not in found.sets:
                problems.append(Problem(f"no set {one!r}", shown(path), key=f"tables.{name}.sets"))
            lines |= found.sets.get(one, {})
        columns = {}
        for column, line in (lines | table.columns).items():
            try:
                columns[column] = _column(name, column, line)
            except ValueError as error:
                problems.append(Problem(str(error), shown(path), key=f"tables.{name}.columns.{column}"))
        english, _, chinese = table.is_.partition(";")
        tables[name] = Table(name, columns, english.strip(), chinese.strip(), table.rows)
    for table_ in tables.values():
        for column_ in table_.columns.values():
            to = column_.refers
            if to and (to[0] not in tables or to[1] not in tables[to[0]].columns):
                where = f"tables.{table_.name}.columns.{column_.name}"
                problems.append(Problem(f"refers to {'.'.join(to)}, which is not there", shown(path), key=where))
    if problems:
        raise InputError(*problems)
    return Schema(path.stem, tables, path)


def _column(table: str, name: str, line: str) -> Column:
    parts = [part.strip() for part in line.split(";")]
    kind, _, relation = parts[0].partition(" ")
    if kind not in TYPES:
        raise ValueError(f"the type {kind!r} is none of {', '.join(TYPES)}")
    match = RELATION.fullmatch(relation) if relation else None
    if relation and not match:
        raise ValueError(f"{relation!r} is neither key nor -> table.column nor one-to-one table.column")
    comment, chinese, fill = [*parts[1:], "", "", ""][:3]
    refers = (match[3], match[4]) if match and match[3] else None
    one = bool(match and match[2] == "one-to-one")
    return Column(table, name, kind, comment, chinese, fill, bool(match and match[1]), refers, one)


def _of_sqlite(path: Path) -> Schema:
    """The tables of an SQLite file; words of names stand in for the comments that it cannot hold."""
    if not path.is_file():
        raise InputError(Problem("no such database", shown(path), key="db"))
    try:
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        names = [
            r[0] for r in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        ]
        tables = {name: _introspected(db, name) for name in names}
        db.close()
    except sqlite3.Error as error:
        raise InputError(Problem(f"is no SQLite database: {error}", shown(path), key="db")) from None
    return Schema(path.stem, tables, path)


def _introspected(db: sqlite3.Connection, name: str) -> Table:
    quoted = name.replace('"', '""')
    foreign = {row[3]: (row[2], row[4]) for row in db.execute(f'PRAGMA foreign_key_list("{quoted}")')}
    columns = {}
    for _, column, declared, _, _, key in db.execute(f'PRAGMA table_info("{quoted}")'):
        to = foreign.get(column)
        refers = (to[0], to[1] or "id") if to else None
        columns[column] = Column(name, column, _type(declared), spoken(column), key=bool(key), refers=refers)
    return Table(name, columns, spoken(name))


def _type(declared: str) -> str:
    declared = declared.upper()
    if "DATE" in declared or "TIME" in declared:
        return "date"
    if "INT" in declared or "BOOL" in declared:
        return "int"
    return "real" if any(word in declared for word in ("REAL", "FLOA", "DOUB", "NUM", "DEC")) else "text"


def spoken(name: str) -> str:
    """`customerID` and `customer_id` as words: customer id."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_+", " ", name).strip().lower()
