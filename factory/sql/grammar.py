"""The grammar of a prompt: one SELECT that names only tables and columns that this prompt shows.

    # orders                                 SELECT … FROM orders, with its own columns alone
    customer_id int -> customers.id          orders JOIN customers ON orders.customer_id = customers.id
    ordered date: day of the order           a day is compared with days and special values, a number with numbers

Every table, and every set of up to three that references connect, is a scope with rules of its own, so that a column
stands only beside its table. It is a part of what `guard.py` lets through; aliases, set operations and windows are not.
"""

import json
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations, permutations
from typing import Any

from factory.sql import special
from factory.sql.schema import MEANING

JOINED = 3  # tables of a query
LONGEST, TABLES, COLUMNS = 2**15, 4, 64  # of a prompt, its characters first: of a larger one no grammar is made
COMMENT = 1000  # characters of a comment in which values are looked for
_TABLE = re.compile(r"# (\S[^:]{0,63})(?:: .*)?")
_COLUMN = re.compile(
    r"(\S.{0,63}?) (int|real|text|date)( key)?(?: (?:->|one-to-one) (\S{1,64})\.([^\s.:]{1,64}))?(?:: (.*)| \[.*)?"
)
_PLAIN = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_RESERVED = frozenset(
    """all and as asc between by case cross desc distinct else end except exists from full group having in inner
    intersect into is join left like limit not null offset on or order outer right select set table then to union
    using values when where with index check default primary references unique add alter create delete drop insert
    update transaction commit""".split()
)
COMMON = r"""
compare ::= " = " | " > " | " < " | " >= " | " <= " | " != " | " <> "
number ::= "-"? [0-9]{1,9} ("." [0-9]{1,4})?
numbers ::= number (", " number){0,9}
person ::= "'<" (PEOPLE) ">'"
word ::= "'" ([^'<\n] | "''") ([^'\n] | "''")* "'" | person
words ::= word (", " word){0,9}
day ::= "'" [12] [0-9]{3} ("-" [01] [0-9] ("-" [0-3] [0-9])?)? "'" | "'" span "'"
span ::= "today" | "yesterday" | "tomorrow" | ("this " | "last " | "next ") unit | ("last " | "next ") few " " unit "s"
unit ::= "day" | "week" | "month" | "quarter" | "year"
few ::= [1-9] [0-9]{0,2}
way ::= " DESC" | " ASC"
"""
# What a scope may say; `@` becomes its number. `one` is a single value: what a query within brackets gives.
SCOPE = r"""
query@ ::= "SELECT " ("DISTINCT ")? item@ (", " item@){0,5} rest@
one@ ::= "SELECT " ("DISTINCT ")? item@ rest@
rest@ ::= from@ where@? (groups@ | " ORDER BY " sorted@ (", " sorted@)?)? (" LIMIT " few)?
groups@ ::= " GROUP BY " column@ (", " column@)? (" HAVING " having@)? (" ORDER BY " (total@ | column@) way?)?
item@ ::= column@ | total@
sorted@ ::= column@ way?
where@ ::= " WHERE " test@ ((" AND " | " OR ") test@){0,5}
having@ ::= total@ compare (number | "(" one ")")
"""


@dataclass
class Shown:
    """A table as a prompt shows it: its columns by name with their kind, what they refer to, and of those whose comment
    lists their values (0 = open, 1 = paid) the values."""

    name: str
    columns: dict[str, str] = field(default_factory=dict)
    listed: dict[str, list[str]] = field(default_factory=dict)
    links: list[tuple[str, str, str]] = field(default_factory=list)  # column, table, column there


def of(messages: Sequence[Mapping[str, Any]]) -> str:
    """The grammar (EBNF) of the answer to these messages; empty where their system message shows no table, or more
    than a grammar can hold."""
    said = [_text(m.get("content")) for m in messages if m.get("role") in ("system", "developer")]
    return _grammar("\n".join(said))


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "\n".join(part["text"] for part in content or ())


@lru_cache(256)
def _grammar(prompt: str) -> str:
    tables = _shown(prompt) if len(prompt) <= LONGEST else []
    if not 0 < len(tables) <= TABLES or sum(len(table.columns) for table in tables) > COLUMNS:
        return ""
    rules: list[str] = []
    scopes = [*_scopes(tables)]
    for number, scope in enumerate(scopes):
        rules += _rules(str(number), scope)
    numbers = range(len(scopes))
    rules += [
        f"root ::= {' | '.join(f'query{n}' for n in numbers)}",
        f"one ::= {' | '.join(f'one{n}' for n in numbers)}",
    ]
    people = " | ".join(f'"{who}"' for who in special.PEOPLE)
    return "\n".join([*rules, COMMON.replace("PEOPLE", people).strip(), ""])


def _shown(prompt: str) -> list[Shown]:
    """The tables of a prompt that have columns, in its order."""
    tables: dict[str, Shown] = {}
    table: Shown | None = None
    for line in prompt.splitlines():
        if named := _TABLE.fullmatch(line):
            table = tables.setdefault(named[1], Shown(named[1]))
        elif table and (found := _COLUMN.fullmatch(line)):
            name, kind, key, to, there, comment = found.groups()
            if to:
                table.links.append((name, to, there))
            values = [value for value, _ in MEANING.findall((comment or "")[:COMMENT])]
            if len(values) > 1 and (kind == "text" or (kind == "int" and all(value.isdecimal() for value in values))):
                table.listed[name] = [value if kind == "int" else f"'{value}'" for value in values]
            number = "id" if key or to else "number"
            table.columns[name] = "listed" if name in table.listed else kind if kind in ("text", "date") else number
    return [table for table in tables.values() if table.columns]


def _scopes(tables: list[Shown]) -> Iterator[list[tuple[list[Shown], list[str]]]]:
    """Sets of tables that a query may be about, each with every order of it and the conditions that join them."""
    for size in range(1, min(JOINED, len(tables)) + 1):
        for some in combinations(tables, size):
            orders = [(list(order), _joins(order)) for order in permutations(some)]
            if found := [(order, joins) for order, joins in orders if all(joins)]:
                yield found


def _joins(order: Sequence[Shown]) -> list[str]:
    """For each table but the first the conditions that join it to those before, as one rule's text; empty: none."""
    found = []
    for at, table in enumerate(order[1:], 1):
        pairs = [
            (_column(one, column), _column(other, to))
            for before in order[:at]
            for one, other in ((table, before), (before, table))
            for column, name, to in one.links
            if name == other.name and to in other.columns
        ]
        found.append(" | ".join(_literal(f"{x} = {y}") for a, b in pairs for x, y in ((a, b), (b, a))))
    return found


def _rules(number: str, orders: list[tuple[list[Shown], list[str]]]) -> list[str]:
    """The rules of one scope."""
    tables = orders[0][0]
    kinds: dict[str, list[str]] = {}
    listed: list[str] = []
    for table in tables:
        for column, kind in table.columns.items():
            names = [_column(table, column)]
            if sum(column.lower() in map(str.lower, other.columns) for other in tables) == 1:
                names.append(_quoted(column))
            kinds.setdefault(kind, []).extend(names)
            if values := _either(table.listed.get(column, ())):
                among = f'(" IN (" | " NOT IN (") ({values}) (", " ({values})){{0,5}} ")"'
                listed.append(f"({_either(names)}) (compare ({values}) | {among})")
    rules = SCOPE.strip().replace("@", number).splitlines()
    froms = []
    for order, joins in orders:
        parts = [_literal(f" FROM {_quoted(order[0].name)}")]
        parts += [f"{_literal(f' JOIN {_quoted(t.name)} ON ')} ({on})" for t, on in zip(order[1:], joins, strict=True)]
        froms.append(" ".join(parts))
    rules.append(f"from{number} ::= {' | '.join(froms)}")
    rules += [f"{kind}{number} ::= {_either(names)}" for kind, names in kinds.items()]
    rules.append(f"column{number} ::= {' | '.join(f'{kind}{number}' for kind in kinds)}")
    rules.append(f"total{number} ::= {' | '.join(_totals(number, kinds))}")
    rules.append(f"test{number} ::= {' | '.join([*_tests(number, kinds), *listed])}")
    return rules


def _totals(number: str, some: Container[str]) -> Iterator[str]:
    yield f'"count(*)" | "count(" ("DISTINCT ")? column{number} ")" | ("min(" | "max(") column{number} ")"'
    if "number" in some:
        yield f'("sum(" | "avg(") number{number} ")"'


def _tests(number: str, some: Container[str]) -> Iterator[str]:
    """Conditions on the columns of a scope, each kind with values of its own."""
    yield f'"(" test{number} ((" AND " | " OR ") test{number}){{1,3}} ")"'
    yield f'column{number} (" IS NULL" | " IS NOT NULL" | " IN (" one ")" | " NOT IN (" one ")" | compare "(" one ")")'
    for kind in [kind for kind in ("number", "id") if kind in some]:
        yield (
            f'{kind}{number} (compare (number | person | {kind}{number}) | " BETWEEN " number " AND " number '
            '| (" IN (" | " NOT IN (") numbers ")")'
        )
    if "text" in some:
        yield f'text{number} ((compare | " LIKE " | " NOT LIKE ") word | (" IN (" | " NOT IN (") words ")")'
    if "date" in some:
        yield f'date{number} (compare (day | date{number}) | " BETWEEN " day " AND " day)'


def _column(table: Shown, column: str) -> str:
    return f"{_quoted(table.name)}.{_quoted(column)}"


def _quoted(name: str) -> str:
    """A name as SQL writes it: in double quotes where it is no plain word."""
    plain = _PLAIN.fullmatch(name) and name.lower() not in _RESERVED
    return name if plain else '"' + name.replace('"', '""') + '"'


def _either(names: Iterable[str]) -> str:
    return " | ".join(map(_literal, names))


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
