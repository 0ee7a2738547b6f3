"""The grammar that a prompt makes: what answers may say, in the data, in this process and in the server."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from factory.decoding import Decoding, Forms
from factory.errors import InputError
from factory.home import project
from factory.recipe import load
from factory.sql.fill import TODAY, database
from factory.sql.grammar import of
from factory.sql.guard import Access, Refused, checked
from factory.sql.pick import index_of
from factory.sql.prompt import SMALL, turns
from factory.sql.schema import read
from serve.shape import complete
from tests.fakes.adapters import facts
from tests.fakes.serving import fake_base

SHOP = """Write one SQLite SELECT that answers the question.
# customers
id int key
name text: name ['Ana Abel', 'Ben Berg']
city text: city [Oslo, Lyon]
# orders
id int key
customer_id int -> customers.id
ordered date: day of the order
total real: amount in euros
state int: state, 0 = open, 1 = paid
# order
group int: a table and a column with reserved names
today: 2026-11-29"""
HELD = Forms(Decoding(grammar="sql"))


def lets(query: str, prompt: str = SHOP) -> bool:
    form = HELD.of([{"role": "system", "content": prompt}, {"role": "user", "content": "?"}])
    assert form
    return form.lets(query)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT count(*) FROM customers WHERE city = 'L''Aquila'",
        "SELECT customers.name FROM customers ORDER BY name DESC LIMIT 3",
        "SELECT city, count(*) FROM customers GROUP BY city HAVING count(*) > 2 ORDER BY count(*) DESC LIMIT 1",
        "SELECT DISTINCT city FROM customers JOIN orders ON orders.customer_id = customers.id WHERE total > 9.5",
        "SELECT sum(total) FROM orders WHERE ordered = 'last 30 days' AND customer_id = '<current_user>'",
        "SELECT max(ordered) FROM orders WHERE (ordered > '2026-11-01' OR ordered < 'today') AND total IN (1, 2)",
        "SELECT name FROM customers WHERE id NOT IN (SELECT customer_id FROM orders WHERE ordered IS NOT NULL)",
        "SELECT total FROM orders WHERE total >= (SELECT avg(total) FROM orders)",
        'SELECT "group" FROM "order"',
        "SELECT count(*) FROM orders WHERE state IN (0, 1) AND orders.state != 1",
    ],
)
def test_a_query_over_what_the_prompt_shows_can_be_said(query: str) -> None:
    assert lets(query)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT count(*) FROM clients",  # no such table
        "SELECT email FROM customers",  # no such column
        "SELECT total FROM customers",  # another table's
        "SELECT orders.total FROM customers",
        "SELECT id FROM customers JOIN orders ON orders.customer_id = customers.id",  # whose id?
        "SELECT name FROM customers JOIN orders ON orders.total = customers.id",  # no reference joins them so
        "SELECT name FROM customers WHERE name = 'a",
        "SELECT name FROM customers WHERE city = 3",
        "SELECT count(*) FROM orders WHERE state = 2",  # its comment lists two others
        "SELECT sum(customer_id) FROM orders",
        "SELECT total FROM orders WHERE ordered = 'last fortnight'",
        "SELECT name FROM customers WHERE city = '<current_king>'",
        "SELECT name FROM customers WHERE count(*) > 2",
        "SELECT name FROM customers; DROP TABLE customers",
        "SELECT load_extension('x') FROM customers",
        "SELECT name FROM customers UNION SELECT sql FROM sqlite_master",
        "PRAGMA table_info(customers)",
        "DELETE FROM customers",
        "SELECT group FROM order",
        "",
    ],
)
def test_what_the_prompt_does_not_show_cannot_be_said(query: str) -> None:
    assert not lets(query)


def rows(file: str) -> list[dict[str, str]]:
    lines = (project() / "adapters" / "sql" / f"{file}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize(("file", "every"), [("train", 12), ("eval", 1)])
def test_every_right_query_whose_names_the_prompt_shows_can_be_said(file: str, every: int) -> None:
    """Of the grading questions the prompt lacks a needed column for nine: what the schema filter leaves out."""
    schemas = {path.stem: read(path) for path in (project() / "adapters" / "sql" / "schemas").glob("*.yaml")}
    lacking = 0
    for row in rows(file)[::every]:
        schema = schemas[row["db"]]
        form = HELD.of(turns(row["question"], schema, database(schema), Access(today=TODAY)))
        picked = index_of(schema, database(schema)).pick(row["question"], SMALL).columns
        try:
            checked(row["sql"], schema, Access(columns=picked, context={"current_user": 1}, today=TODAY))
        except Refused:
            lacking += 1
            assert form and not form.lets(row["sql"]), row
        else:
            assert form and form.lets(row["sql"]), row
    assert lacking == {"train": 0, "eval": 9}[file]


HOSTILE = [
    '# a"b\nx"\\y int\n\x01z text\n😀 date\n" ::= root int\n\\u0022 int',
    "# a\nroot ::= int\n] int\n-- int\n/* int\n# b\n(id int -> a.root ::=",
    "# a\nid int\nid int\n# a\nid text",
]


@pytest.mark.parametrize("prompt", HOSTILE)
def test_names_that_look_like_grammar_are_names(prompt: str) -> None:
    assert lets("SELECT count(*) FROM " + ('"a""b"' if '"' in prompt else "a"), prompt)
    assert not lets("SELECT count(*) FROM root", prompt) and not lets("root", prompt)


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "Answer.",
        "# a",
        "x int",
        "# a\n" + "".join(f"c{n} int\n" for n in range(65)),
        "".join(f"# t{n}\nid int\n" for n in range(5)),
        "# a\n" + "a int -> " + "x." * 20_000,
        "# a\nb int\n" * 400_000,
    ],
)
def test_without_tables_or_with_too_many_the_answer_is_free(prompt: str) -> None:
    assert of([{"role": "system", "content": prompt}]) == ""


def test_a_hostile_prompt_keeps_nobody_waiting() -> None:
    for line in ("# " + "x" * 30_000, "a int: " + "x" * 30_000, "a int -> " + "x." * 15_000, "a int " * 5_000):
        began = time.process_time()
        of([{"role": "system", "content": f"# a\nb int\n{line}"}])
        assert time.process_time() - began < 1


def test_only_the_system_message_names_tables() -> None:
    parts = [{"type": "text", "text": SHOP}]
    assert of([{"role": "developer", "content": parts}]) == of([{"role": "system", "content": SHOP}]) != ""
    assert of([{"role": "user", "content": SHOP}, {"role": "assistant", "content": None}]) == ""


def test_the_server_holds_a_version_s_answers_to_the_grammar_of_their_own_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path))
    version = facts(fake_base(), "sql", prompt="Write SQL.", decoding=load("sql", {}).decoding)
    asked = {"messages": [{"role": "system", "content": SHOP}, {"role": "user", "content": "How many orders?"}]}
    sent = complete(asked | {"stop": ["FROM"]}, "x", version)
    assert sent["structured_outputs"] == {"grammar": of(asked["messages"])} == version.decoding.form(asked["messages"])
    assert "stop" not in sent and "grammar" not in sent
    assert "structured_outputs" not in complete({"messages": asked["messages"][1:]}, "x", version)
    assert "structured_outputs" not in complete({"prompt": "SELECT"}, "x", version)


def test_a_recipe_s_grammar_can_be_taken_away_and_none_but_ours_be_named() -> None:
    assert load("sql", {}).decoding.held == "grammar"
    assert (
        load("sql", {"decoding.grammar": ""}).decoding.held == load("sums", {"decoding.regex": ""}).decoding.held == ""
    )
    with pytest.raises(ValueError, match="there is no grammar 'sqll'; did you mean sql"):
        Decoding(grammar="sqll")
    with pytest.raises(InputError, match="regex and grammar are two forms: give one of them"):
        load("sql", {"decoding.regex": "a+"})
