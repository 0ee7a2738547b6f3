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
from factory.strict import Strict, check, nearest, read_yaml


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
        place = next(layer.places[key[:n]] for n in range(len(key), 0, -1) if key[:n] in layer.places)
        problems.append(Problem(why, *place, ".".join(map(str, key))))

    allowed: dict[str, list[str]] | None = None if said.tables is None else {}
    for table, columns in (said.tables or {}).items():
        if table not in schema.tables:
            wrong(f"no table {table}{nearest(table, schema.tables)}", "tables", table)
            continue
        for number, column in enumerate(columns or []):
            if column not in (known := schema.tables[table].columns):
                wrong(f"{table} has no column {column}{nearest(column, known)}", "tables", table, number)
        assert allowed is not None
        allowed[table] = [*schema.tables[table].columns] if columns is None else columns
    readable, filters = [*(schema.tables if allowed is None else allowed)], dict[str, str]()
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
        if where is None or {one.name for one in tree.find_all(exp.Table)} - {*readable}:
            wrong("is no condition over what may be read", "rows", table)
            continue
        filters[table] = written(where.this)
    if problems:
        raise InputError(*problems)
    return Access(allowed, filters, caller.context, caller.today, caller.most)
