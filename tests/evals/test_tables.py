"""One schema: a new database is made from the tables, an old one becomes the same by the migrations."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import SimpleNamespace

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from evals import tables as t
from evals.migrations import protect


def shape(engine: sa.Engine) -> dict[str, object]:
    """All that a database says of its tables. A text as a primary key may be empty on old SQLite, and never is."""
    inspector, found = sa.inspect(engine), {}
    for name in inspector.get_table_names():
        key = inspector.get_pk_constraint(name)["constrained_columns"]
        columns = {
            c["name"]: (str(c["type"]), c["nullable"] and c["name"] not in key) for c in inspector.get_columns(name)
        }
        keys = {
            (*k["constrained_columns"], k["referred_table"], *k["referred_columns"])
            for k in inspector.get_foreign_keys(name)
        }
        indexes = [(i["name"], i["column_names"], i["unique"]) for i in inspector.get_indexes(name)]
        found[name] = (columns, key, keys, sorted(indexes))
    with t.reading(engine) as c:
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' OR sql LIKE '%AUTOINCREMENT%' ORDER BY name"
        found["more"] = [(name, sql if "TRIGGER" in sql else "") for name, sql in c.exec_driver_sql(query)]
    return found


def test_a_database_of_the_first_release_becomes_what_a_new_one_is(database: sa.Engine, tmp_path: Path) -> None:
    old = first_release(tmp_path / "old.db")
    assert shape(old) != shape(database)
    t.prepare(old)
    assert shape(old) == shape(database)
    again = [
        c.execute(sa.text("SELECT number, name FROM migrations")).all() for e in (old, database) for c in [e.connect()]
    ]
    assert again[0] == again[1]


def first_release(path: Path) -> sa.Engine:
    """An empty database as the first release made it."""
    with sqlite3.connect(path) as connection:
        connection.executescript(Path(__file__).with_name("first_release.sql").read_text())
    return sa.create_engine(f"sqlite:///{path}")


def test_every_statement_is_written_for_postgres_too() -> None:
    dialect, said = postgresql.dialect(), []
    made = [str(CreateTable(table).compile(dialect=dialect)) for table in t.meta.sorted_tables]
    assert not any("AUTOINCREMENT" in s for s in made)
    assert sum("GENERATED ALWAYS AS IDENTITY" in s for s in made) == 5
    connection = SimpleNamespace(dialect=dialect, exec_driver_sql=said.append)
    protect(connection, *(table.name for table in t.APPEND_ONLY))
    assert sum("append_only" in s for s in said) == 1 + len(t.APPEND_ONLY)
