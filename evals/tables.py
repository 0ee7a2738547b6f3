"""The ratings database: its tables as the code sees them, and how it is opened and brought up to date.

SQLite by default, in WAL mode unless it lies on a network disk; any SQLAlchemy URL, such as
`postgresql+pg8000://...`, for a team (`FACTORY_RATINGS`). Ratings, adjudications, comparisons, frozen plans, gate runs
and paid calls are append-only, which triggers enforce: every verdict is worked out from them.

    items ─< outputs ─< answers (which version gave which output: never joined into anything a rater sees)
                outputs ─< assignments >─ batches         raters ─< qualifications, places
                           assignments ─< ratings ─ raters        outputs ─< adjudications, comparisons
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import JSON, BigInteger, Column, Integer, MetaData, String, Table, Text
from sqlalchemy.engine import Connection, Engine

from factory.errors import FactoryError
from factory.home import home, on_network

meta = MetaData()
HASH, NAME, WORD = String(64), String(200), String(10)
TIME: Any = sa.DOUBLE_PRECISION()  # seconds, since 1970 if they are a moment


def _table(name: str, **columns: Column[Any]) -> Table:
    for key, column in columns.items():
        column.key = column.name = key
    alone = sum(column.primary_key for column in columns.values()) == 1  # a number as key never comes a second time
    return Table(name, meta, *columns.values(), sqlite_autoincrement=alone)


def _key(kind: Any = HASH, to: str = "") -> Column[Any]:
    return _of(kind, to, primary_key=True)


def _number() -> Column[Any]:
    return Column(BigInteger().with_variant(Integer, "sqlite"), sa.Identity(always=True), primary_key=True)


def _of(kind: Any, to: str = "", null: bool = False, **more: Any) -> Column[Any]:
    return Column(kind, *([sa.ForeignKey(to)] if to else []), nullable=null, **more)


items = _table("items", id=_key(), task=_of(Text), source=_of(Text), reference=_of(Text), meta=_of(JSON))
outputs = _table("outputs", id=_key(), item=_of(HASH, "items.id"), text=_of(Text))
answers = _table(
    "answers", version=_key(NAME), item=_key(to="items.id"), output=_of(HASH, "outputs.id"), created=_of(TIME)
)
raters = _table("raters", id=_key(NAME), kind=_of(WORD), created=_of(TIME))
qualifications = _table(
    "qualifications",
    id=_number(),
    rater=_of(NAME, "raters.id"),
    rubric=_of(HASH),
    passed=_of(Integer),
    result=_of(JSON),
    created=_of(TIME),
)
places = _table("places", rater=_key(NAME, "raters.id"), rubric=_key(), state=_of(JSON), updated=_of(TIME))
batches = _table("batches", id=_key(), task=_of(Text), rubric=_of(HASH), plan=_of(JSON), created=_of(TIME))
assignments = _table(
    "assignments",
    id=_key(),
    batch=_of(HASH, "batches.id"),
    output=_of(HASH, "outputs.id"),
    kind=_of(WORD),
    slot=_of(Integer),
    shuffle=_of(BigInteger),
    rater=_of(NAME, "raters.id", null=True),
    opened=_of(TIME, null=True),
    leased_until=_of(TIME, null=True),
    done=_of(TIME, null=True),
    draft=_of(JSON, null=True),
    other=_of(HASH, "outputs.id", null=True),
)
ratings = _table(
    "ratings",
    id=_number(),
    assignment=_of(HASH, "assignments.id", null=True),
    output=_of(HASH, "outputs.id"),
    rater=_of(NAME, "raters.id"),
    rubric=_of(HASH),
    action=_of(WORD),
    grades=_of(JSON),
    seconds=_of(TIME, null=True),
    created=_of(TIME),
)
adjudications = _table(
    "adjudications",
    id=_number(),
    output=_of(HASH, "outputs.id"),
    rubric=_of(HASH),
    lead=_of(NAME, "raters.id"),
    grades=_of(JSON),
    reason=_of(Text),
    created=_of(TIME),
)
comparisons = _table(
    "comparisons",
    id=_number(),
    first=_of(HASH, "outputs.id"),
    second=_of(HASH, "outputs.id"),
    rater=_of(NAME, "raters.id"),
    rubric=_of(HASH),
    winner=_of(WORD),
    reason=_of(Text),
    created=_of(TIME),
    assignment=_of(HASH, "assignments.id", null=True),
)
gate_runs = _table(
    "gate_runs",
    id=_number(),
    task=_of(Text),
    version=_of(NAME),
    against=_of(NAME),
    split=_of(HASH),
    rubric=_of(HASH),
    plan=_of(HASH),
    decision=_of(String(20)),
    result=_of(JSON),
    forced=_of(Text),
    created=_of(TIME),
)
plans = _table(
    "plans", id=_key(), task=_of(Text), version=_of(NAME), against=_of(NAME), terms=_of(JSON), created=_of(TIME)
)
calls = _table(
    "calls",
    id=_key(),
    judge=_of(NAME),
    reply=_of(Text),
    prompt_tokens=_of(Integer),
    completion_tokens=_of(Integer),
    cost=_of(TIME, null=True),
    seconds=_of(TIME),
    created=_of(TIME),
)
_a = assignments.c
_plain = _a.kind == "plain"
sa.Index("assignments_slot", _a.batch, _a.output, _a.slot, unique=True, sqlite_where=_plain, postgresql_where=_plain)
sa.Index("assignments_free", _a.batch, _a.done, _a.leased_until)
sa.Index("assignments_rater", _a.rater, _a.batch, _a.output)
sa.Index("outputs_item", outputs.c.item)
sa.Index("ratings_output", ratings.c.output, ratings.c.rubric)
APPEND_ONLY = (ratings, adjudications, comparisons, gate_runs, calls, qualifications, plans)


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


def rows(engine: Engine, query: Any) -> Sequence[Any]:
    """What one query finds."""
    with reading(engine) as connection:
        return connection.execute(query).all()


def add(engine: Engine, table: Table, **values: Any) -> None:
    """One line more, of now."""
    with writing(engine) as connection:
        connection.execute(sa.insert(table).values(**values, created=time.time()))


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
    """Bring the database up to date: a new one is made as the tables stand here, an older one by every migration that
    it lacks, in order; both are recorded in `migrations`."""
    from evals.migrations import MIGRATIONS, protect

    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":  # two programs may open it at once; SQLite's transaction keeps one out
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(20261129)")
        connection.exec_driver_sql(
            "CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, name TEXT, at REAL)"
        )
        done = {number for (number,) in connection.exec_driver_sql("SELECT number FROM migrations")}
        known = dict(enumerate(MIGRATIONS, 1))
        if extra := done - known.keys():
            raise FactoryError(f"the ratings database is newer than this program (migration {max(extra)}): update it")
        if not done:
            meta.create_all(connection, checkfirst=False)
            protect(connection, *(table.name for table in APPEND_ONLY))
        for number in sorted(known.keys() - done):
            if done:
                known[number](connection)
            values = {"number": number, "name": known[number].__name__.replace("_", " "), "at": time.time()}
            connection.execute(sa.text("INSERT INTO migrations VALUES (:number, :name, :at)"), values)


def _on_connect(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # BEGIN is ours, see _on_begin
    _, _, file = connection.execute("PRAGMA database_list").fetchone()
    # WAL keeps its index in memory that only the processes of one machine share.
    journal = "DELETE" if file and on_network(Path(file)) else "WAL"
    for pragma in ("busy_timeout = 60000", f"journal_mode = {journal}", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
