"""Rows of questions and queries, in our own layout and those of Spider, BIRD and WikiSQL, as conversations.

    ours      {"question", "db", "sql"}       db: schemas/<db>.yaml beside the file, or an SQLite file; today, context
    Spider    {"question", "db_id", "query"}  tables.json and database/<db_id>/*.sqlite beside the file or above it
    BIRD      {"question", "db_id", "SQL"}    the same, dev_tables.json, dev_databases/ …; evidence under the question
    WikiSQL   {"question", "table_id", "sql"} <split>.tables.jsonl and <split>.db beside <split>.jsonl

A row's meta says how to grade it: `db` (a file, `#table` for one table of it), `sql`, `today`, `context`.
"""

import datetime
import functools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from factory.data.values import Fault, text
from factory.errors import InputError
from factory.home import project
from factory.sql.fill import SEEDS, TODAY, database
from factory.sql.guard import Access
from factory.sql.prompt import turns
from factory.sql.schema import Schema, read, spoken

CONTEXT = {"current_user": 3}  # where a row says nothing of who asks
TABLES = ("tables.json", "dev_tables.json", "train_tables.json", "test_tables.json")
FOLDERS = ("database", "databases", "dev_databases", "train_databases", "test_database", "test_databases")
AGGREGATES = ("", "max", "min", "count", "sum", "avg")  # as WikiSQL numbers them
OPERATORS = ("=", ">", "<", "OP")


def conversation(value: dict[str, Any], file: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The turns of a row that lies in `file`, and its meta. Fault: what is missing."""
    question = text(value, "question")
    if evidence := value.get("evidence"):
        question = f"{question}\n{evidence}"
    if "table_id" in value:
        schema, where, sql = _wikisql(value, file)
    elif "db_id" in value:
        schema, where = _beside(text(value, "db_id"), file.resolve().parent)
        sql = text(value, "query" if "query" in value else "SQL")
    else:
        where, sql = _own(text(value, "db"), file.resolve().parent), text(value, "sql")
        schema = _read(where)
    today = datetime.date.fromisoformat(value.get("today") or str(TODAY))
    asked = turns(question, schema, databases(schema)[0], Access(today=today))
    named = f"{where.relative_to(project())}" if where.is_relative_to(project()) else str(where)
    meta: dict[str, Any] = {
        "db": f"{named}#{schema.name}" if "table_id" in value else named,
        "sql": sql,
        "today": str(today),
    }
    meta["context"] = value.get("context") or CONTEXT
    return [*asked, {"role": "assistant", "content": " ".join(sql.split()).rstrip("; ")}], meta


def opened(reference: str) -> tuple[Schema, list[Path]]:
    """The schema that a row's `db` names, and the databases to grade on."""
    file, _, table = reference.partition("#")
    schema = _read((project() / file).resolve())
    if table:
        schema = replace(schema, tables={table: schema.tables[table]}, name=table)
    return schema, databases(schema)


def databases(schema: Schema) -> list[Path]:
    """The database of each seed; of an SQLite file all in a folder of its name, as Spider's test suite has."""
    if schema.file.suffix in (".yaml", ".yml"):
        return [database(schema, seed) for seed in SEEDS]
    several = sorted(schema.file.parent.glob("*.sqlite")) if schema.file.parent.name == schema.file.stem else []
    return [schema.file, *(path for path in several if path != schema.file)]


@functools.lru_cache(256)
def _read(path: Path) -> Schema:
    try:
        return read(path)
    except InputError as error:
        raise Fault(str(error)) from None


def _own(name: str, folder: Path) -> Path:
    for path in (folder / "schemas" / f"{name}.yaml", folder / name, project() / name):
        if path.is_file():
            return path.resolve()
    raise Fault(f"no database {name!r}: neither schemas/{name}.yaml nor a file of that name lies beside the rows")


@functools.lru_cache(256)
def _beside(name: str, folder: Path) -> tuple[Schema, Path]:
    """Spider's and BIRD's database of that name, with the names that people gave its columns."""
    for base in (folder, folder.parent):
        for path in (base / one / name / f"{name}.sqlite" for one in FOLDERS):
            if path.is_file():
                described = next((base / one for one in TABLES if (base / one).is_file()), None)
                return _described(_read(path), described), path
    raise Fault(f"no database {name!r}: {FOLDERS[0]}/{name}/{name}.sqlite lies neither beside the rows nor above")


def _described(schema: Schema, file: Path | None) -> Schema:
    found = next((one for one in _tables_json(file) if one.get("db_id") == schema.name), None) if file else None
    if not found:
        return schema
    names = found["table_names_original"]
    tables = dict(schema.tables)
    columns = [(names[t] if t >= 0 else "", c) for t, c in found["column_names_original"]]
    spoken_ = {at: said for at, (_, said) in zip(columns, found["column_names"], strict=True)}
    links = {columns[a]: columns[b] for a, b in found.get("foreign_keys", [])}
    for number, name in enumerate(names):
        if table := tables.get(name):
            own = {n: replace(c, comment=spoken_.get((name, n), c.comment), refers=links.get((name, n), c.refers))
                   for n, c in table.columns.items()}  # fmt: skip
            tables[name] = replace(table, columns=own, comment=found["table_names"][number])
    return replace(schema, tables=tables)


@functools.lru_cache(4)
def _tables_json(file: Path) -> list[dict[str, Any]]:
    return list(json.loads(file.read_text(encoding="utf-8")))


def _wikisql(value: dict[str, Any], file: Path) -> tuple[Schema, Path, str]:
    split = file.resolve().with_suffix("")
    described, db = split.with_suffix(".tables.jsonl"), split.with_suffix(".db")
    if not described.is_file() or not db.is_file():
        raise Fault(f"{described.name} and {db.name} must lie beside {file.name}")
    headers, table = _headers(described), str(value["table_id"])
    name = f"table_{table.replace('-', '_')}"
    whole, asked = _read(db), value["sql"]
    if name not in whole.tables or table not in headers or not isinstance(asked, dict):
        raise Fault(f"no table {table} in {db.name}, or its query is no object")
    own = {
        c.name: replace(c, comment=spoken(headers[table][int(c.name[3:])])) for c in whole.tables[name].columns.values()
    }
    schema = Schema(name, {name: replace(whole.tables[name], columns=own, comment="")}, db)
    column = f"col{asked['sel']}"
    what = f"{AGGREGATES[asked['agg']]}({column})" if asked["agg"] else column
    tests = [f"col{c} {OPERATORS[o]} {_literal(v)}" for c, o, v in asked["conds"]]
    return schema, db, f"SELECT {what} FROM {name}" + (" WHERE " + " AND ".join(tests) if tests else "")


def _literal(value: Any) -> str:
    """A value as WikiSQL's databases hold it: texts in small letters."""
    return str(value) if isinstance(value, int | float) else "'" + str(value).lower().replace("'", "''") + "'"


@functools.lru_cache(4)
def _headers(file: Path) -> dict[str, list[str]]:
    with open(file, encoding="utf-8") as lines:
        return {one["id"]: one["header"] for one in map(json.loads, lines)}
