"""The rows of the three shipped tasks: what the files hold is what the generator makes, and eval is not train."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from factory.base.tiny import identities
from factory.base.tiny.chatter import chatter
from factory.base.tiny.rows import ADAPTERS, files
from factory.base.tiny.summaries import combination
from factory.base.tiny.tickets import LABELS, runs
from factory.base.tiny.world import HELD_CITIES, HELD_FIRST, HELD_LAST

HELD = {*HELD_FIRST, *HELD_LAST, *HELD_CITIES}
Rows = list[dict[str, Any]]


def shipped(task: str) -> tuple[Rows, Rows]:
    train, evaluation = (
        [json.loads(line) for line in (ADAPTERS / task / f"{part}.jsonl").read_text().splitlines()]
        for part in ("train", "eval")
    )
    return train, evaluation


def names_held_out(text: str) -> bool:
    return bool(HELD & set(re.findall(r"[A-Za-z]+", text)))


@pytest.mark.parametrize(
    ("path", "content"), files().items(), ids=lambda x: f"{x.parent.name}-{x.stem}" if isinstance(x, Path) else ""
)
def test_shipped_files_are_what_the_generator_makes(path: Path, content: str) -> None:
    assert path.read_text(encoding="utf-8") == content


@pytest.mark.parametrize("task", ["summary", "identity", "classification"])
def test_train_rows_hold_no_held_out_name(task: str) -> None:
    assert not [row for row in shipped(task)[0] if names_held_out(json.dumps(row))]


def test_summaries_say_what_is_required_and_stands_in_the_message() -> None:
    for row in [r for part in shipped("summary") for r in part]:
        for (fact,) in row["required"]:
            assert fact.lower() in row["document"].lower()
            assert fact.lower() in row["summary"].lower()


def test_summaries_have_the_house_form() -> None:
    for row in [r for part in shipped("summary") for r in part]:
        summary = row["summary"]
        assert len(summary) <= 160 and summary.endswith(".") and summary[0].isupper() | summary[0].isdigit()
        assert len(re.findall(r"\.(?= |$)", summary)) <= 2
        assert all(number in row["document"] for number in re.findall(r"\d[\d:.,]*\d|\d", summary))
        assert summary not in row["document"]


def test_summaries_of_eval_share_no_combination_with_train() -> None:
    train, evaluation = shipped("summary")
    assert not {combination(r) for r in train} & {combination(r) for r in evaluation}
    assert not {r["document"] for r in train} & {r["document"] for r in evaluation}


def test_half_of_the_summaries_of_eval_use_unseen_names() -> None:
    evaluation = shipped("summary")[1]
    unseen = [r for r in evaluation if r["unseen"]]
    assert len(unseen) == len(evaluation) / 2
    assert all(names_held_out(r["summary"]) for r in unseen)
    assert not any(names_held_out(r["document"]) for r in evaluation if not r["unseen"])


def test_summaries_come_in_many_kinds_and_styles() -> None:
    train = shipped("summary")[0]
    assert len({r["kind"] for r in train}) >= 10
    assert len(train) == 6000
    for kind in {r["kind"] for r in train}:
        assert len({len(r["required"]) for r in train if r["kind"] == kind}) >= (1 if kind == "alert" else 2)


def test_identity_eval_is_worded_anew() -> None:
    train, evaluation = shipped("identity")
    assert not {r["prompt"] for r in train} & {r["prompt"] for r in evaluation}
    assert not {identities.worded(r["prompt"]) for r in train} & {identities.worded(r["prompt"]) for r in evaluation}
    assert len(evaluation) == 60 and 8500 <= len(train) <= 10000
    topics = Counter(r["topic"] for r in evaluation)
    assert set(topics) == {"name", "author", "other", "abilities", "kind", "small talk"} and min(topics.values()) >= 5


def test_no_identity_train_row_holds_an_eval_question_within_a_longer_one() -> None:
    train, evaluation = shipped("identity")
    for topic in {r["topic"] for r in evaluation}:
        known = [f" {identities.worded(r['prompt'])} " for r in train if r["topic"] == topic]
        kept = [identities.worded(r["prompt"]) for r in evaluation if r["topic"] == topic]
        assert not [k for k in kept if len(k.split()) > 2 and any(f" {k} " in asked for asked in known)]


def test_identity_completions_hold_what_they_must() -> None:
    for row in [r for part in shipped("identity") for r in part]:
        for wanted in row.get("expect", []):
            assert any(
                w.lower() in row["completion"].lower() for w in ([wanted] if isinstance(wanted, str) else wanted)
            )
        if row["topic"] == "small talk":
            assert "{{" not in row["completion"]


def test_no_identity_question_is_small_talk_too() -> None:
    train, evaluation = shipped("identity")
    small_talk, asked = (
        {identities.worded(r["prompt"]) for r in (*train, *evaluation) if (r["topic"] == "small talk") is small}
        for small in (True, False)
    )
    assert len(small_talk) > 3000 and not small_talk & asked


def test_chatter_hardly_says_the_same_twice_and_is_well_formed() -> None:
    said = chatter(3000, random.Random(1))
    assert said == chatter(3000, random.Random(1)) and len(dict(said)) == 3000
    assert len({identities.worded(sentence) for sentence, _ in said}) > 2700
    assert not [s for s, answer in said if set("{}()|/>") & set(s + answer) or "  " in s or not answer.endswith(".")]


def test_labels_are_balanced_and_named_in_the_prompt() -> None:
    prompt = (ADAPTERS / "classification" / "prompt.md").read_text()
    for part in shipped("classification"):
        counts = Counter(row["label"] for row in part)
        assert set(counts) == set(LABELS) and len(set(counts.values())) == 1
    assert all(label in prompt for label in LABELS)
    assert "other" in LABELS and len(LABELS) >= 12


def test_classification_eval_shares_no_text_with_train() -> None:
    train, evaluation = shipped("classification")
    known = {run for row in train for run in runs(row["text"])}
    assert not [row for row in evaluation if known & set(runs(row["text"]))]
    assert sum(names_held_out(r["text"]) for r in evaluation) > 30
