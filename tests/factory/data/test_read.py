"""Bytes to records: every encoding and container, and every fault as one dropped row with its place."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factory.data import read
from factory.data.load import Read, load
from factory.data.rows import Dropped, Row
from factory.errors import InputError
from factory.recipe import Data

ROW = {"prompt": "Où est la gare ?", "completion": "Là-bas."}
LINE = json.dumps(ROW, ensure_ascii=False)


def rows_of(path: Path, **settings: Any) -> tuple[list[Row], list[Dropped]]:
    dropped: list[Dropped] = []
    info: list[Read] = []
    rows = list(load(str(path), Data.model_validate(settings), path.parent, "data.train", dropped, info))
    assert info[0].rows == len(rows) + len(dropped)
    return rows, dropped


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "array.json", "rows.csv", "rows.jsonl.gz"])
def test_encodings_and_line_ends(tmp_path: Path, encoding: str, newline: str, name: str) -> None:
    text = {
        "rows.csv": newline.join(["prompt,completion", "Où est la gare ?,Là-bas.", ""]),
        "array.json": newline.join(["[", LINE, ",", LINE, "]"]),
    }.get(name, newline.join([LINE, "", LINE, ""]))
    path = tmp_path / name
    data = text.encode(encoding)
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    rows, dropped = rows_of(path)
    assert not dropped
    assert {(row.source, row.answer) for row in rows} == {("Où est la gare ?", "Là-bas.")}


def test_a_declared_encoding(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(json.dumps({"prompt": "城市", "completion": "上海"}, ensure_ascii=False).encode("gb18030"))
    rows, _ = rows_of(path, encoding="gb18030")
    assert rows[0].answer == "上海"
    with pytest.raises(
        InputError, match=r"line 1: byte 0xB3 is not of the file's encoding \(another one is declared by data"
    ):
        rows_of(path)
    with pytest.raises(InputError, match="unknown encoding 'gb1803'"):
        rows_of(path, encoding="gb1803")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"prompt": "a", "completion": "\xff"}', "byte 0xFF is not of the file's encoding"),
        (b'{"prompt": "a", "completion": "\\ud800"}', "a lone surrogate is no character"),
        (b'{"prompt": "a", "completion": "b"', "is not JSON: Expecting ',' delimiter"),
        (b'{"prompt": "a", "completion": null}', "completion is null, not text"),
        (b'{"prompt": "a", "completion": 7}', "completion is a number, not text"),
        (b'{"prompt": ["a"], "completion": "b"}', "prompt has text where a message belongs"),
        (b'{"prompt": "a"}', "its keys (prompt) are of no known format"),
        (b"[1, 2]", "is a list, not an object"),
        (b"null", "is null, not an object"),
        (b'"text"', "is text, not an object"),
        (b'{"prompt": "a", "completion": NaN}', "NaN is not JSON"),
        (b'{"prompt": "a", "completion": "b"} trailing', "is not JSON: more after the value's end"),
        (b"[" * 100_000, "is nested too deeply to be a row"),
        (
            b'{"prompt": "a", "completion": "b", "x": ' + b"[" * 900 + b"]" * 900 + b"}",
            "is nested too deeply to be a row",
        ),
        (b"\x00\x00\x00", "is not JSON"),
    ],
)
def test_a_faulty_line_is_one_dropped_row(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "rows.jsonl"
    good = b'{"prompt": "x", "completion": "y"}'
    path.write_bytes(good + b"\n" + line + b"\n" + good + b"\n")
    rows, dropped = rows_of(path)
    assert [row.line for row in rows] == [1, 3]
    assert (dropped[0].line, dropped[0].step) == (2, "read")
    assert dropped[0].reason.startswith(reason)
    with pytest.raises(InputError, match=r"rows.jsonl:2: "):
        rows_of(path, strict=True)


def test_strict_lists_all_faults_at_once(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "x", "completion": "y"}\n' + "{\n" * 30)
    with pytest.raises(InputError) as error:
        rows_of(path, strict=True)
    assert len(error.value.problems) == 21 and "10 rows more" in str(error.value)


def test_a_fifty_megabyte_line_is_one_dropped_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    good = b'{"prompt": "x", "completion": "y"}\n'
    path.write_bytes(good + b'{"prompt": "' + b"a" * 50_000_000 + b'", "completion": "b"}\n' + good)
    rows, dropped = rows_of(path)
    assert [row.line for row in rows] == [1, 3]
    assert dropped[0].reason == "the line is longer than 10,000,000 characters" and len(dropped[0].text) <= 2001


def test_a_row_of_a_document_or_a_table_may_not_be_longer_either(tmp_path: Path) -> None:
    long = "a" * 10_000_001
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([{"prompt": long, "completion": "b"}, {"prompt": "x", "completion": "y"}]))
    rows, dropped = rows_of(path)
    assert len(rows) == 1 and dropped[0].reason == "is longer than 10,000,000 characters"
    path = tmp_path / "rows.csv"
    path.write_text(f"prompt,completion\n{long},b\nx,y\n")
    rows, dropped = rows_of(path)
    assert [row.line for row in rows] == [3]
    assert dropped[0].reason == "a field is longer than 10,000,000 characters, or its quote is never closed"


GRAMMAR_TAKES = [
    '{"a":1e999}', '{"a":-0}', '{"a":1E-2}', '{"a":' + "9" * 5000 + "}", '{"a":"\\u0000\\/"}', '{"a":"\u2028"}',
    ' \t{ "a" : [ ] }\r', '{"a":"\\ud83d\\ude00"}', '{"a":1,"a":2}', '{"":0}', '{"a":"\x7f"}',
    '{"a":' + "[" * 400 + "]" * 400 + "}",
]  # fmt: skip
GRAMMAR_REFUSES = [
    '{"a":NaN}', '{"a":Infinity}', '{"a":-Infinity}', '{"a":01}', '{"a":1.}', '{"a":.5}', '{"a":+1}', "{'a':1}",
    '{"a":1,}', '{"a":"\t"}', '{"a":"\\x41"}', '{"a":"\\u12"}', '{a:1}', '{"a":1}//', '{"a":true false}', '{"a" 1}',
    '{"a":TRUE}', "\ufeff\ufeff{}", '{"a":0x1}', '{"a":[1,]}', '\u00a0{"a":1}', '{"a":"b}',
]  # fmt: skip


@pytest.mark.parametrize("text", GRAMMAR_TAKES)
def test_what_the_json_grammar_takes_is_taken(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(text, encoding="utf-8")
    (record,) = read.records(str(path))
    assert record.value is not None and not record.fault
    json.dumps(record.value, allow_nan=False)


@pytest.mark.parametrize("text", GRAMMAR_REFUSES)
def test_what_the_json_grammar_refuses_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(text, encoding="utf-8")
    (record,) = read.records(str(path))
    assert record.value is None and record.fault


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"prompt": "a", "completion": "b"},\n]', "rows.json:2: is not JSON: Expecting value"),
        ('[{"prompt": "a", "completion": "b"}\n{}]', "rows.json:2: is not JSON: a comma or the array's end is missing"),
        ('[{"prompt": "a", "completion": "b"}', "rows.json:1: the array is never closed"),
        ('[{"prompt": "a", "completion": "b"}] x', "there is more after the array's end"),
        ('{"prompt": "a",', "rows.json:1: is not JSON"),
        ("", "holds no rows"),
        ("[]", "holds no rows"),
        ('{"data": []}', "its keys \\(data\\) are of no known format"),
    ],
)
def test_a_broken_document_is_an_error_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        rows_of(path)


def test_an_undecodable_byte_in_an_array_costs_its_row_alone(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(b'[\n{"prompt": "a", "completion": "b"},\n{"prompt": "a\xff", "completion": "b"}\n]')
    rows, dropped = rows_of(path)
    assert (len(rows), dropped[0].line) == (1, 3)


def test_tables_lose_only_the_broken_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('text,label\na,x\n"never closed,y\nb,z\nc\nd,e,f\n"q"uote,x\n"ok\n1",x\n')
    rows, dropped = rows_of(path)
    assert [(row.source, row.line) for row in rows] == [("a", 2), ("b", 4), ("ok\n1", 8)]
    assert [(d.line, d.reason.split(":")[0]) for d in dropped] == [
        (3, "the quotes do not match"),
        (5, "1 fields where the header has 2"),
        (6, "3 fields where the header has 2"),
        (7, "the quotes do not match"),
    ]


def test_semicolons_where_there_is_no_comma(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text;label\nein Text, mit Komma;x\n")
    assert rows_of(path)[0][0].source == "ein Text, mit Komma"


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    when = pa.array([1, 2], pa.timestamp("s"))
    turns = [[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], None]
    pq.write_table(pa.table({"messages": turns, "when": when, "score": [float("nan"), 1.5]}), path)
    rows, dropped = rows_of(path)
    assert rows[0].answer == "b" and rows[0].meta == {"when": "1970-01-01 00:00:01", "score": None}
    assert dropped[0].line == 2 and dropped[0].reason == "messages is null, not a list"
    compressed = tmp_path / "rows.parquet.gz"
    compressed.write_bytes(gzip.compress(path.read_bytes()))
    assert len(rows_of(compressed)[0]) == 1
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"rows.parquet: is not a Parquet file that can be read"):
        rows_of(path)


def test_damaged_and_missing_files(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(LINE.encode() * 500)[:-30])
    with pytest.raises(InputError, match="the gzip file is cut off or damaged"):
        rows_of(path)
    path.write_bytes(b"not gzip")
    with pytest.raises(InputError, match="the gzip file is cut off or damaged"):
        rows_of(path)
    with pytest.raises(InputError, match=r"none.jsonl: data.train: no such file"):
        rows_of(tmp_path / "none.jsonl")
    (tmp_path / "rows.doc").write_text("x")
    with pytest.raises(InputError, match=r"unknown kind of file; known: .json"):
        rows_of(tmp_path / "rows.doc")


def test_several_files_globs_and_order(tmp_path: Path) -> None:
    for name in ("b1", "b2", "a"):
        (tmp_path / f"{name}.jsonl").write_text(LINE)
    found = read.find(["b*.jsonl", "a.jsonl", "b1.jsonl"], tmp_path, "data.train")
    assert [Path(name).name for name in found] == ["b1.jsonl", "b2.jsonl", "a.jsonl"]
    with pytest.raises(InputError, match=r"several files: data.train=\[a.jsonl,b1.jsonl\]"):
        read.find("a.jsonl,b1.jsonl", tmp_path, "data.train")


def test_a_hub_data_set_that_cannot_be_had_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def fail(name: str, split: str) -> Any:
        raise ConnectionError(f"Couldn't reach {name!r} on the Hub\nand a long trace")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(InputError) as error:
        list(read.records("hub:nobody/nothing"))
    assert str(error.value) == (
        "hub:nobody/nothing: data.train: the Hub data set cannot be had: Couldn't reach 'nobody/nothing' on the Hub"
    )


def test_a_hub_data_set_gives_labels_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    held = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    monkeypatch.setattr(datasets, "load_dataset", lambda name, split: held)
    assert [r.value for r in read.records("hub:some/thing:test")] == [
        {"text": "a", "label": "yes"},
        {"text": "b", "label": "no"},
    ]
