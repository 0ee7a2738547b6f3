"""What a model wrote, held against what its caller may do, before any database sees it.

The text is parsed by sqlglot, and only what the parser understood goes on: one SELECT, made of the kinds of nodes in
`NODES`, over tables, columns and functions that are allowed. Special values become dates and people of the caller's
context, each table with a row filter becomes the rows that pass it, and a LIMIT is put on. What runs is written anew
from the tree, in the dialect of the database; the model's own text never runs.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from factory.errors import FactoryError
from factory.sql import special
from factory.sql.schema import Schema

DIALECTS = ("sqlite", "postgres", "mysql", "clickhouse", "duckdb")
WRITTEN = "written"  # under which a node of a tree keeps its text
LONGEST, DEEPEST = 4000, 30  # characters of a query, brackets within brackets
FUNCTIONS = """Count Sum Avg Min Max Abs Round Lower Upper Length Substring Trim Coalesce Nullif Cast TimeToStr Date
    TsOrDsToDate TsOrDsToTimestamp Year Month Day Extract CurrentDate StrPosition""".split()
NODES = """Select From Join Where Group Having Order Ordered Limit Offset Distinct Column Identifier Table TableAlias
    Alias Star Literal Boolean Null Neg Add Sub Mul Div Mod IntDiv DPipe EQ NEQ GT GTE LT LTE Is Like ILike In Between
    And Or Not Paren Tuple Case If Subquery With CTE Union Intersect Except Exists DataType Var""".split()


class Refused(FactoryError):
    """`kind`: *invalid* cannot be understood as SQL over this schema, *refused* can, and is not allowed."""

    def __init__(self, kind: Literal["invalid", "refused"], why: str) -> None:
        self.kind, self.why = kind, why
        super().__init__(f"{kind}: {why}")


@dataclass(frozen=True)
class Access:
    """What a caller may read: `columns` by table (None: all of the schema), and for some tables a condition in SQL that
    rows must pass. `context` holds what special values stand for; `most` is the LIMIT."""

    columns: Mapping[str, Sequence[str]] | None = None
    filters: Mapping[str, str] = field(default_factory=dict)
    context: Mapping[str, str | int] = field(default_factory=dict)
    today: datetime.date = field(default_factory=datetime.date.today)
    most: int = 200


def checked(text: str, schema: Schema, access: Access) -> Any:
    """The query as a tree that is safe to run, columns resolved. Refused says what is wrong with it."""
    from sqlglot import exp
    from sqlglot.errors import SqlglotError
    from sqlglot.optimizer.annotate_types import annotate_types
    from sqlglot.optimizer.qualify import qualify
    from sqlglot.optimizer.scope import traverse_scope

    allowed = {
        table.name.lower(): {c.name.lower(): c.type for c in table.columns.values()
                             if access.columns is None or c.name in access.columns.get(table.name, ())}
        for table in schema.tables.values() if access.columns is None or table.name in access.columns
    }  # fmt: skip
    try:
        tree = _parsed(text)
        _only_known_nodes(tree)
        _quoted_texts(tree, {name for columns in allowed.values() for name in columns})
        _as_written(tree)
        for scope in traverse_scope(tree):
            for source in scope.sources.values():
                if isinstance(source, exp.Table) and source.name.lower() not in allowed:
                    kind: Any = "refused" if source.name.lower() in map(str.lower, schema.tables) else "invalid"
                    kind = "refused" if source.name.lower().startswith(("sqlite_", "pg_", "information_")) else kind
                    raise Refused(kind, f"no table {source.name} that may be read")
        types = {t: {c: {"int": "INT", "real": "DOUBLE", "date": "DATE"}.get(k, "TEXT") for c, k in columns.items()}
                 for t, columns in allowed.items()}  # fmt: skip
        tree = annotate_types(qualify(tree, schema=types, dialect="sqlite", identify=False), schema=types)
        tree = _special_values(tree, access)
        return _limited(_filtered(tree, access.filters), access.most)
    except RecursionError:
        raise Refused("refused", "it is nested too deeply") from None
    except SqlglotError as error:
        faults = getattr(error, "errors", None)
        raise Refused("invalid", faults[0]["description"] if faults else str(error).split(". Line")[0]) from None


def written(tree: Any, dialect: str = "sqlite") -> str:
    """The checked tree as the text that runs there."""
    from sqlglot import exp

    def plain(node: Any) -> Any:  # SQLite has dates as text: a cast would make a number of them
        cast = (
            isinstance(node, exp.Cast) and isinstance(node.this, exp.Literal) and node.to.this == exp.DataType.Type.DATE
        )
        return node.this if cast else node

    tree = tree.transform(plain) if dialect == "sqlite" else tree
    return str(tree.sql(dialect=dialect, comments=False))


def titles(tree: Any) -> dict[str, str]:
    """What was written for the columns of a checked query that it gives no name: `_col_0` is `COUNT(*)`. Of one that
    comes from within only where it can be no other."""
    from sqlglot import exp

    found: dict[str, list[str]] = {}
    for select in tree.find_all(exp.Select):  # from without to within
        for one in select.selects:
            if written := one.unalias().meta.get(WRITTEN):
                found.setdefault(one.alias_or_name, []).append(written)
    own = {one.alias_or_name for one in tree.selects if WRITTEN in one.unalias().meta}
    return {name: texts[0] for name, texts in found.items() if name in own or len(set(texts)) == 1}


def canonical(text: str, schema: Schema, access: Access) -> str:
    """One spelling of a query for exact match: identifiers resolved, aliases and case as the parser writes them."""
    return written(checked(text, schema, access))


def _parsed(text: str) -> Any:
    import sqlglot
    from sqlglot import exp

    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    if len(text) > LONGEST:
        raise Refused("refused", f"it is longer than {LONGEST} characters")
    depth = deepest = 0
    for sign in text:
        depth += (sign == "(") - (sign == ")")
        deepest = max(deepest, depth)
    if deepest > DEEPEST:
        raise Refused("refused", f"it is nested too deeply ({deepest} brackets)")
    trees = [tree for tree in sqlglot.parse(text, read="sqlite") if tree is not None]
    if not trees:
        raise Refused("invalid", "it is empty")
    if len(trees) > 1:
        raise Refused("refused", f"{len(trees)} statements where one may stand")
    if not isinstance(trees[0], exp.Query):
        kind = type(trees[0]).__name__
        sql = isinstance(trees[0], exp.DDL | exp.DML | exp.Command | exp.Drop | exp.Pragma | exp.Attach | exp.Detach)
        raise Refused("refused" if sql or kind in STATEMENTS else "invalid", f"a {kind} where a SELECT belongs")
    if any(node.comments for node in trees[0].walk()):
        raise Refused("refused", "it holds a comment")
    return trees[0]


STATEMENTS = "Alter Set Transaction Commit Rollback Use Analyze TruncateTable Describe Copy Kill".split()


def _only_known_nodes(tree: Any) -> None:
    from sqlglot import exp

    known = tuple(getattr(exp, name) for name in (*NODES, *FUNCTIONS) if hasattr(exp, name))
    for node in tree.walk():
        if type(node) not in known:
            what = node.name if isinstance(node, exp.Anonymous) else type(node).__name__.upper()
            raise Refused("refused", f"{what} is not on the list of what may be used")
        if isinstance(node, exp.Table) and (node.db or node.catalog):
            raise Refused("refused", f"another database: {node.sql()}")
        if isinstance(node, exp.With) and node.args.get("recursive"):
            raise Refused("refused", "RECURSIVE is not on the list of what may be used")


def _quoted_texts(tree: Any, columns: set[str]) -> None:
    """A word in double quotes that is no column is a text for SQLite: written as one, it is one everywhere."""
    from sqlglot import exp

    named = {alias.alias.lower() for alias in tree.find_all(exp.Alias)} | columns
    for column in [*tree.find_all(exp.Column)]:
        if column.this.args.get("quoted") and not column.table and column.name.lower() not in named:
            column.replace(exp.Literal.string(column.name))


def _as_written(tree: Any) -> None:
    """Note of each column without a name how it was written, before it is given one."""
    from sqlglot import exp

    for select in tree.find_all(exp.Select):
        for one in select.expressions:
            if not isinstance(one, exp.Alias | exp.Column | exp.Star) and not one.alias:
                one.meta[WRITTEN] = one.sql(dialect="sqlite")


def _special_values(tree: Any, access: Access) -> Any:
    from sqlglot import exp

    for literal in [node for node in tree.find_all(exp.Literal) if node.is_string]:
        if not special.BRACKETS.fullmatch(literal.this):
            continue
        name = literal.this.strip("<> ")
        if name not in special.PEOPLE:
            raise Refused("refused", f"unknown special value {literal.this}")
        if name not in access.context:
            raise Refused("refused", f"the caller's context does not say who {literal.this} is")
        value = access.context[name]
        literal.replace(exp.Literal.number(value) if isinstance(value, int) else exp.Literal.string(value))
    return tree.transform(_dated, access.today)


def _dated(node: Any, today: datetime.date) -> Any:
    """A comparison of a date with special values as one with days."""
    from sqlglot import exp

    if not isinstance(node, exp.EQ | exp.NEQ | exp.LT | exp.LTE | exp.GT | exp.GTE | exp.Between | exp.In | exp.Like):
        return node
    if isinstance(node.this, exp.Literal) and not isinstance(node, exp.Like) and _of_dates(node.args.get("expression")):
        node = _turned(node)
    column = node.this
    low, high = node.args.get("low"), node.args.get("high")
    texts = [low, high] if low else node.expressions or [node.args.get("expression")]
    texts = [t if isinstance(t, exp.Literal) and t.is_string else None for t in texts]
    spans = [special.span(t.this, today) if t else None for t in texts]
    of_dates, plain = _of_dates(column), isinstance(column, exp.Column | exp.Literal)
    for one, found in zip(texts, spans, strict=True):
        if one and not found and of_dates and not special.is_date(one.this.rstrip("%")):
            raise Refused("refused", f"unknown special value '{one.this}'")
        if one and found and (not plain or (of_dates and isinstance(node, exp.Like))):
            raise Refused("refused", f"the special value '{one.this}' stands beside no column of dates")
    if not any(spans) or not of_dates:
        return node

    def day(date: datetime.date) -> Any:
        return exp.cast(exp.Literal.string(str(date)), "date")

    def within(first: Any, after: Any) -> Any:
        return exp.and_(exp.GTE(this=column.copy(), expression=first), exp.LT(this=column.copy(), expression=after))

    if isinstance(node, exp.Between):
        first = day(spans[0][0]) if spans[0] else low
        if not spans[1]:
            return exp.Between(this=column.copy(), low=first, high=high)
        return exp.paren(within(first, day(spans[1][1])), copy=False)
    if isinstance(node, exp.In):
        parts = [within(day(s[0]), day(s[1])) if s else exp.EQ(this=column.copy(), expression=t)
                 for s, t in zip(spans, node.expressions, strict=True)]  # fmt: skip
        return exp.paren(exp.or_(*parts), copy=False)
    assert spans[0]
    first, after = map(day, spans[0])
    if isinstance(node, exp.EQ):
        return exp.paren(within(first, after), copy=False)
    if isinstance(node, exp.NEQ):
        return exp.not_(exp.paren(within(first, after), copy=False))
    bound = {exp.LT: (exp.LT, first), exp.LTE: (exp.LT, after), exp.GT: (exp.GTE, after), exp.GTE: (exp.GTE, first)}
    kind, value = bound[type(node)]
    return kind(this=column.copy(), expression=value)


def _of_dates(value: Any) -> bool:
    """Whether a value is a column of dates or a function of one; a CASE or a SELECT may be anything."""
    from sqlglot import exp

    if not isinstance(value, exp.Column | exp.Func) or value.find(exp.Select, exp.Case, exp.If):
        return False
    return any(column.type and column.type.is_type("date") for column in value.find_all(exp.Column))


def _turned(node: Any) -> Any:
    """`'last month' < ordered` as `ordered > 'last month'`."""
    from sqlglot import exp

    turned = {exp.LT: exp.GT, exp.GT: exp.LT, exp.LTE: exp.GTE, exp.GTE: exp.LTE}
    return turned.get(type(node), type(node))(this=node.expression, expression=node.this)


def _filtered(tree: Any, filters: Mapping[str, str]) -> Any:
    """Every table with a row filter replaced by those of its rows that pass it."""
    from sqlglot import exp
    from sqlglot.optimizer.scope import traverse_scope

    lowered = {table.lower(): condition for table, condition in filters.items()}
    real = [s for scope in traverse_scope(tree) for s in scope.sources.values() if isinstance(s, exp.Table)]
    for table in real:
        if condition := lowered.get(table.name.lower()):
            inner = exp.select("*").from_(exp.to_table(table.name)).where(condition, dialect="sqlite")
            table.replace(inner.subquery(table.alias_or_name))
    return tree


def _limited(tree: Any, most: int) -> Any:
    from sqlglot import exp

    limit = tree.args.get("limit")
    if limit is None:
        return tree.limit(most)
    wanted = limit.expression
    if not isinstance(wanted, exp.Literal) or not wanted.is_int:
        raise Refused("refused", "the LIMIT is no number")
    return tree.limit(min(int(wanted.this), most))


def bare(text: str) -> str:
    """The query in an answer: without a fence of code around it and a semicolon at its end."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        text = text[3:-3].removeprefix("sql").removeprefix("sqlite")
    return text.strip().removesuffix(";").rstrip()
