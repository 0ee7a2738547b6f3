"""Random bytes, random JSON and mutated rows: never a traceback, and kept + dropped = rows in."""

from __future__ import annotations

import copy
import encodings.aliases
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from data_support import FILL, FIXTURES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factory.data.load import Read, load
from factory.data.read import READERS
from factory.data.rows import Dropped, Row
from factory.errors import InputError
from factory.recipe import Data

RUN = settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
SAMPLES: list[dict[str, Any]] = [
    row
    for path in sorted(FIXTURES.iterdir())
    if path.suffix in (".json", ".jsonl")
    for row in (json.loads(path.read_text()) if path.suffix == ".json" else map(json.loads, path.open()))
]


def consume(path: Path, **changes: Any) -> tuple[list[Row], list[Dropped], Read | None]:
    """Read as far as it goes; an InputError with a message is the only thing that may stop it."""
    dropped: list[Dropped] = []
    info: list[Read] = []
    rows: list[Row] = []
    data = Data.model_validate({"fill": FILL, **changes})
    try:
        for row in load(str(path), data, path.parent, "data.train", dropped, info):
            rows.append(row)
            json.dumps(row.as_json(), allow_nan=False).encode()
    except InputError as error:
        assert str(error) and "\n" not in str(error.problems[0])
    for lost in dropped:
        lost.text.encode()
        assert lost.file and lost.line > 0 and lost.reason
    if info:
        assert info[0].kept == len(rows)
        assert info[0].rows == len(rows) + len(dropped)
    return rows, dropped, info[0] if info else None


@pytest.mark.parametrize("suffix", [*READERS, ".jsonl.gz"])
@RUN
@given(data=st.binary(max_size=400))
def test_random_bytes(tmp_path: Path, suffix: str, data: bytes) -> None:
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(data)
    consume(path)
    path.write_bytes(gzip.compress(data))
    consume(path)


@RUN
@given(
    data=st.binary(max_size=200),
    name=st.sampled_from(sorted({*encodings.aliases.aliases.values(), "utf_16", "idna", "punycode", "undefined"})),
)
def test_random_bytes_in_a_declared_encoding(tmp_path: Path, data: bytes, name: str) -> None:
    for suffix in (".jsonl", ".csv", ".txt"):
        path = tmp_path / f"rows{suffix}"
        path.write_bytes(b'{"prompt": "a", "completion": "b"}\n' + data)
        consume(path, encoding=name)


@RUN
@given(
    values=st.lists(JSON, max_size=6), name=st.sampled_from(["", "alpaca", "messages", "label", "kto", "preference"])
)
def test_random_json(tmp_path: Path, values: list[Any], name: str) -> None:
    lines = [json.dumps(value) for value in values]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(lines))
    _, _, info = consume(path, format=name)
    assert info is not None and info.rows == len(lines)
    array = tmp_path / "rows.json"
    array.write_text(f"[{', '.join(lines)}]")
    consume(array, format=name)


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """A good row in which one value, somewhere, is another one, or a key is gone."""
    row = copy.deepcopy(draw(st.sampled_from(SAMPLES)))
    at: Any = row
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return row
        key = draw(st.sampled_from(keys))
        if isinstance(at[key], dict | list) and draw(st.booleans()):
            at = at[key]
            continue
        if draw(st.booleans()):
            at[key] = draw(JSON)
        else:
            del at[key]
        return row


@RUN
@given(values=st.lists(mutated(), min_size=1, max_size=5), cut=st.integers(0, 40))
def test_mutated_rows(tmp_path: Path, values: list[dict[str, Any]], cut: int) -> None:
    text = "\n".join(json.dumps(value) for value in values)
    text = text[: len(text) - cut]
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    consume(path)
    expected = sum(bool(line.strip(" \t\r")) for line in text.split("\n"))
    for name in ("alpaca", "sharegpt", "messages", "completion", "preference", "kto"):
        _, _, info = consume(path, format=name)
        assert info is None or info.rows == expected


@RUN
@given(
    rows=st.lists(
        st.lists(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="{"), max_size=12),
            min_size=2,
            max_size=2,
        ),
        min_size=1,
    ),
    delimiter=st.sampled_from([",", "\t"]),
)
def test_what_a_table_writer_writes_comes_back(tmp_path: Path, rows: list[list[str]], delimiter: str) -> None:
    import csv

    path = tmp_path / ("rows.csv" if delimiter == "," else "rows.tsv")
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, delimiter=delimiter)
        writer.writerow(["prompt", "completion"])
        writer.writerows(rows)
    kept, dropped, _ = consume(path)
    assert not dropped
    assert [(row.source, row.answer) for row in kept] == [tuple(row) for row in rows]
