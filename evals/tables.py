"""The ratings database: its tables as the code sees them, and how it is opened and brought up to date.

SQLite in WAL mode by default; any SQLAlchemy URL, such as `postgresql+pg8000://...`, for a team (`FACTORY_RATINGS`).
Ratings, adjudications, comparisons, frozen plans, gate runs and paid calls are append-only: what somebody said stays
said, and every verdict is worked out from it. Triggers in the migrations enforce that.

    items ─< outputs ─< answers (which version gave which output: never joined into anything a rater sees)
                outputs ─< assignments >─ batches         raters ─< qualifications, places
                           assignments ─< ratings ─ raters        outputs ─< adjudications, comparisons
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import JSON, BigInteger, Column, Float, Integer, MetaData, String, Table, Text
from sqlalchemy.engine import Connection, Engine

from factory.errors import FactoryError
from factory.home import home

meta = MetaData()
SERIAL = BigInteger().with_variant(Integer, "sqlite")


def _table(name: str, *columns: Column) -> Table:
    return Table(name, meta, *columns)


items = _table(
    "items",
    Column("id", String(64), primary_key=True),
    Column("task", Text),
    Column("source", Text),
    Column("reference", Text),
    Column("meta", JSON),
)
outputs = _table(
    "outputs", Column("id", String(64), primary_key=True), Column("item", String(64)), Column("text", Text)
)
answers = _table(
    "answers",
    Column("version", String(200), primary_key=True),
    Column("item", String(64), primary_key=True),
    Column("output", String(64)),
    Column("created", Float),
)
raters = _table(
    "raters", Column("id", String(200), primary_key=True), Column("kind", String(10)), Column("created", Float)
)
qualifications = _table(
    "qualifications",
    Column("id", SERIAL, primary_key=True),
    Column("rater", String(200)),
    Column("rubric", String(64)),
    Column("passed", Integer),
    Column("result", JSON),
    Column("created", Float),
)
places = _table(
    "places",
    Column("rater", String(200), primary_key=True),
    Column("rubric", String(64), primary_key=True),
    Column("state", JSON),
    Column("updated", Float),
)
batches = _table(
    "batches",
    Column("id", String(64), primary_key=True),
    Column("task", Text),
    Column("rubric", String(64)),
    Column("plan", JSON),
    Column("created", Float),
)
assignments = _table(
    "assignments",
    Column("id", String(64), primary_key=True),
    Column("batch", String(64)),
    Column("output", String(64)),
    Column("other", String(64)),
    Column("kind", String(10)),
    Column("slot", Integer),
    Column("shuffle", BigInteger),
    Column("rater", String(200)),
    Column("opened", Float),
    Column("leased_until", Float),
    Column("done", Float),
    Column("draft", JSON),
)
ratings = _table(
    "ratings",
    Column("id", SERIAL, primary_key=True),
    Column("assignment", String(64)),
    Column("output", String(64)),
    Column("rater", String(200)),
    Column("rubric", String(64)),
    Column("action", String(10)),
    Column("grades", JSON),
    Column("seconds", Float),
    Column("created", Float),
)
adjudications = _table(
    "adjudications",
    Column("id", SERIAL, primary_key=True),
    Column("output", String(64)),
    Column("rubric", String(64)),
    Column("lead", String(200)),
    Column("grades", JSON),
    Column("reason", Text),
    Column("created", Float),
)
comparisons = _table(
    "comparisons",
    Column("id", SERIAL, primary_key=True),
    Column("assignment", String(64)),
    Column("first", String(64)),
    Column("second", String(64)),
    Column("rater", String(200)),
    Column("rubric", String(64)),
    Column("winner", String(10)),
    Column("reason", Text),
    Column("created", Float),
)
gate_runs = _table(
    "gate_runs",
    Column("id", SERIAL, primary_key=True),
    Column("task", Text),
    Column("version", String(200)),
    Column("against", String(200)),
    Column("split", String(64)),
    Column("rubric", String(64)),
    Column("plan", String(64)),
    Column("decision", String(20)),
    Column("result", JSON),
    Column("forced", Text),
    Column("created", Float),
)
plans = _table(
    "plans",
    Column("id", String(64), primary_key=True),
    Column("task", Text),
    Column("version", String(200)),
    Column("against", String(200)),
    Column("terms", JSON),
    Column("created", Float),
)
calls = _table(
    "calls",
    Column("id", String(64), primary_key=True),
    Column("judge", String(200)),
    Column("reply", Text),
    Column("prompt_tokens", Integer),
    Column("completion_tokens", Integer),
    Column("cost", Float),
    Column("seconds", Float),
    Column("created", Float),
)


def default_url() -> str:
    return os.environ.get("FACTORY_RATINGS") or f"sqlite:///{home('ratings.db')}"


def open_database(url: str = "") -> Engine:
    """The engine for `url`, migrated to the newest form. Errors: one line with the database and what it said."""
    return _opened(url or default_url())


@cache
def _opened(url: str) -> Engine:
    try:
        engine = prepare(sa.create_engine(url))
    except (sa.exc.SQLAlchemyError, ModuleNotFoundError) as error:
        said = str(getattr(error, "orig", None) or error).splitlines()[0]
        shown = sa.engine.make_url(url).render_as_string(hide_password=True) if "://" in url else url
        raise FactoryError(f"the ratings database {shown} cannot be used: {said} (set FACTORY_RATINGS)") from None
    return engine


def prepare(engine: Engine) -> Engine:
    """The engine with our transactions, its database migrated."""
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _on_connect)
        sa.event.listen(engine, "begin", _on_begin)
    migrate(engine)
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that will write: on SQLite it takes the write lock at once, so that nobody decides on old rows."""
    with engine.connect().execution_options(write=True) as connection, connection.begin():
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def quick(engine: Engine) -> Iterator[Connection]:
    """A connection for many small commits: safe when this process dies, the last ones lost if the power goes."""
    with engine.connect().execution_options(write=True) as connection:
        sqlite = engine.dialect.name == "sqlite"
        raw = connection.connection.dbapi_connection
        if sqlite and raw:
            raw.execute("PRAGMA synchronous = NORMAL")
        try:
            yield connection
        finally:
            if sqlite and raw:
                raw.execute("PRAGMA synchronous = FULL")


def insert_new(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert rows; those whose primary key is there already stay as they are."""
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as postgres

        connection.execute(postgres(table).on_conflict_do_nothing(), rows)
    else:
        connection.execute(sa.insert(table).prefix_with("OR IGNORE"), rows)


def migrate(engine: Engine) -> None:
    """Bring the database up to date: every migration once, in order, each recorded in `migrations`."""
    from evals.migrations import MIGRATIONS, statements

    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":  # two programs may open it at once; SQLite's transaction keeps one out
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(20261129)")
        connection.exec_driver_sql(
            "CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, name TEXT, at REAL)"
        )
        done = {number for (number,) in connection.exec_driver_sql("SELECT number FROM migrations")}
        if extra := done - {m.number for m in MIGRATIONS}:
            raise FactoryError(f"the ratings database is newer than this program (migration {max(extra)}): update it")
        for migration in MIGRATIONS:
            if migration.number not in done:
                for statement in statements(migration, engine.dialect.name):
                    connection.exec_driver_sql(statement)
                if migration.run:
                    migration.run(connection)
                connection.execute(
                    sa.text("INSERT INTO migrations VALUES (:number, :name, :at)"),
                    {"number": migration.number, "name": migration.name, "at": time.time()},
                )


def _on_connect(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # BEGIN is ours, see _on_begin
    for pragma in ("busy_timeout = 60000", "journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
