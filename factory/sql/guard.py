"""What a model wrote, held against what its caller may do, before any database sees it.

The text is parsed by sqlglot, and only what the parser understood goes on: one SELECT, made of the kinds of nodes in
`NODES`, over tables and columns of the schema and functions that are allowed. Special values become dates and people of
the caller's context, and a LIMIT is put on. What runs is written anew from the tree, in the dialect of the database;
the model's own text never runs.
"""

import datetime
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
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
    """Who asks, and when: `context` holds what special values stand for; `most` is the LIMIT."""

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

    known = {t.name.lower(): {c.name.lower(): c.type for c in t.columns.values()} for t in schema.tables.values()}
    try:
        tree = _parsed(text)
        _only_known_nodes(tree)
        _quoted_texts(tree, {name for columns in known.values() for name in columns})
        _as_written(tree)
        for scope in traverse_scope(tree):
            for source in scope.sources.values():
                if isinstance(source, exp.Table) and source.name.lower() not in known:
                    own = source.name.lower().startswith(("sqlite_", "pg_", "information_"))
                    raise Refused("refused" if own else "invalid", f"no table {source.name} that may be read")
        types = {t: {c: {"int": "INT", "real": "DOUBLE", "date": "DATE"}.get(k, "TEXT") for c, k in columns.items()}
                 for t, columns in known.items()}  # fmt: skip
        tree = annotate_types(qualify(tree, schema=types, dialect="sqlite", identify=False), schema=types)
        tree = _special_values(tree, access)
        return _limited(tree, access.most)
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


def _parsed(text: str) -> Any:
    import sqlglot
    from sqlglot import exp

    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    if len(text) > LONGEST:
        raise Refused("refused", f"it is longer than {LONGEST} characters")
    deepest = max(accumulate((sign == "(") - (sign == ")") for sign in text), default=0)
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
    column, low = node.this, node.args.get("low")
    if low or isinstance(node, exp.In):
        sides = [exp.EQ(this=column.copy(), expression=one) for one in node.expressions]
        if low:
            sides = [
                exp.GTE(this=column.copy(), expression=low),
                exp.LTE(this=column.copy(), expression=node.args["high"]),
            ]
        dated = [_dated(side, today) for side in sides]
        if all(new is old for new, old in zip(dated, sides, strict=True)):
            return node
        return exp.paren((exp.and_ if low else exp.or_)(*dated), copy=False)
    text = node.args.get("expression")
    found = special.span(text.this, today) if isinstance(text, exp.Literal) and text.is_string else None
    of_dates = _of_dates(column)
    if not found:
        plain = isinstance(text, exp.Literal) and text.is_string and of_dates
        if plain and not special.is_date(text.this.rstrip("%")):
            raise Refused("refused", f"unknown special value '{text.this}'")
        return node
    if not isinstance(column, exp.Column | exp.Literal) or (of_dates and isinstance(node, exp.Like)):
        raise Refused("refused", f"the special value '{text.this}' stands beside no column of dates")
    if not of_dates:
        return node
    first, after = (exp.cast(exp.Literal.string(str(day)), "date") for day in found)
    if isinstance(node, exp.EQ | exp.NEQ):
        within = exp.and_(exp.GTE(this=column.copy(), expression=first), exp.LT(this=column.copy(), expression=after))
        inside = exp.paren(within, copy=False)
        return inside if isinstance(node, exp.EQ) else exp.not_(inside)
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
