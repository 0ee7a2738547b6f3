"""What a caller may read, as a file says it: in what runs, and in what the model is shown."""

from pathlib import Path

import pytest

from factory.errors import InputError
from factory.sql.ask import Source, source

RIGHTS = """tables:
  customers: [id, city]
  orders:
rows:
  orders: customer_id = '<current_user>' AND ordered < 'next month'
"""


def of(folder: Path, text: str, user: str = "3") -> Source:
    (file := folder / "rights.yaml").write_text(text)
    return source("sql", "shop", may=file, user=user)


def test_only_rows_that_pass_are_read_and_shown(tmp_path: Path) -> None:
    mine = of(tmp_path, RIGHTS)
    found = mine.run("SELECT DISTINCT customer_id FROM orders").result
    assert found and found.rows == [(3,)], "the table stands under a condition that no query can take away"
    every = source("sql", "shop").run("SELECT count(*) FROM orders").result
    own = mine.run("SELECT count(*) FROM orders").result
    assert every and own and own.rows[0][0] < every.rows[0][0]
    for hidden in ("SELECT name FROM customers", "SELECT id FROM products", "SELECT * FROM products"):
        assert mine.run(hidden).refused, hidden
    assert mine.run("SELECT id, city FROM customers").result


def test_the_model_sees_nothing_of_what_its_caller_may_not_read(tmp_path: Path) -> None:
    name = source("sql", "shop").run("SELECT name FROM customers WHERE id = 5").result
    assert name
    question = f"Which orders did {name.rows[0][0]} make?"
    told = source("sql", "shop").messages(question)[0]["content"]
    mine = of(tmp_path, RIGHTS).messages(question)[0]["content"]
    assert name.rows[0][0] in told and name.rows[0][0] not in mine
    assert "# products" not in mine and "# orders" in mine
    of_five = of(tmp_path, "rows: {customers: id = 5}").messages(question)[0]["content"]
    others = of(tmp_path, "rows: {customers: id = 6}").messages(question)[0]["content"]
    assert name.rows[0][0] in of_five and name.rows[0][0] not in others


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tables: {custmers: }", "no table custmers; did you mean customers?"),
        ("tables: {customers: [id, nme]}", "customers has no column nme"),
        ("tables: {orders: }\nrows: {customers: id = 3}", "no table customers that may be read"),
        ("rows: {orders: custmer_id = 3}", "custmer_id"),
        ("rows: {orders: 1) UNION SELECT * FROM (orders}", "no condition"),
        ("rows: {orders: id = 1 LIMIT 2}", "invalid"),
        ("tables: {orders: }\nrows: {orders: customer_id IN (SELECT id FROM customers)}", "no condition over"),
        ("rows: {orders: customer_id = '<current_boss>'}", "<current_boss>"),
        ("row: {}", "did you mean rows"),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as told:
        of(tmp_path, text)
    assert said in str(told.value) and "rights.yaml" in str(told.value)
