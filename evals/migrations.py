"""The ratings database's history: numbered migrations, each run once and recorded.

A migration is never edited after a release; a change is a new one at the end. `{serial}` is a key that counts up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from factory.home import home
from factory.registry.store import SHORT

APPEND_ONLY = ("ratings", "adjudications", "comparisons", "gate_runs", "calls", "qualifications")


@dataclass(frozen=True)
class Migration:
    number: int
    name: str
    sql: str = ""
    protect: tuple[str, ...] = ()
    """Tables whose rows can be added and never changed or removed."""
    run: Callable[[Connection], None] | None = None
    """What SQL alone cannot do; after the statements, in the same transaction."""


START = """
CREATE TABLE items (id VARCHAR(64) PRIMARY KEY, task TEXT NOT NULL, source TEXT NOT NULL, reference TEXT NOT
    NULL, meta JSON NOT NULL);
CREATE TABLE outputs (id VARCHAR(64) PRIMARY KEY, item VARCHAR(64) NOT NULL REFERENCES items (id), text TEXT NOT
    NULL);
CREATE INDEX outputs_item ON outputs (item);
CREATE TABLE answers (version VARCHAR(200) NOT NULL, item VARCHAR(64) NOT NULL REFERENCES items (id), output
    VARCHAR(64) NOT NULL REFERENCES outputs (id), created DOUBLE PRECISION NOT NULL, PRIMARY KEY (version,
    item));
CREATE TABLE raters (id VARCHAR(200) PRIMARY KEY, kind VARCHAR(10) NOT NULL, created DOUBLE PRECISION NOT NULL);
CREATE TABLE qualifications (id {serial}, rater VARCHAR(200) NOT NULL REFERENCES raters (id), rubric VARCHAR(64)
    NOT NULL, passed INTEGER NOT NULL, result JSON NOT NULL, created DOUBLE PRECISION NOT NULL);
CREATE TABLE batches (id VARCHAR(64) PRIMARY KEY, task TEXT NOT NULL, rubric VARCHAR(64) NOT NULL, plan JSON NOT
    NULL, created DOUBLE PRECISION NOT NULL);
CREATE TABLE assignments (id VARCHAR(64) PRIMARY KEY, batch VARCHAR(64) NOT NULL REFERENCES batches (id), output
    VARCHAR(64) NOT NULL REFERENCES outputs (id), kind VARCHAR(10) NOT NULL, slot INTEGER NOT NULL, shuffle
    BIGINT NOT NULL, rater VARCHAR(200) REFERENCES raters (id), opened DOUBLE PRECISION, leased_until DOUBLE
    PRECISION, done DOUBLE PRECISION, draft JSON);
CREATE UNIQUE INDEX assignments_slot ON assignments (batch, output, slot) WHERE kind = 'plain';
CREATE INDEX assignments_free ON assignments (batch, done, leased_until);
CREATE INDEX assignments_rater ON assignments (rater, batch, output);
CREATE TABLE ratings (id {serial}, assignment VARCHAR(64) REFERENCES assignments (id), output VARCHAR(64) NOT
    NULL REFERENCES outputs (id), rater VARCHAR(200) NOT NULL REFERENCES raters (id), rubric VARCHAR(64) NOT
    NULL, action VARCHAR(10) NOT NULL, grades JSON NOT NULL, seconds DOUBLE PRECISION, created DOUBLE PRECISION
    NOT NULL);
CREATE INDEX ratings_output ON ratings (output, rubric);
CREATE TABLE adjudications (id {serial}, output VARCHAR(64) NOT NULL REFERENCES outputs (id), rubric VARCHAR(64)
    NOT NULL, lead VARCHAR(200) NOT NULL REFERENCES raters (id), grades JSON NOT NULL, reason TEXT NOT NULL,
    created DOUBLE PRECISION NOT NULL);
CREATE TABLE comparisons (id {serial}, first VARCHAR(64) NOT NULL REFERENCES outputs (id), second VARCHAR(64)
    NOT NULL REFERENCES outputs (id), rater VARCHAR(200) NOT NULL REFERENCES raters (id), rubric VARCHAR(64) NOT
    NULL, winner VARCHAR(10) NOT NULL, reason TEXT NOT NULL, created DOUBLE PRECISION NOT NULL);
CREATE TABLE gate_runs (id {serial}, task TEXT NOT NULL, version VARCHAR(200) NOT NULL, against VARCHAR(200) NOT
    NULL, split VARCHAR(64) NOT NULL, rubric VARCHAR(64) NOT NULL, plan VARCHAR(64) NOT NULL, decision
    VARCHAR(20) NOT NULL, result JSON NOT NULL, forced TEXT NOT NULL, created DOUBLE PRECISION NOT NULL);
CREATE TABLE calls (id VARCHAR(64) PRIMARY KEY, judge VARCHAR(200) NOT NULL, reply TEXT NOT NULL, prompt_tokens
    INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, cost DOUBLE PRECISION, seconds DOUBLE PRECISION NOT
    NULL, created DOUBLE PRECISION NOT NULL)
"""

# What the rater page needs: where each rater is, and assignments that show two outputs.
PAGES = """
CREATE TABLE places (rater VARCHAR(200) NOT NULL REFERENCES raters (id), rubric VARCHAR(64) NOT NULL, state JSON NOT
    NULL, updated DOUBLE PRECISION NOT NULL, PRIMARY KEY (rater, rubric));
ALTER TABLE assignments ADD COLUMN other VARCHAR(64) REFERENCES outputs (id);
ALTER TABLE comparisons ADD COLUMN assignment VARCHAR(64) REFERENCES assignments (id)
"""


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
    for statement in protections("gate_runs", c.dialect.name)[:1]:
        c.exec_driver_sql(statement)


# What each comparison is decided under, from its first label on.
PLANS = """
CREATE TABLE plans (id VARCHAR(64) PRIMARY KEY, task TEXT NOT NULL, version VARCHAR(200) NOT NULL, against VARCHAR(200)
    NOT NULL, terms JSON NOT NULL, created DOUBLE PRECISION NOT NULL)
"""


MIGRATIONS = (
    Migration(1, "start", START, APPEND_ONLY),
    Migration(2, "pages", PAGES),
    Migration(3, "whole hashes", run=whole_hashes),
    Migration(4, "plans", PLANS, ("plans",)),
)


def statements(migration: Migration, dialect: str) -> Iterator[str]:
    """The migration's statements for a database ("sqlite" or "postgresql")."""
    serial = (
        "INTEGER PRIMARY KEY AUTOINCREMENT"
        if dialect == "sqlite"
        else "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
    )
    for statement in migration.sql.replace("{serial}", serial).split(";"):
        if statement.strip():
            yield statement.strip()
    if migration.protect and dialect == "postgresql":
        yield (
            "CREATE OR REPLACE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'append-only: what was said stays said'; END $$"
        )
    for table in migration.protect:
        yield from protections(table, dialect)


def protections(table: str, dialect: str) -> list[str]:
    """The triggers that let a table's rows be added and never changed or removed; the first one is for changes."""
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
