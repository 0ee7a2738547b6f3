"""200 inputs made around people's own files: whatever their header, delimiter, encoding, labels and turns, the data
step reads them or says in one line what to do, and every row is a training row, an eval row or a dropped one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.tokenizer import FakeTokenizer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factory.data.build import build
from factory.data.columns import LAYOUTS
from factory.data.report import lines
from factory.errors import InputError
from factory.recipe import Recipe

RUN = settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
PIECES = st.sampled_from(
    [*"abc,;|\t\"'-5+*(){}[]", "\u200b", "\u00a0", "é", "e\u0301", "लड़का", "第三号", "สวัสดี", "مرحبا", "😍", "😡",
     "\n", " ", "<|im_end|>", "<|im_start|>user\n", "### Human: ", "[INST]", "{{x}}", "sep=;", "I cannot help.", "late"]
)  # fmt: skip
TEXTS = st.lists(PIECES, min_size=1, max_size=12).map("".join)
NAMES = {ours: names for layout in reversed(LAYOUTS) for ours, names in layout.items()}
ASKED, SAID = (
    [n for o in ours for n in NAMES[o] if n.isalnum()] for ours in (("text", "prompt"), ("label", "completion"))
)
SPELLINGS: list[Callable[[str], str]] = [
    str,
    str.upper,
    str.title,
    lambda name: f" {name} ",
    lambda name: f"\ufeff{name}",
]
USUAL = st.sampled_from(["billing", "delivery"])
built_of: list[str] = []


def accounted(make: Callable[..., Recipe], folder: Path, kind: str, **data: Any) -> None:
    """Build from the file there is. What is refused is refused in lines that say something; nothing else may happen."""
    try:
        built = build(make(kind, eval_share=0.2, fill={"x": "y"}, **data), FakeTokenizer(), other_evals={})
    except InputError as error:
        assert error.problems and all(problem.message and "\n" not in problem.message for problem in error.problems)
        assert not [*(folder.parent / "home").glob("data/.*")]
        return
    built_of.append(kind)
    m = built.manifest
    assert m["rows"]["train"] + m["rows"]["eval"] + m["rows"]["dropped"] == m["funnel"][0]["in"]
    assert len(built.dropped()) == m["rows"]["dropped"] and all(lost.reason for lost in built.dropped())
    assert all("\n" not in line for line in lines(built, built.folder))
    for row in (*built.train, *built.eval):
        assert row.answer.strip() and all(set(turn) == {"role", "content"} for turn in row.messages)
        assert kind != "classification" or row.answer == row.meta["label"] == row.answer.strip()


@RUN
@given(
    names=st.tuples(st.sampled_from(ASKED), st.sampled_from(SAID)),
    spelt=st.sampled_from(SPELLINGS),
    cells=st.lists(st.tuples(TEXTS, st.one_of(USUAL, USUAL, TEXTS)), min_size=6, max_size=14),
    odd=st.lists(TEXTS, max_size=4),
    quote=st.sampled_from(['"', ""]),
    by=st.sampled_from(",;|\t"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "gb18030", "cp1252"]),
    kind=st.sampled_from(["classification", "general"]),
    fold=st.booleans(),
    end=st.sampled_from(["", ",,", ";;"]),
)
def test_tables(make: Any, folder: Path, names: Any, spelt: Any, cells: Any, odd: list[str], **how: Any) -> None:
    by, quote = how["by"], how["quote"]
    table = [[spelt(name) for name in names], *([f"{quote}{cell}{quote}" for cell in line] for line in cells), odd]
    text = "".join(by.join(line) + how["end"] + "\r\n" for line in table)
    (folder / "train.csv").write_bytes(text.encode(how["encoding"], errors="replace"))
    accounted(make, folder, how["kind"], train="train.csv", labels_fold=how["fold"])


TURNS = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool_call", "tool_response", "human"]), "content": TEXTS},
    optional={"weight": st.sampled_from([0, 1, 0.5, None]), "loss": st.booleans(), "reasoning_content": TEXTS},
)
ANSWERED = st.lists(TURNS, max_size=4).map(lambda turns: [*turns, {"role": "assistant", "content": "It is late."}])
LABELLED = st.one_of(TEXTS, st.integers(0, 3), st.lists(TEXTS, max_size=2), st.floats())
KINDS = (
    st.fixed_dictionaries({"messages": ANSWERED}),
    st.fixed_dictionaries({"conversation": ANSWERED, "id": st.integers()}),
    st.fixed_dictionaries({"text": TEXTS, "label": LABELLED}),
    st.fixed_dictionaries({"question": TEXTS, "answer": st.one_of(TEXTS, st.booleans(), st.integers())},
                          optional={"context": TEXTS, "choices": st.lists(TEXTS)}),
    st.fixed_dictionaries({"chosen": TEXTS, "rejected": TEXTS}, optional={"prompt": TEXTS}),
)  # fmt: skip


@RUN
@given(rows=st.one_of(*(st.lists(rows, min_size=3, max_size=10) for rows in KINDS)),
       kind=st.sampled_from(["classification", "general"]), wrap=st.booleans(),
       learn=st.sampled_from(["last", "all"]))  # fmt: skip
def test_rows(make: Any, folder: Path, rows: list[Any], kind: str, wrap: bool, learn: str) -> None:
    path = folder / ("train.json" if wrap else "train.jsonl")
    text = json.dumps({"v": 1, "data": rows}) if wrap else "".join(json.dumps(row) + "\n" for row in rows)
    path.write_text(text)
    accounted(make, folder, kind, train=path.name, learn=learn)


def test_many_of_them_were_read() -> None:
    if not built_of:
        pytest.skip("alone it has nothing to count")
    print(f"{len(built_of)} of 200 inputs became data sets")
    assert len(built_of) >= 30 and len({*built_of}) == 2
