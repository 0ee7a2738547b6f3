"""What a caller may read of a database, as a file says it: `factory ask … access=rights.yaml`.

tables:                        all that may be read; without it the whole schema
  customers: [id, city]        these columns
  orders:                      all of its columns
rows:                          what the rows of a table must pass, in SQL; special values are the caller's
  orders: customer_id = '<current_user>'
"""

from pathlib import Path

from factory.errors import InputError, Problem
from factory.home import shown
from factory.sql.guard import Access, Refused, checked, written
from factory.sql.schema import Schema
from factory.strict import Strict, check, dotted, nearest, read_yaml


class _File(Strict):
    tables: dict[str, list[str] | None] | None = None
    rows: dict[str, str] = {}


def rights(path: Path, schema: Schema, caller: Access) -> Access:
    """The caller's access, narrowed to what the file allows. InputError: all that is wrong with it."""
    from sqlglot import exp

    layer = read_yaml(path)
    said = check(_File, layer, shown(path))
    problems: list[Problem] = []

    def wrong(why: str, *key: str | int) -> None:
        problems.append(Problem(why, *layer.place(key), dotted(key)))

    readable, filters = dict[str, list[str]](), dict[str, str]()
    for table, columns in (dict.fromkeys(schema.tables) if said.tables is None else said.tables).items():
        if table not in schema.tables:
            wrong(f"no table {table}{nearest(table, schema.tables)}", "tables", table)
            continue
        for number, column in enumerate(columns or []):
            if column not in (known := schema.tables[table].columns):
                wrong(f"{table} has no column {column}{nearest(column, known)}", "tables", table, number)
        readable[table] = [*schema.tables[table].columns] if columns is None else columns
    for table, condition in said.rows.items():
        if table not in readable:
            wrong(f"no table {table} that may be read{nearest(table, readable)}", "rows", table)
            continue
        try:
            tree = checked(f"SELECT * FROM {exp.to_identifier(table, quoted=True)} WHERE ({condition})", schema, caller)
        except Refused as refused:
            wrong(str(refused), "rows", table)
            continue
        where = tree.args.get("where") if isinstance(tree, exp.Select) else None
        if where is None or {one.name for one in tree.find_all(exp.Table)} - readable.keys():
            wrong("is no condition over what may be read", "rows", table)
            continue
        filters[table] = written(where.this)
    if problems:
        raise InputError(*problems)
    return Access(readable, filters, caller.context, caller.today, caller.most)
