"""People's own files through the command line: what is read from each, or the one line that says what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from data_support import LABELS, ROWS, THINGS, Try, lines, said, table

INSTRUCTION = (
    "You are an experienced support agent of an online shop. Read the customer message below with care and decide "
    "which of the following categories describes it best. Do not invent another category and do not explain it. "
    "billing means invoices and payments, delivery means parcels, account means profiles and passwords."
)


@pytest.mark.parametrize(
    ("name", "content", "note"),
    [
        ("case.csv", table("Text,Label"), ""),
        ("space.csv", table(" text , LABEL "), ""),
        ("chinese.csv", table("\ufeff内容,标签"), ""),
        ("german.csv", table("Text;Kategorie", by=";"), ""),
        ("pipe.csv", table("text|label", by="|"), ""),
        ("tab.csv", table("text\tlabel", by="\t"), ""),
        ("comma.tsv", table("text,label"), ""),
        ("sep.csv", table("\ufeffsep=;\ntext;label", by=";"), ""),
        ("trailing.csv", table("text,label", end=",,"), "columns without a name at the end of the header are left out"),
        ("index.csv", ",text,label\n" + "".join(f"{i},{t},{n}\n" for i, (t, n) in enumerate(ROWS)), "'column 1'"),
        ("hub.jsonl", lines([{"sentence": t, "labels": n} for t, n in ROWS]), ""),
        ("setfit.jsonl", lines([{"text": t, "label": LABELS.index(n), "label_text": n} for t, n in ROWS]), ""),
        (
            "wrapped.json",
            json.dumps({"version": "1", "data": [{"text": t, "label": n} for t, n in ROWS]}),
            "is one object: the 18 rows under its 'data' are read",
        ),
    ],
)
def test_labelled_rows_are_read_however_they_come(attempt: Try, name: str, content: str, note: str) -> None:
    told = attempt(name, content)
    built = told.built()
    assert built.manifest["rows"]["dropped"] == 0 and len(built.train) + len(built.eval) == 18
    assert {row.source: row.answer for row in (*built.train, *built.eval)} == dict(ROWS)
    assert note in told.out


def test_a_header_with_a_comma_in_it_is_named_by_the_option_to_type(attempt: Try) -> None:
    content = table('"text, as written";label', [(f'"{t}, please"', n) for t, n in ROWS], by=";")
    told = attempt("odd.csv", content)
    assert told.code == 2 and "'data.columns.text=text, as written' data.columns.label=label" in told.err
    built = attempt("odd.csv", content, "data.columns.text=text, as written", "data.columns.label=label").built()
    assert len(built.train) + len(built.eval) == 18


@pytest.mark.parametrize("encoding", ["gbk", "cp1252"])
def test_the_encoding_that_fits_is_named(attempt: Try, encoding: str) -> None:
    words = "第{}号快递还没有到" if encoding == "gbk" else "Größe {} fällt für Käufer übel aus, schön wäre Ärger los"
    content = table("text,label", [(words.format(i) + said(i), n) for i, (_, n) in enumerate(ROWS)]).encode(encoding)
    told = attempt("excel.csv", content.replace(b", ", b" "))
    assert told.code == 2 and "data.encoding=" in told.err
    option = next(word for word in told.err.split() if word.startswith("data.encoding=") and word != "data.encoding)")
    built = attempt("excel.csv", content.replace(b", ", b" "), option).built()
    assert any(words.format(3).replace(", ", " ") in row.source for row in (*built.train, *built.eval))


def test_some_rows_in_another_encoding_are_warned_of_with_what_settles_it(attempt: Try) -> None:
    content = table("text,label").encode() + "Größe für Käufer übel schöne Grüße,billing\n".encode("cp1252")
    told = attempt("mixed.csv", content)
    assert "not UTF-8 in 1 rows" in told.out and told.next.startswith("data.encoding=")


@pytest.mark.parametrize(
    ("spellings", "shown"),
    [
        (["Billing", "billing", "BILLING"], "'Billing' (6 rows), 'billing' (6 rows), 'BILLING' (6 rows)"),
        (["paid", "paid\u200b", "other"], r"'paid' (6 rows), 'paid\u200b' (6 rows)"),
        (["not paid", "not\u00a0paid", "paid"], r"'not paid' (6 rows), 'not\xa0paid' (6 rows)"),
        (["Café", "Cafe\u0301", "Bar"], r"'Café' (6 rows), 'Cafe\u0301' (6 rows)"),
        (["ＯＫ", "OK", "no"], "'ＯＫ' (6 rows), 'OK' (6 rows)"),
    ],
)
def test_labels_that_look_alike_are_refused_or_made_one(attempt: Try, spellings: list[str], shown: str) -> None:
    content = table("text,label", [(text, spellings[i % 3]) for i, (text, _) in enumerate(ROWS)])
    told = attempt("alike.csv", content)
    assert told.code == 2 and f"labels that look alike: {shown}" in told.err and "data.labels_fold=true" in told.err
    built = attempt("alike.csv", content, "data.labels_fold=true").built()
    assert len(built.manifest["labels"]) == len({s for s in spellings}) - shown.count("rows") + 1
    assert all(row.answer == row.meta["label"] for row in (*built.train, *built.eval))


def test_a_recipes_labels_decide_the_spelling(attempt: Try, own_project: Path) -> None:
    content = table("text,label", [(text, f"{label.upper()} ") for text, label in ROWS])
    attempt("upper.csv", content)
    recipe = own_project / "adapters" / "x" / "recipe.yaml"
    recipe.write_text(f"{recipe.read_text()}labels: [delivery, billing, None]\n")
    assert "'billing' (0 rows), 'BILLING' (6 rows)" in attempt("upper.csv", content).err
    built = attempt("upper.csv", content, "data.labels_fold=true").built()
    assert {row.answer for row in (*built.train, *built.eval)} == {"delivery", "billing", "None"}
    recipe.write_text(recipe.read_text().replace("billing", "paid, 'paid\u200b'"))
    told = attempt("upper.csv", content)
    assert told.code == 2 and r"labels: these labels look the same: 'paid', 'paid\u200b'" in told.err


def test_several_labels_in_a_row_are_for_a_general_task(attempt: Try, own_project: Path) -> None:
    content = lines([{"text": t, "label": [n, "urgent"] if i % 2 else [n]} for i, (t, n) in enumerate(ROWS)])
    told = attempt("multi.jsonl", content)
    assert told.code == 2 and "multi.jsonl:2: data.train: has several labels" in told.err
    assert "factory new task=… kind=general" in told.err
    recipe = own_project / "adapters" / "x" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("kind: classification", "kind: general"))
    built = attempt("multi.jsonl", content).built()
    assert "billing, urgent" in {row.answer for row in (*built.train, *built.eval)}


def test_emoji_signs_marks_and_brackets_tell_rows_apart(attempt: Try) -> None:
    smile = [
        ("the pizza", "😍", "😡", "😐"),
        ("my new phone", "🔥", "💀", "😤"),
        ("", "👍", "👎", "🤷"),
        ("Monday", "🎉", "😭", "🥳"),
    ]
    rows = [
        {"text": f"{t} {e}".strip(), "label": n}
        for t, *es in smile
        for e, n in zip(es[:2], ("pos", "neg"), strict=True)
    ]
    exam = [{"text": f"{t} {es[2]}".strip(), "label": "pos"} for t, *es in smile]
    assert attempt("emoji.jsonl", lines(rows), exam=lines(exam)).built().manifest["rows"]["dropped"] == 0


@pytest.mark.parametrize(
    ("rows", "exam"),
    [
        (
            [("What is -7 plus 10?", "3"), ("Is -5 odd?", "yes"), ("Is 5 odd?", "yes"), ("Compute 2*(3+4)", "14"),
             ("Compute 2+3*4", "14"), ("type of [] in Python?", "list"), ("type of {} in Python?", "dict"),
             ("type of () in Python?", "tuple"), ("Convert -40 F to C", "-40"), ("Is -3 > 2?", "no"),
             ("What is 8 - 3?", "5"), ("a[1:]", "tail"), ("a[:1]", "head"), ("x != y", "other"), ("x == y", "same"),
             ("snake_case", "one")],
            [("What is 7 plus 10?", "17"), ("Convert 40 F to C", "4.4"), ("Is 3 > 2?", "yes"), ("Compute 2*3+4", "10"),
             ("What is 8 3?", "?"), ("x = y", "set"), ("snake case", "two")],
        ),
        (
            [("लड़का आया", "हाँ"), ("लड़की आई", "हाँ"), ("माल आया", "हाँ"), ("मील आया", "हाँ"), ("मेला आया", "हाँ"),
             ("मूल आया", "हाँ"), ("नाक दिखाओ", "ठीक है"), ("नौका दिखाओ", "ठीक है"), ("पिता आए", "हाँ"), ("पीता आए", "हाँ")],
            [("लड़के आए", "हाँ"), ("नेक दिखाओ", "ठीक है"), ("पत्ता आए", "हाँ")],
        ),
    ],
)  # fmt: skip
def test_nothing_is_the_same_that_is_not(attempt: Try, rows: list[Any], exam: list[Any]) -> None:
    made = [lines([{"prompt": q, "completion": a} for q, a in part]) for part in (rows, exam)]
    m = attempt("apart.jsonl", made[0], kind="general", exam=made[1]).built().manifest
    assert m["rows"]["dropped"] == 0 and m["conflicts"]["count"] == 0 and not m["leaks"]


def test_an_instruction_that_all_rows_share_is_left_out_of_comparisons(attempt: Try) -> None:
    inputs = ["I was charged twice", "The parcel is late", "I forgot my password", "Where is the invoice",
              "The box broke", "Change my name", "A fee I do not know", "It went to the neighbour",
              "Delete my profile", "Refund me now", "The courier never rang", "My mail is wrong"]  # fmt: skip
    answers = ["billing", "delivery", "account"]
    rows = [{"instruction": INSTRUCTION, "input": t, "output": answers[i % 3]} for i, t in enumerate(inputs)]
    built = attempt("alpaca.jsonl", lines(rows[:9]), kind="general", exam=lines(rows[9:])).built()
    assert built.manifest["rows"] == {"train": 9, "replay": 0, "tune": 0, "eval": 3, "split": 0, "dropped": 0}
    built = attempt("alpaca.jsonl", lines(rows)).built()
    assert built.manifest["rows"]["dropped"] == 0 and built.manifest["rows"]["split"] == 1
    copies = [{**row, "input": row["input"].upper() + "!"} for row in rows[:2]]
    assert attempt("alpaca.jsonl", lines([*rows, *copies])).built().manifest["reasons"]["exact"]


def test_text_alone_says_what_it_lacks_and_trains_once_it_has_it(attempt: Try, own_project: Path) -> None:
    content = "\n\n".join(
        f"The {THINGS[i % 18]} of town {i} opens at {i} and closes late, says Ann." for i in range(24)
    )
    told = attempt("plain.txt", content, kind="general")
    assert told.code == 2 and "there is no question before it, and the task has no prompt" in told.err
    assert "write one into prompt.md" in told.err and told.err.count("\n") <= 2
    (own_project / "adapters" / "x" / "prompt.md").write_text("Go on.")
    assert len(attempt("plain.txt", content).built().train) > 10
