"""The ratings database's history: numbered migrations that bring an older database to the tables in `tables.py`.

A migration is never edited after a release; a change is a new one at the end, and in the tables.
"""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from factory.home import home
from factory.registry.store import SHORT


def start(c: Connection) -> None:
    """The first release's tables, which every older database has."""


def pages(c: Connection) -> None:
    """What the rater page needs: where each rater is, and assignments that show two outputs."""
    c.exec_driver_sql(
        "CREATE TABLE places (rater VARCHAR(200) NOT NULL REFERENCES raters (id), rubric VARCHAR(64) NOT NULL, "
        "state JSON NOT NULL, updated DOUBLE PRECISION NOT NULL, PRIMARY KEY (rater, rubric))"
    )
    c.exec_driver_sql("ALTER TABLE assignments ADD COLUMN other VARCHAR(64) REFERENCES outputs (id)")
    c.exec_driver_sql("ALTER TABLE comparisons ADD COLUMN assignment VARCHAR(64) REFERENCES assignments (id)")


def whole_hashes(c: Connection) -> None:
    """Versions were known by 48 bits of their hash, which two can be made to share: now by the whole of it.

    A version that is not in this machine's store keeps its short name, which is nobody's any more: grade it again.
    """
    known: dict[str, list[str]] = {}
    for folder in home("store", "x").parent.glob("?" * 64):
        known.setdefault(folder.name[:SHORT], []).append(folder.name)
    sqlite = c.dialect.name == "sqlite"
    c.exec_driver_sql(
        "DROP TRIGGER gate_runs_no_update" if sqlite else "DROP TRIGGER gate_runs_append_only ON gate_runs"
    )
    for table, column in (("answers", "version"), ("gate_runs", "version"), ("gate_runs", "against")):
        for (name,) in c.exec_driver_sql(f"SELECT DISTINCT {column} FROM {table}").all():
            task, _, short = name.partition("@")
            if len(found := known.get(short, [])) == 1:
                change = sa.text(f"UPDATE {table} SET {column} = :whole WHERE {column} = :name")
                c.execute(change, {"whole": f"{task}@{found[0]}", "name": name})
    c.exec_driver_sql(_protections("gate_runs", c.dialect.name)[0])


def plans(c: Connection) -> None:
    """What each comparison is decided under, from its first label on."""
    c.exec_driver_sql(
        "CREATE TABLE plans (id VARCHAR(64) PRIMARY KEY, task TEXT NOT NULL, version VARCHAR(200) NOT NULL, "
        "against VARCHAR(200) NOT NULL, terms JSON NOT NULL, created DOUBLE PRECISION NOT NULL)"
    )
    protect(c, "plans")


MIGRATIONS = (start, pages, whole_hashes, plans)  # by number, from 1 on


def protect(c: Connection, *tables: str) -> None:
    """From now on the rows of these tables can be added and never changed or removed."""
    if c.dialect.name == "postgresql":
        c.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'append-only: what was said stays said'; END $$"
        )
    for table in tables:
        for statement in _protections(table, c.dialect.name):
            c.exec_driver_sql(statement)


def _protections(table: str, dialect: str) -> list[str]:
    """The triggers of a table; the first one is for changes."""
    if dialect == "postgresql":
        return [
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION append_only()"
        ]
    return [
        f"CREATE TRIGGER {table}_no_{event.lower()} BEFORE {event} ON {table} "
        "BEGIN SELECT RAISE(ABORT, 'append-only: what was said stays said'); END"
        for event in ("UPDATE", "DELETE")
    ]
