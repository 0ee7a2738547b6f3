"""The report: one file, nothing from outside, safe with hostile rows; and the ten lines."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.tokenizer import FakeTokenizer

from factory.data import report
from factory.data.build import Built, build
from factory.recipe import Recipe

HOSTILE = "<script>alert(1)</script> <img src=https://example.org/x onerror=alert(2)> {{ 7*7 }} & \"'"


@pytest.fixture
def built(make: Callable[..., Recipe], folder: Path) -> Built:
    things, colours = ["boats", "trees", "clocks", "birds", "lamps", "roads"], ["old", "new", "red"]

    def text(i: int) -> str:
        return f"The {things[i % 6]} of number {i * i} are {colours[i % 3]} {HOSTILE if i % 5 == 3 else ''}"

    rows: list[dict[str, Any]] = [{"text": text(i), "label": things[i % 6]} for i in range(240)]
    rows += [
        {"text": "", "label": "boats"},
        rows[5],
        {"text": rows[7]["text"], "label": "roads"},
        {"text": None, "label": "x"},
    ]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return build(make("classification", max_length=25, fill={"7*7": "49"}), FakeTokenizer(), other_evals={})


def test_the_report_is_one_safe_file(built: Built) -> None:
    path, facts = report.write(built)
    page = path.read_text()
    assert path.parent == built.folder
    assert not re.search(r"<script|<link|@import|url\(", page)
    assert not re.search(
        r"(src|href)\s*=\s*[\"']?(https?:|//)", re.sub(r"&[a-z#0-9]+;", "", page.replace("src=https", ""))
    )
    assert "&lt;script&gt;alert(1)" in page and "{{ 7*7 }}" in page
    for part in (
        *("The funnel", "Lengths", "Balance", "Sources", "What the rows are about", "Rows that are trained on"),
        *("One question, different answers", "Rows that were dropped", "prefers-color-scheme: dark"),
    ):
        assert part in page, part
    json.dumps(facts, allow_nan=False)


def test_the_numbers_agree_with_the_rows(built: Built) -> None:
    facts = report.facts(built)
    assert sum(facts["lengths"]["answer"]["counts"]) == len(built.train)
    assert sum(group["rows"] for group in facts["clusters"]["groups"]) == len(built.train)
    assert sum(entry["train"] for entry in facts["balance"]) == len(built.train)
    assert sum(entry["eval"] for entry in facts["balance"]) == len(built.eval)
    assert facts["sources"][0]["trained"] == len(built.train)
    assert facts["lengths"]["total"]["over_limit"] == sum(sum(row.tokens) > 25 for row in built.train)
    assert {row["step"] for row in facts["samples"]["dropped"]} >= {"read", "rules", "exact"}
    assert facts["conflicts"]["count"] == 1
    assert {word for group in facts["clusters"]["groups"] for word in group["words"]} >= {"boats", "clocks"}


def test_the_lines_for_the_terminal(built: Built) -> None:
    told = report.lines(built, Path("report.html"))
    assert 8 <= len(told) <= 14
    n = [len(rows) for rows in (built.train, built.tune, built.eval, built.dropped())]
    assert told[0].startswith(
        "trial: {} rows to train on, {} to tune on, {} to grade on; {} dropped of 244 read".format(*n)
    )
    assert any("1 the answer is empty" in line or "1 a question is empty" in line for line in told)
    assert told[-2] == "  report: report.html"
    assert told[-1].startswith("  next: mend ") and told[-1].endswith("train.jsonl:244: text is null, not text")


def test_a_handful_of_rows_has_a_report_too(make: Callable[..., Recipe], folder: Path) -> None:
    (folder / "train.jsonl").write_text("".join(f'{{"prompt": "q{i}", "completion": "a{i}"}}\n' for i in range(4)))
    small = build(make(eval_share=0.3), FakeTokenizer(), other_evals={})
    path, facts = report.write(small)
    assert facts["clusters"]["groups"] == [] and "What the rows are about" not in path.read_text()
