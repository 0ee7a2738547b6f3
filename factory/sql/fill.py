"""Databases for a schema of YAML: seeded, so that everybody's are the same, and several with different rows, so that a
query that is right by chance in one is found out in another.

A column's last part says what it holds: `int 1 60`, `money 5 400`, `of Oslo, Lyon`, `each Kitchen, Garden` (one a
row), `enum` (the values that its comment explains), `date`, `date?` (a third empty), `user`, `person`, `thing`, `book`,
`course`, `company`, `code`, `email`; keys count up and references point to rows that are there.
"""

import datetime
import os
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from factory.home import digest, home, scratch
from factory.sql.schema import Column, Schema, Table

TODAY = datetime.date(2026, 11, 29)  # of the shipped questions; rows lie in the 400 days before and 30 after it
USERS = 8  # people who use a system, 1 to 8
SEEDS = (1, 2, 3)  # the databases that an answer is graded on

FIRST = "Ana Ben Chen Dana Elif Femi Gita Hugo Ines Jonas Kira Luis Mei Nora Omar Petra Quinn Rosa Sami Tess".split()
LAST = "Abel Berg Costa Diaz Evans Fabre Gupta Hansen Ito Jensen Kaya Lopez Mori Novak Okoro Price Ruiz Silva".split()
THINGS = [f"{a} {b}" for a in ("red", "blue", "steel", "oak", "mini", "travel") for b in
          ("lamp", "kettle", "chair", "ball", "pan", "bag", "clock", "shelf")]  # fmt: skip
BOOKS = [f"{a} {b}" for a in ("The Last", "A Quiet", "The Glass", "My Second", "No More", "Beyond the") for b in
         ("Harbour", "Winter", "Garden", "Journey", "Island", "Letter", "River", "Night")]  # fmt: skip
COURSES = [f"{a} {b}" for a in ("Basic", "Advanced", "Evening", "Open", "Family") for b in
           ("Drawing", "Chess", "Yoga", "Robotics", "Singing", "History", "Boxing")]  # fmt: skip
COMPANIES = [f"{a}{b}" for a in ("Nord", "Alto", "Kite", "Lumen", "Terra", "Vela") for b in
             ("soft", "works", "bank", "foods", "lines", " Media")]  # fmt: skip
LISTS = {"thing": THINGS, "book": BOOKS, "course": COURSES, "company": COMPANIES}
SQL_TYPES = {"int": "INTEGER", "real": "REAL", "text": "TEXT", "date": "DATE"}


def database(schema: Schema, seed: int = SEEDS[0]) -> Path:
    """The SQLite file of this schema and seed: made once, kept in the home; of an SQLite file, the file itself."""
    if schema.file.suffix not in (".yaml", ".yml"):
        return schema.file
    told = digest([schema.file.read_text(encoding="utf-8"), Path(__file__).read_text(encoding="utf-8"), seed])
    path = home("sql", f"{schema.name}-{seed}-{told[:12]}.sqlite")
    if not path.is_file():
        with scratch(path) as temporary:
            db = sqlite3.connect(temporary / path.name)
            try:
                fill(schema, db, seed)
            finally:
                db.close()
            os.replace(temporary / path.name, path)
    return path


def fill(schema: Schema, db: sqlite3.Connection, seed: int) -> None:
    """Make all tables of `schema` in `db` with rows that depend on the seed alone."""
    ids: dict[str, list[int]] = {}
    sizes = random.Random(f"{schema.name}:{seed}")
    for table in _referred_first(schema):
        rows = [*range(1, round(table.rows * sizes.uniform(0.8, 1.2)) + 1)]
        if any(c.fill.startswith("each ") for c in table.columns.values()):
            rows = [*range(1, table.rows + 1)]
        ids[table.name] = rows
        made = [_values(column, rows, ids, random.Random(f"{schema.name}:{seed}:{table.name}.{column.name}"))
                for column in table.columns.values()]  # fmt: skip
        declared = ", ".join(
            f"{_quoted(c.name)} {SQL_TYPES[c.type]}{' PRIMARY KEY' if c.key else ''}"
            + (f" REFERENCES {_quoted(c.refers[0])} ({_quoted(c.refers[1])})" if c.refers else "")
            for c in table.columns.values()
        )
        db.execute(f"CREATE TABLE {_quoted(table.name)} ({declared})")
        db.executemany(
            f"INSERT INTO {_quoted(table.name)} VALUES ({', '.join('?' * len(made))})", zip(*made, strict=True)
        )
    db.commit()


def _values(column: Column, rows: list[int], ids: dict[str, list[int]], rng: random.Random) -> list[Any]:
    if column.key:
        return rows
    if column.refers:
        there = ids[column.refers[0]]
        if column.one:
            return [*rng.sample(there, min(len(rows), len(there))), *[None] * (len(rows) - len(there))]
        return [rng.choice(there) for _ in rows]
    how, _, what = column.fill.partition(" ")
    if how in ("of", "each"):
        choices = [one.strip() for one in what.split(",")]
        return choices[: len(rows)] if how == "each" else [rng.choice(choices) for _ in rows]
    if how == "enum":
        values = [int(v) if column.type == "int" else v for v in column.meanings()]
        return rng.choices(values, [rng.uniform(0.5, 2) for _ in values], k=len(rows))
    return [rng.choice(LISTS[how]) if how in LISTS else SOURCES[how](rng, what) for _ in rows]


def _date(rng: random.Random, what: str) -> str:
    return str(TODAY + datetime.timedelta(days=rng.choice((rng.randint(-400, 30), rng.randint(-75, 0)))))


SOURCES: dict[str, Callable[[random.Random, str], Any]] = {
    "int": lambda rng, what: rng.randint(*map(int, what.split())),
    "money": lambda rng, what: round(rng.uniform(*map(float, what.split())), 2),
    "date": _date,
    "date?": lambda rng, what: None if rng.random() < 0.33 else _date(rng, what),
    "user": lambda rng, what: rng.randint(1, USERS),
    "person": lambda rng, what: f"{rng.choice(FIRST)} {rng.choice(LAST)}",
    "code": lambda rng, what: f"{''.join(rng.choices('ABCDEFGH', k=2))}-{rng.randint(100, 999)}",
    "email": lambda rng, what: f"{rng.choice(FIRST).lower()}.{rng.choice(LAST).lower()}@example.org",
}


def _referred_first(schema: Schema) -> list[Table]:
    order: list[Table] = []
    left = dict(schema.tables)
    while left:
        ready = [t for t in left.values() if all(not c.refers or c.refers[0] == t.name or c.refers[0] not in left
                                                 for c in t.columns.values())] or [*left.values()]  # fmt: skip
        order += ready
        for table in ready:
            del left[table.name]
    return order


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
