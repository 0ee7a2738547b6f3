"""Rows in our own layout, Spider's, BIRD's and WikiSQL's: read by `factory data`'s loader, with what grading needs."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from evals.sql import outcome
from factory.data.load import Read, load
from factory.data.rows import Dropped, Row
from factory.recipe import Data

CITY = "CREATE TABLE city (ID INTEGER PRIMARY KEY, Name TEXT, CountryCode TEXT, Population INTEGER)"


def rows(path: Path) -> tuple[list[Row], list[Dropped], Read]:
    dropped: list[Dropped] = []
    read: list[Read] = []
    found = list(load(str(path), Data(), path.parent, "data.train", dropped, read))
    return found, dropped, read[0]


def a_database(path: Path, made: str, *inserts: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path)
    for statement in (made, *inserts):
        db.execute(statement)
    db.commit()
    db.close()


def world(folder: Path, databases: str, described: str) -> None:
    a_database(folder / databases / "world" / "world.sqlite", CITY,
               "INSERT INTO city VALUES (1, 'Oslo', 'NOR', 700000), (2, 'Lyon', 'FRA', 500000)")  # fmt: skip
    known = {"db_id": "world", "table_names_original": ["city"], "table_names": ["city"],
             "column_names_original": [[-1, "*"], [0, "ID"], [0, "Name"], [0, "CountryCode"], [0, "Population"]],
             "column_names": [[-1, "*"], [0, "id"], [0, "name"], [0, "country code"], [0, "number of people"]],
             "foreign_keys": []}  # fmt: skip
    (folder / described).write_text(json.dumps([known]))


def write(path: Path, *values: dict[str, Any]) -> Path:
    whole = json.dumps([*values]) if path.suffix == ".json" else "".join(f"{json.dumps(v)}\n" for v in values)
    path.write_text(whole)
    return path


def test_spider(home: Path, tmp_path: Path) -> None:
    world(tmp_path, "database", "tables.json")
    right = 'SELECT count(*) FROM city WHERE Name  =  "Oslo"'
    told = {"question_toks": ["How"], "query_toks": ["SELECT"], "sql": {"select": []}}
    file = write(tmp_path / "train_spider.json",
                 {"db_id": "world", "question": "How many cities are called Oslo?", "query": right, **told},
                 {"db_id": "nowhere", "question": "How many?", "query": "SELECT 1", **told})  # fmt: skip
    [row], [lost], read = rows(file)
    assert read.format == "sql" and "no database 'nowhere'" in lost.reason
    assert "Population int: number of people" in row.messages[0]["content"]
    assert "city.Name = 'Oslo'" in row.messages[0]["content"]
    assert row.answer == 'SELECT count(*) FROM city WHERE Name = "Oslo"'
    for said, kind in (("SELECT count(ID) FROM city WHERE name = 'Oslo'", "right"), ("SELECT 2", "wrong"),
                       ("SELECT count(*) FROM town", "invalid"), ("DROP TABLE city", "refused")):  # fmt: skip
        found = outcome(row.meta, said)
        assert found and found.kind == kind, said


def test_bird(home: Path, tmp_path: Path) -> None:
    world(tmp_path, "dev_databases", "dev_tables.json")
    file = write(tmp_path / "dev.json", {
        "question_id": 0, "db_id": "world", "question": "How big is the capital of Norway?",
        "difficulty": "simple", "evidence": "the capital of Norway is Oslo",
        "SQL": "SELECT Population FROM city WHERE Name = 'Oslo'"})  # fmt: skip
    [row], _, _ = rows(file)
    assert row.source == "How big is the capital of Norway?\nthe capital of Norway is Oslo"
    assert row.meta["difficulty"] == "simple"
    found = outcome(row.meta, "SELECT population FROM city WHERE countrycode = 'NOR'")
    assert found and (found.kind, found.exact) == ("right", False)


def test_wikisql(home: Path, tmp_path: Path) -> None:
    a_database(tmp_path / "dev.db", "CREATE TABLE table_1_10_2 (col0 TEXT, col1 REAL)",
               "INSERT INTO table_1_10_2 VALUES ('terrence ross', 31), ('jose calderon', 8)")  # fmt: skip
    write(tmp_path / "dev.tables.jsonl", {"id": "1-10-2", "header": ["Player", "No."], "types": ["text", "real"]})
    file = write(tmp_path / "dev.jsonl", {"phase": 1, "table_id": "1-10-2", "question": "Number of Terrence Ross?",
                                          "sql": {"sel": 1, "agg": 0, "conds": [[0, 0, "Terrence Ross"]]}})  # fmt: skip
    [row], _, _ = rows(file)
    assert row.answer == "SELECT col1 FROM table_1_10_2 WHERE col0 = 'terrence ross'"
    assert "col0 text: player" in row.messages[0]["content"]
    found = outcome(row.meta, row.answer)
    assert found and found.kind == "right"


def test_our_own_layout_takes_any_sqlite_file(home: Path, tmp_path: Path) -> None:
    made = "CREATE TABLE pets (id INTEGER PRIMARY KEY, petName TEXT)"
    a_database(tmp_path / "mine.db", made, "INSERT INTO pets VALUES (1, 'Rex')")
    asked = {"question": "How many pets?", "db": "mine.db", "sql": "SELECT count(*) FROM pets;"}
    [row], _, _ = rows(write(tmp_path / "rows.jsonl", asked))
    assert row.answer == "SELECT count(*) FROM pets" and "petName text: pet name [Rex]" in row.messages[0]["content"]


@pytest.mark.parametrize("missing", ["dev.tables.jsonl", "dev.db"])
def test_what_is_missing_is_named(home: Path, tmp_path: Path, missing: str) -> None:
    file = write(tmp_path / "dev.jsonl", {"table_id": "1", "question": "?", "sql": {"sel": 0, "agg": 0, "conds": []}})
    with pytest.raises(Exception, match=missing):
        rows(file)
