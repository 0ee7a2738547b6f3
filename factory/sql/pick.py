"""Which tables and columns a question needs, and which values of the database it names: the schema filter.

Words are matched by SQLite's own full-text index, FTS5 with its Porter stemmer, ranked by BM25 (`bm25()`); Chinese is
indexed as pairs of characters. Every table, every column and every distinct text of the database is a document. A
table's score is that of its own words and of its best columns; tables that stand between two chosen ones come along,
and so do keys.
"""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from factory.sql.schema import HAN, Column, Schema, spoken

STOP = frozenset(
    """a an all and any are as at be by did do does each every find for from get give has have how i in is it list many
    me much my of on or our per show tell than that the their them there these this those to was we were what when where
    which who whose with 的 了 吗 呢 有 是 在 我 多 少 个 哪 些 什 么 几 每 请 列 出""".split()
)
NAMED = 0.7  # of the best name of a table: from which on the question names a table itself
VALUES = 400  # distinct texts of a column that are indexed
KEPT = 64
_KEPT: dict[tuple[object, ...], Index] = {}
WHEN = re.compile(
    r"""\b(when|today|yesterday|tomorrow|ago|since|until|before|after|latest|earliest|recent|newest|oldest|\d{4}
    |(day|week|month|quarter|year)s?)\b|[今昨明]天|[本上下这]个?[周月季]|[今去明]年|最近|何时|哪天|最早|最晚|\d年""",
    re.I | re.X,
)
WHO = re.compile(r"\b(i|my|me|mine)\b|我", re.I)
_WORD = re.compile(r"[\u3400-\u9fff]+|[^\W_\u3400-\u9fff]+")


@dataclass(frozen=True)
class Budget:
    """How much of a schema a prompt may hold: `tables`, `columns` of the best one and `further` of each other beside
    those that keys need; with `numbers` two values of numbers and dates too, not of texts alone."""

    tables: int = 4
    columns: int = 12
    further: int = 12
    near: float = 0.45  # of the best table's score: what a further table must have
    numbers: bool = True


@dataclass(frozen=True)
class Picked:
    """Chosen columns by table, best table first, and (table, column, value) that the question names."""

    columns: dict[str, list[str]]
    values: list[tuple[str, str, str]]


def words(text: str) -> Iterator[str]:
    """Words as they are indexed: letters and digits; of Chinese every pair of characters that follow each other."""
    for run in _WORD.findall(text.lower()):
        if HAN.match(run):
            yield from (run[i : i + 2] for i in range(len(run) - 1)) if len(run) > 1 else [run]
        elif run not in STOP:
            yield run


class Index:
    """The full-text index of one schema and one of its databases, by table of the rows that pass a condition in SQL."""

    def __init__(self, schema: Schema, database: Path, filters: Mapping[str, str] | None = None) -> None:
        self.schema = schema
        self.db = sqlite3.connect(":memory:", check_same_thread=False)
        for name in ("called", "titled", "named", "valued"):
            self.db.execute(f"CREATE VIRTUAL TABLE {name} USING fts5(t UNINDEXED, c UNINDEXED, v UNINDEXED, "
                            "body, tokenize = 'porter unicode61')")  # fmt: skip
        for table in schema.tables.values():
            self._add("titled", table.name, "", "", f"{spoken(table.name)} {table.comment} {table.chinese}")
            for called in {spoken(table.name), table.comment, table.chinese}:
                self._add("called", table.name, "", "", called)
            for column in table.columns.values():
                said = f"{spoken(column.name)} {column.comment} {column.chinese}"
                self._add("named", table.name, column.name, "", said)
        self.examples: dict[tuple[str, str], list[str]] = {}
        rows = sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)
        rows.text_factory = lambda raw: raw.decode("utf-8", "replace")
        for column in schema.columns():
            name, table_name = (part.replace('"', '""') for part in (column.name, column.table))
            seen = f'"{name}" IS NOT NULL AND ({(filters or {}).get(column.table, "1")})'
            distinct = f'SELECT DISTINCT "{name}" FROM "{table_name}" WHERE {seen} LIMIT {VALUES}'
            found = [row[0] for row in rows.execute(distinct)]
            self.examples[column.table, column.name] = [str(value) for value in found[:2]]
            if column.type == "text":
                for value in found:
                    self._add("valued", column.table, column.name, str(value), str(value))
        rows.close()

    def _add(self, into: str, table: str, column: str, value: str, said: str) -> None:
        self.db.execute(f"INSERT INTO {into} VALUES (?, ?, ?, ?)", (table, column, value, " ".join(words(said))))

    def _search(self, where: str, question: str, most: int) -> list[tuple[str, str, str, float, str]]:
        """Table, column, value, score, and the words found, those of the question in brackets; best first."""
        query = " OR ".join(f'"{word}"' for word in dict.fromkeys(words(question)))
        if not query:
            return []
        found = f"SELECT t, c, v, -bm25({where}), highlight({where}, 3, '[', ']') FROM {where} WHERE {where} MATCH ?"
        return self.db.execute(f"{found} ORDER BY 4 DESC LIMIT ?", (query, most)).fetchall()

    def values(self, question: str) -> list[tuple[str, str, str]]:
        """Texts of the database that stand in the question, whole words, the longest first."""
        said = f" {' '.join(_WORD.findall(question.lower()))} "
        found: list[tuple[str, str, str]] = []
        for table, column, value, *_ in self._search("valued", question, 60):
            plain = " ".join(_WORD.findall(value.lower()))
            if len(plain) > 1 and (f" {plain} " in said or (HAN.search(question) and plain in said)):
                found.append((table, column, value))
        return sorted(dict.fromkeys(found), key=lambda hit: -len(hit[2]))

    def pick(self, question: str, budget: Budget) -> Picked:
        values = self.values(question)
        titles = {table: score for table, _, _, score, _ in self._search("titled", question, 50)}
        tables = defaultdict[str, float](float, {table: 1.5 * score for table, score in titles.items()})
        columns = defaultdict[str, defaultdict[str, float]](lambda: defaultdict(float))
        for table, column, _, score, _ in self._search("named", question, 2000):
            columns[table][column] = score
        for table, column, value in values:
            columns[table][column] += 4 + len(value) / 10
        for table, own in columns.items():
            best = sorted(own.values(), reverse=True)[:3]
            tables[table] += best[0] + 0.3 * sum(best[1:])
        whole = {
            table
            for table, *_, said in self._search("called", question, 100)
            if all(word.startswith("[") for word in said.split())
        }
        enough, named = (budget.near * max(scores.values(), default=0) for scores in (tables, titles))
        named = max(named, NAMED * max(titles.values(), default=0))
        best_first = sorted(tables, key=lambda t: (t not in whole, -tables[t]))
        ranked = [t for t in best_first if tables[t] >= enough or t in whole or titles.get(t, 0) >= named > 0]
        ranked = ranked or [*self.schema.tables]
        chosen = self._joined(ranked[: budget.tables], budget.tables)
        return Picked({t: self._columns(t, columns[t], chosen, budget, question) for t in chosen}, values)

    def _joined(self, chosen: list[str], most: int) -> list[str]:
        """The chosen tables, best first, with those that stand between two of them, as long as there is room."""
        linked: dict[str, set[str]] = {name: set() for name in self.schema.tables}
        for column in self.schema.columns():
            if column.refers and column.refers[0] in linked:
                linked[column.table].add(column.refers[0])
                linked[column.refers[0]].add(column.table)
        kept: list[str] = []
        for name in chosen:
            path = _path(kept, name, linked) if kept else []
            for step in [*path, name]:
                if step not in kept and len(kept) < most:
                    kept.append(step)
        return kept

    def _columns(
        self, table: str, scores: dict[str, float], chosen: list[str], budget: Budget, question: str
    ) -> list[str]:
        """What keys need, what the question speaks of, what rows are called, days and people if it asks for them."""
        every = self.schema.tables[table].columns
        wanted = {c.name for c in every.values() if c.key or (c.refers and c.refers[0] in chosen)}
        wanted |= {
            c.refers[1] for c in self.schema.columns() if c.refers and c.refers[0] == table and c.table in chosen
        }
        dated, mine = WHEN.search(question), WHO.search(question)

        def rank(column: Column) -> tuple[float, int]:
            own = mine and not column.refers and column.name.endswith(("_id", "_by"))
            first = column.name == self.schema.tables[table].label or own or (dated and column.type == "date")
            return -scores.get(column.name, 0), 0 if first else 2 if column.refers else 1

        plain = sorted((c for c in every.values() if c.name not in wanted), key=rank)
        wanted |= {c.name for c in plain[: budget.columns if table == chosen[0] else budget.further]}
        return [name for name in every if name in wanted]


def _path(kept: Iterable[str], to: str, linked: dict[str, set[str]]) -> list[str]:
    """The fewest tables between any kept one and `to`; empty if they touch or nothing leads there."""
    reached: dict[str, str] = dict.fromkeys(kept, "")
    wave = [*reached]
    while wave and to not in reached:
        following = []
        for name in wave:
            for other in sorted(linked[name] - reached.keys()):
                reached[other] = name
                following.append(other)
        wave = following
    path, at = [], reached.get(to, "")
    while at and reached[at]:
        path.append(at)
        at = reached[at]
    return path[::-1]


def index_of(schema: Schema, database: Path, filters: Mapping[str, str] | None = None) -> Index:
    """The index of a schema and its database, made once; the last few are kept."""
    columns = tuple((column.table, column.name) for column in schema.columns())
    key = str(schema.file), schema.name, str(database), columns, tuple((filters or {}).items())
    if key not in _KEPT:
        if len(_KEPT) >= KEPT:
            del _KEPT[next(iter(_KEPT))]
        _KEPT[key] = Index(schema, database, filters)
    return _KEPT[key]
