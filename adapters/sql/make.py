"""Training rows by the thousand: questions and their queries, made of templates over the shipped schemas.

    PYTHONPATH=. python adapters/sql/make.py [rows] > adapters/sql/train.jsonl

The kinds of questions and their forms stand in `templates.yaml`, how people speak of single columns in `phrases.yaml`;
a quarter is Chinese. `HELD_OUT` schemas are left to grading alone.
"""

import json
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from factory.sql.fill import LISTS, TODAY, database
from factory.sql.guard import Access, Refused, checked
from factory.sql.pick import index_of
from factory.sql.prompt import SMALL
from factory.sql.schema import Column, Schema, Table, read, spoken

HELD_OUT = ("gym", "fleet", "city")
WEIGHTS = {"erp": 4}  # how often a schema is asked; 2 for the others
NAMES = ("person", "code", *LISTS)  # what fills a column by which rows are called
FUNCTIONS = {"avg": ("average", "平均"), "sum": ("total", "总"), "max": ("highest", "最高"), "min": ("lowest", "最低")}
COUNTS = (2, 3, 6, 7, 10, 14, 30, 60, 90)
UNFIT = "with whose of where who that over under above below which".split()  # not after "How many … are"
SLOT = re.compile(r"{(\w+)}")
Tested = tuple[str, str]  # how a condition is said after its noun, and its SQL


class Lacking(Exception):
    """The schema has nothing for a slot of a template."""


class Maker:
    """Questions about one schema, in one language at a time."""

    def __init__(
        self, schema: Schema, rng: random.Random, phrases: dict[str, str], times: dict[str, list[str]]
    ) -> None:
        self.schema, self.rng, self.times, self.zh = schema, rng, times, False
        self.index = index_of(schema, database(schema))
        self.phrases = {
            key: {p: w.split("|") for p, _, w in (part.strip().partition(": ") for part in line.split(";"))}
            for key, line in phrases.items()
        }

    def one(self, table: Table, kind: dict[str, Any], form: str) -> tuple[str, str]:
        """A question of this kind and form about one table, and its query."""
        tests = self._tests(table, "", 2)
        said = ("" if self.zh else self.rng.choice([" ", " ", " and "])).join(t[0] for t in tests)
        sql = " AND ".join(t[1] for t in tests)
        noun = self._noun(table)
        slots = {"t": table.name, "w": sql and f" WHERE {sql}", "test": sql, "said": said, "noun": noun}
        slots["things"] = f"{said}{noun}" if self.zh else f"{noun} {said}".strip()
        slots["plain"] = said.removesuffix("的") if self.zh else said.removeprefix("that are ")
        slots |= self._columns_of(table, "") | {"thing": _singular(noun), "n": str(self.rng.randint(2, 10))}
        return self._filled(kind, form, slots)

    def two(self, link: Column, kind: dict[str, Any], form: str) -> tuple[str, str]:
        """The same about a table and the one that `link` refers to."""
        assert link.refers
        child, parent = self.schema.tables[link.table], self.schema.tables[link.refers[0]]
        join = f"{child.name} JOIN {parent.name} ON {child.name}.{link.name} = {parent.name}.{link.refers[1]}"
        slots = {"join": join, "child": child.name, "parent": parent.name, "link": link.name,
                 "many": self._noun(child), "one": self._noun(parent), "n": str(self.rng.randint(1, 5))}  # fmt: skip
        slots |= self._columns_of(child, "") | self._columns_of(parent, "p")
        for prefix, table in (("c", child), ("p", parent)):
            [test] = self._tests(table, f"{table.name}.", 1) or [("", "")]
            slots |= {f"{prefix}said": test[0], f"{prefix}test": test[1]}
        return self._filled(kind, form, slots)

    def _filled(self, kind: dict[str, Any], form: str, slots: dict[str, str]) -> tuple[str, str]:
        asked = {*SLOT.findall(form)}
        if not asked & {"things", "said", "plain"}:
            slots = slots | {"w": "", "test": ""}
        unfit = "plain" in asked and slots["plain"].split(" ")[0] in UNFIT
        same = "by" in slots and "{by}" in kind["sql"] and f"{slots['by']} " in slots.get("test", "")
        wanted = {*SLOT.findall(form + kind["sql"])} - {"w", "said", "desc"}
        if unfit or same or not all(map(slots.get, wanted)):
            raise Lacking
        if slots.get("function") == "sum" and re.search("year|grade|floor|number", slots.get("number", "")):
            raise Lacking
        return form.format(**slots), kind["sql"].format(**slots)

    def _columns_of(self, table: Table, prefix: str) -> dict[str, str]:
        """Columns for every part that one can play in a query, with what they are called; none where there is none."""
        rng, slots = self.rng, dict[str, str]()

        def chosen(name: str, called: str, want: Callable[[Column], bool]) -> Column | None:
            found = [c for c in table.columns.values() if not c.key and not c.refers and want(c)]
            if not found:
                return None
            column = rng.choice(found)
            slots[prefix + name], slots[prefix + called] = column.name, self._called(column)
            return column

        label = chosen("label", "which", lambda c: c.name == table.label and c.fill.split(" ")[0] in (*NAMES, "each"))
        chosen("number", "of", _is_number)
        chosen("by", "g", lambda c: bool(c.meanings()) or c.fill.startswith("of "))
        chosen("date", "dof", lambda c: c.type == "date")
        chosen("other", "oof", lambda c: c is not label)
        far = rng.random() < 0.6
        if sort := chosen("sort", "sof", lambda c: c.type == "date" or _is_number(c)):
            slots[prefix + "sort"] += " DESC" if far else ""
            dated = (("latest", "最晚"), ("earliest", "最早"))
            late = dated if sort.type == "date" else (FUNCTIONS["max"], FUNCTIONS["min"])
            slots[prefix + "far"] = late[not far][self.zh]
            slots[prefix + "extreme"] = "" if self.zh else self._phrase(sort, "most" if far else "least", "")
        if label and (values := self._values(table.name, label.name)):
            slots[prefix + "value"] = rng.choice(values)
        function = rng.choice([*FUNCTIONS])
        first = rng.random() < 0.5
        slots |= {"function": function, "word": FUNCTIONS[function][self.zh], "desc": " DESC" if far else ""}
        mostly, one = (("most", "最多"), ("fewest", "最少"))[not far], (("first", "最早"), ("last", "最近"))[not first]
        slots |= {"common": "most" if far else "least", "mostly": mostly[self.zh]}
        return slots | {"least": "min" if first else "max", "first": one[self.zh]}

    def _tests(self, table: Table, prefix: str, most: int) -> list[Tested]:
        found: dict[str, Tested] = {}
        usable = [c for c in table.columns.values() if not c.key and (not c.refers or self._mine(c))]
        usable = [c for c in usable if c.fill.split(" ")[0] not in NAMES or self.rng.random() < 0.1]
        for _ in range(min(most, self.rng.choice((0, 1, 1, 1, 1, 2))) if prefix == "" else 1):
            if usable:
                column = self.rng.choice(usable)
                found.setdefault(column.name, self._test(column, prefix + column.name))
        return [*found.values()]

    def _test(self, column: Column, name: str) -> Tested:
        """A condition on a column: "paid by Alipay" and `pay_type = 1`."""
        rng, zh, of = self.rng, self.zh, self._called(column)
        if self._mine(column):
            said = (
                rng.choice(["我负责的", "我的"])
                if zh
                else self._phrase(column, "mine", "assigned to me", "that I handled", "of mine")
            )
            return said, f"{name} = '<current_user>'"
        if meanings := column.meanings(zh):
            value, meaning = rng.choice([*meanings.items()])
            sql = f"{name} = {value}" if column.type == "int" else f"{name} = '{value}'"
            if set(meanings.values()) <= {"yes", "no", "是", "否"}:
                no = meaning in ("no", "否")
                chinese = rng.choice([f"{'非' * no}{of}的", f"{of}为{meaning}的"])
                return chinese if zh else rng.choice(
                    [f"where {of} is {meaning}", f"{'not ' * no}{of}", f"with {of} {meaning}"]
                ), sql
            if zh:
                return rng.choice([f"{of}为{meaning}的", f"{meaning}的", f"{of}是{meaning}的"]), sql
            return (
                f"{self._phrase(column, 'is', f'with {of}', 'that are', f'whose {of} is', '')} {meaning}".strip(),
                sql,
            )
        if column.type == "date":
            return self._dated(column, name, of)
        if column.type == "text":
            value = rng.choice(self._values(column.table, column.name))
            chinese = rng.choice([f"{of}为{value}的", f"{of}是{value}的", f"{value}的"])
            said = f"{self._phrase(column, 'is', f'with {of}', f'whose {of} is', 'of')} {value}"
            return chinese if zh else said, f"{name} = '{value}'"
        low, high = sorted(float(v) for v in self.index.examples[column.table, column.name])
        number, sign = round(rng.uniform(low, high)), rng.choice(("<", ">", ">", ">=", "="))
        sql = f"{name} {sign} {number}"
        if zh:
            return f"{of}{ {'<': '低于', '>': '超过', '>=': '不少于', '=': '等于'}[sign] }{number}的", sql
        if sign in ("=", ">="):
            return f"with {of} {number}" if sign == "=" else f"with {of} of at least {number}", sql
        part, more, most = ("over", "above", "more") if sign == ">" else ("under", "below", "less")
        forms = (f"with {of} {more}", f"whose {of} is {part}", f"with {most} than {{}} {of}")
        said = self._phrase(column, part, *forms)
        said = said.format(number) if "{}" in said else f"{said} {number}"
        return f"{said} {of}" if said == f"with more than {number}" else said, sql

    def _dated(self, column: Column, name: str, of: str) -> Tested:
        rng, when = self.rng, self._phrase(column, "when", "from", "of", f"with {of}", f"whose {of} is")
        if column.fill == "date?" and rng.random() < 0.3:
            done = self.phrases.get(f"{column.table}.{column.name}", {}).get("when", ["done"])[0]
            said = rng.choice([f"without {of}", f"that have no {of}", f"not {done} yet", f"that are not {done}"])
            return f"没有{of}的" if self.zh else said, f"{name} IS NULL"
        if rng.random() < 0.2:
            day, sign = (
                f"{rng.choice((2025, 2026))}-{rng.randint(1, 11):02}-{rng.choice(('01', '15'))}",
                rng.choice("<>"),
            )
            side = (("before", "之前"), ("after", "之后"))[sign == ">"][self.zh]
            return f"{of}在{day}{side}的" if self.zh else f"{when} {side} {day}", f"{name} {sign} '{day}'"
        time = rng.choice([*self.times])
        count = rng.choice(COUNTS)
        said = self.times[time][self.zh].format(count)
        chinese = rng.choice([f"{of}在{said}的", f"{of}是{said}的", f"{said}的"])
        return chinese if self.zh else f"{when} {said}", f"{name} = '{time.format(count)}'"

    def _mine(self, column: Column) -> bool:
        return column.fill == "user" or "mine" in self.phrases.get(f"{column.table}.{column.name}", {})

    def _values(self, table: str, column: str) -> list[str]:
        return [v for (v,) in self.index.db.execute("SELECT v FROM valued WHERE t = ? AND c = ?", (table, column))]

    def _phrase(self, column: Column, part: str, *otherwise: str) -> str:
        mine = self.phrases.get(f"{column.table}.{column.name}", {}).get(part, [])
        return self.rng.choice([*[w for w in mine if w] * 3, *otherwise])

    def _noun(self, table: Table) -> str:
        return table.chinese if self.zh else self.rng.choice([table.comment, spoken(table.name)])

    def _called(self, column: Column) -> str:
        """What a column is called in a question."""
        if self.zh:
            return column.chinese.split(",")[0] or column.name
        said = column.comment.split(",")[0] or spoken(column.name)
        return self.rng.choice([said, said, said.split(" in ")[0], spoken(column.name).removesuffix(" id")])


def _is_number(column: Column) -> bool:
    return column.type in ("int", "real") and not column.meanings() and column.fill != "user" and not column.refers


def _singular(noun: str) -> str:
    return re.sub(r"ies$", "y", noun) if noun.endswith("ies") else noun.removesuffix("s")


def rows(number: int, seed: int = 0) -> list[dict[str, str]]:
    """`{"question", "db", "sql"}`, all different, each over tables and columns that its prompt shows."""
    folder = Path(__file__).parent
    phrases, kinds = (
        yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8")) for name in ("phrases", "templates")
    )
    rng = random.Random(seed)
    schemas = [read(path) for path in sorted((folder / "schemas").glob("*.yaml")) if path.stem not in HELD_OUT]
    makers = [Maker(schema, rng, phrases.get(schema.name, {}), kinds["times"]) for schema in schemas]
    weights = [WEIGHTS.get(schema.name, 2) for schema in schemas]
    found: dict[str, dict[str, str]] = {}
    while len(found) < number:
        [maker] = rng.choices(makers, weights)
        maker.zh = rng.random() < 0.25
        links = [c for c in maker.schema.columns() if c.refers] if rng.random() < 0.2 else []
        of = kinds["two" if links else "one"]
        [kind] = rng.choices([*of.values()], [k["often"] for k in of.values()])
        forms = kind.get("zh" if maker.zh else "en")
        if not forms:
            continue
        try:
            form = rng.choice(forms)
            said, sql = (
                maker.two(rng.choice(links), kind, form)
                if links
                else maker.one(rng.choice([*maker.schema.tables.values()]), kind, form)
            )
            said = " ".join(said.split())
            said = said[0].upper() + said[1:] if rng.random() < 0.9 else said.rstrip("?.").lower()
            if _shown(maker, said, sql):
                found.setdefault(said, {"question": said, "db": maker.schema.name, "sql": sql})
        except (Lacking, Refused):
            continue
    return [*found.values()]


def _shown(maker: Maker, question: str, sql: str) -> bool:
    """Whether the prompt for the question shows all that the query reads: no other can be learned from it."""
    picked = maker.index.pick(question, SMALL).columns
    try:
        checked(sql, maker.schema, Access(columns=picked, context={"current_user": 1}, today=TODAY))
    except Refused:
        return False
    return True


if __name__ == "__main__":
    for row in rows(int(sys.argv[1]) if len(sys.argv) > 1 else 3200):
        print(json.dumps(row, ensure_ascii=False))
