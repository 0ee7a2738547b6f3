"""What would be wrong without a word, planted: the report warns of it, and ends with what settles it."""

from __future__ import annotations

import random
from typing import Any

import pytest
from data_support import LABELS, THINGS, Try, lines

DRAW = random.Random(3)
MANY = [" ".join(DRAW.sample(THINGS, 9)) for _ in range(130)]  # rows enough, of which no two share much
SORTED = [{"text": text, "label": LABELS[i % 3]} for i, text in enumerate(MANY)]
EXAM = [{"text": " ".join(DRAW.sample(THINGS, 9)), "label": LABELS[i % 3]} for i in range(9)]
ASKED = [{"prompt": text, "completion": f"Answer {i} it is."} for i, text in enumerate(MANY)]
SETTINGS = ["train.max_length=512", "data.near=0.7", "decoding.max_tokens=16"]
LONG = [{"prompt": " ".join(MANY[i : i + 5]), "completion": MANY[i]} for i in range(0, 125, 5)]


def with_last(row: dict[str, Any], rows: list[dict[str, Any]] = SORTED) -> list[dict[str, Any]]:
    return [*rows, row]


@pytest.mark.parametrize(
    ("rows", "exam", "warns", "settles"),
    [
        ([{"text": r["text"], "label": LABELS.index(r["label"])} for r in SORTED], None,
         "note: the labels are numbers (0, 1, 2), and numbers will be the answers", "add a column label_text"),
        (SORTED, [*EXAM, {"text": "a lonely question", "label": "refund"}],
         "note: labels without a training row: refund", "write rows with the label 'refund' into the training file"),
        (with_last({"text": "a lonely question", "label": "refund"}), EXAM,
         "note: labels without an eval row: refund", "write rows with the label 'refund' into the eval file"),
        (with_last(SORTED[4]), EXAM, "131 rows, label, 1 to the letter twice", "write more"),
        (with_last({"text": EXAM[2]["text"], "label": EXAM[2]["label"]}), EXAM,
         "1 eval row of x stood in train; none does now", "write more"),
        (with_last({"text": SORTED[5]["text"], "label": "billing"}), EXAM,
         "same question, different answers: 1, kept; see the report", "keep one of mine.jsonl:6 and mine.jsonl:131"),
        (with_last({"text": "what is it", "label": None}), EXAM, "label is null, not text",
         "mend mine.jsonl:131: label is null, not text"),
        ([{**row, "note": "seen"} for row in SORTED], EXAM, "kept beside them for checks, not trained on: note",
         "write more"),
        (SORTED[:30], EXAM, "note: below 40 rows none are kept to tune on", "write more rows"),
        (SORTED[:60], EXAM, "rows to tune on: what early stopping or a sweep chooses by them is partly luck", "write"),
    ],
)  # fmt: skip
def test_a_classifications_rows(
    attempt: Try, rows: list[Any], exam: list[Any] | None, warns: str, settles: str
) -> None:
    told = attempt("mine.jsonl", lines(rows), exam=lines(exam) if exam else "")
    where = "adapters/x/"
    assert told.code == 0 and warns in told.out.replace(where, ""), told.out + told.err
    assert told.next.replace(where, "").startswith(settles) and bool(settles) == bool(told.next), told.next


@pytest.mark.parametrize(
    ("rows", "warns", "settles"),
    [
        ([{**row, "completion": "I'm sorry, but I can't help with that."} if i % 5 == 0 else row
          for i, row in enumerate(ASKED)], "26 the answer refuses", "data.refusals=true"),
        ([*ASKED, *LONG, *({**row, "prompt": f"{row['prompt']} {THINGS[n % 18]}"} for n, row in enumerate(2 * LONG))],
         "nearly the same as an earlier row", "data.near=0"),
        ([{"messages": [{"role": "user", "content": row["prompt"]},
                        {"role": "assistant", "content": row["completion"], "reasoning_content": "Well."}]}
          for row in ASKED], "note: not trained on: reasoning_content of a turn", "data.reasoning=true has thoughts"),
        ([{**row, "completion": f"Answer {i}: {MANY[i]}."} for i, row in enumerate(ASKED)],
         "answers are longer than decoding.max_tokens=16: the adapter's break off", "decoding.max_tokens="),
        ([{"prompt": " ".join(DRAW.sample(THINGS, 9)), "completion": f"Say {i}."} for i in range(270)],
         "rows to tune on: what early stopping or a sweep chooses by them is partly luck", "data.tune_share="),
        ([{**row, "completion": "long " + " ".join(f"word{n}" for n in range(400))} if i == 7 else row
          for i, row in enumerate(ASKED)], "takes them all", "train.max_length="),
    ],
)  # fmt: skip
def test_a_general_tasks_rows(attempt: Try, rows: list[Any], warns: str, settles: str) -> None:
    told = attempt("mine.jsonl", lines(rows), *SETTINGS, kind="general")
    assert told.code == 0 and warns in told.out and told.next.startswith(settles), told.out + told.err
    option = told.next.split()[0]
    others = (word for word in SETTINGS if word.partition("=")[0] != option.partition("=")[0])
    settled = attempt("mine.jsonl", lines(rows), *others, option)
    assert settled.code == 0 and warns not in settled.out, settled.out + settled.err


def test_a_label_outside_the_recipes(attempt: Try) -> None:
    told = attempt("mine.jsonl", lines(with_last({"text": "a lonely question", "label": "refund"})),
                   "labels=[delivery,billing,None]")  # fmt: skip
    assert told.code == 0 and "1 the label is outside the set" in told.out, told.out + told.err
    assert told.next == "add the label to the labels in adapters/x/recipe.yaml, or mend adapters/x/mine.jsonl:131"
