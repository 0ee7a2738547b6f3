"""A checked query on an SQLite database: read-only, and only so long and so much.

The second lock behind `guard.py`: the file is opened read-only, SQLite's authorizer denies all but SELECT, reading the
allowed tables and the listed functions, and its progress handler ends a query that runs over its time.
"""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.sql.guard import Access, Refused, checked, titles, written
from factory.sql.schema import Schema

SECONDS = 2.0
STEPS = 5000  # of SQLite's machine between two looks at the clock
FUNCTIONS = frozenset(
    """count sum total avg min max abs round lower upper length substr substring trim ltrim rtrim coalesce
    ifnull nullif iif strftime date like instr""".split()
)
LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: 1_000_000,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 20_000,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 200,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 10,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 200,
}


@dataclass(frozen=True)
class Result:
    """The rows of a query, with the text that ran. A column without a name is called as it was written. `cut`: the
    LIMIT may have kept some back."""

    sql: str
    columns: list[str]
    rows: list[tuple[Any, ...]]
    cut: bool = False


def run(text: str, schema: Schema, database: Path, access: Access, seconds: float = SECONDS) -> Result:
    """Check `text` and run it on `database`. Refused if it is not allowed, or fails, or takes too long there."""
    sql = written(tree := checked(text, schema, access))
    allowed = {name.lower() for name in schema.tables if access.columns is None or name in access.columns}

    def authorise(action: int, one: str | None, two: str | None, *rest: Any) -> int:
        if action == sqlite3.SQLITE_SELECT:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ and str(one).lower() in allowed:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION and str(two).lower() in FUNCTIONS:
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY

    db = sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)
    try:
        for limit, most in LIMITS.items():
            db.setlimit(limit, most)
        db.text_factory = lambda raw: raw.decode("utf-8", "replace")
        db.set_authorizer(authorise)
        until = time.monotonic() + seconds
        db.set_progress_handler(lambda: time.monotonic() > until, STEPS)
        cursor = db.execute(sql)
        rows = cursor.fetchmany(access.most)
        names = titles(tree)
        columns = [names.get(column[0], column[0]) for column in cursor.description]
        return Result(sql, columns, rows, len(rows) == access.most)
    except sqlite3.Error as error:
        if "interrupted" in str(error):
            raise Refused("refused", f"it ran longer than {seconds:g} seconds") from None
        denied = "prohibited" in str(error) or "not authorized" in str(error)
        raise Refused("refused" if denied else "invalid", f"the database says: {error}") from None
    finally:
        db.close()
