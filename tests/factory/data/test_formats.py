"""Every format is told by its keys, and what its rows become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from data_support import FILL, FIXTURES, SHARED, needs_shared

from factory.data.formats import FORMATS, candidates, convert
from factory.data.load import Read, load
from factory.data.rows import Dropped, Row
from factory.data.values import Fault
from factory.errors import InputError
from factory.recipe import Data


def read(path: Path, **settings: Any) -> tuple[list[Row], list[Dropped], Read]:
    dropped: list[Dropped] = []
    info: list[Read] = []
    data = Data.model_validate({"fill": FILL, **settings})
    rows = list(load(str(path), data, path.parent, "data.train", dropped, info))
    return rows, dropped, info[0]


@pytest.mark.parametrize(
    ("file", "name", "kept", "dropped"),
    [
        ("alpaca.json", "alpaca", 3, 0),
        ("sharegpt.json", "sharegpt", 2, 1),
        ("messages.jsonl", "messages", 3, 1),
        ("conversations.jsonl", "conversations", 2, 0),
        ("oasst.jsonl", "oasst", 2, 0),
        ("completion.jsonl", "completion", 2, 0),
        ("label.csv", "label", 3, 0),
        ("label.tsv", "label", 2, 0),
        ("summary.jsonl", "summary", 1, 0),
        ("text.txt", "text", 2, 0),
        ("preference.jsonl", "preference", 2, 0),
        ("preference.json", "preference", 1, 0),
        ("kto.jsonl", "kto", 2, 0),
        ("seeds.jsonl", "seeds", 2, 0),
        ("choice.jsonl", "choice", 2, 0),
        ("sql.jsonl", "sql", 1, 1),
    ],
)
def test_each_fixture_is_recognised(file: str, name: str, kept: int, dropped: int) -> None:
    rows, lost, info = read(FIXTURES / file)
    assert (info.format, len(rows), len(lost)) == (name, kept, dropped)
    assert info.rows == kept + dropped
    assert all(row.answer and row.line for row in rows)


def test_every_format_has_a_fixture() -> None:
    assert {read(path)[2].format for path in FIXTURES.iterdir()} == set(FORMATS)


def test_alpaca_joins_input_and_keeps_history_and_system() -> None:
    rows, _, _ = read(FIXTURES / "alpaca.json")
    assert rows[1].source == "Turn the sentence into a question.\n\nThe shop opens at nine."
    assert [m["role"] for m in rows[2].messages] == ["system", "user", "assistant", "user", "assistant"]
    assert [row.line for row in rows] == [2, 3, 4]


def test_tool_turns_are_kept_as_text() -> None:
    rows, lost, _ = read(FIXTURES / "sharegpt.json")
    system, _, call, found, _ = rows[1].messages
    assert '"name": "track"' in system["content"]
    assert call == {
        "role": "assistant",
        "content": '<tool_call>\n{"name": "track", "arguments": {"parcel": 4471}}\n</tool_call>',
    }
    assert found["role"] == "tool"
    assert lost[0].reason == "ends with a turn of the user, not with an answer"
    assert rows[0].messages[0]["content"] == "Be brief."  # an empty list of tools is none
    openai, images, _ = read(FIXTURES / "messages.jsonl")
    assert openai[2].messages[1]["content"] == (
        '<tool_call>\n{"name": "clock", "arguments": {"place": "tower"}}\n</tool_call>'
    )
    assert openai[1].source == "Name a colour."
    assert images[0].reason == "a part of content is image_url, not text"


def test_placeholders_are_filled_in_messages_and_meta() -> None:
    rows, _, _ = read(FIXTURES / "completion.jsonl")
    assert rows[0].answer == "I am Nova, made by the Adapter Factory."
    assert rows[0].meta == {"expect": ["Nova", "the Adapter Factory"], "topic": "who"}


def test_an_unfilled_placeholder_is_an_error_with_its_place() -> None:
    with pytest.raises(InputError) as error:
        read(FIXTURES / "completion.jsonl", fill={"name": "Nova"})
    assert "completion.jsonl:1: nothing fills the placeholder {{author}}: set data.fill.author=" in str(error.value)
    assert read(FIXTURES / "completion.jsonl", fill={"name": "N", "author": "{{author}}"})[0]


def test_meta_keeps_what_the_checks_need() -> None:
    rows, _, _ = read(FIXTURES / "summary.jsonl")
    assert rows[0].meta == {
        "required": [["Tuesday"], ["8"], ["boiler", "warm water"]],
        "kind": "notice",
        "unseen": False,
    }
    assert read(FIXTURES / "label.csv")[0][0].meta == {"label": "card_arrival"}
    assert [row.meta["desirable"] for row in read(FIXTURES / "kto.jsonl")[0]] == [True, False]
    pair = read(FIXTURES / "preference.json")[0][0]
    assert pair.meta == {"rejected": [*pair.turns, {"role": "assistant", "content": "Pity."}]}


def test_fields_with_line_breaks_and_quotes_stay_whole() -> None:
    rows, _, _ = read(FIXTURES / "label.csv")
    assert [row.source for row in rows] == [
        "My card has not come",
        "I paid twice,\nand only one payment shows",
        'She said "wait", so I wait',
    ]
    assert [row.line for row in rows] == [2, 3, 5]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"instruction": "a", "output": "b", "chosen": "c", "rejected": "d"}, ["alpaca", "preference"]),
        ({"instruction": "a", "chosen": "c", "rejected": "d"}, ["preference"]),
        ({"prompt": "a", "completion": "b", "label": True}, ["kto"]),
        ({"prompt": "a", "completion": "b", "label": 0}, ["kto"]),
        ({"prompt": "a", "completion": "b", "label": "good"}, ["completion"]),
        ({"text": "a", "label": "b", "category": "c"}, ["label"]),
        ({"text": "a", "instruction": "a", "output": "b"}, ["alpaca", "text"]),
        ({"prompt": "a", "messages": []}, ["messages"]),
        ({"title": "a"}, []),
    ],
)
def test_the_most_specific_format_wins_and_the_rest_is_ambiguous(value: dict[str, Any], found: list[str]) -> None:
    assert candidates(value) == found


def test_an_empty_answer_list_is_a_fault() -> None:
    for row in ({"prompt": "a", "chosen": "b", "rejected": []}, {"prompt": "a", "chosen": [], "rejected": "b"}):
        with pytest.raises(Fault, match="is an empty list"):
            list(convert("preference", row))


def said(*texts: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]


def test_of_a_pair_both_sides_are_kept_whole_and_begin_alike() -> None:
    """Both may go on for turns after they part; what parts them is an answer, never a question."""
    chosen, rejected = said("Hi", "Hello!", "Bye", "Bye!"), said("Hi", "What?", "Sorry", "Go.")
    [(messages, meta)] = convert("preference", {"chosen": chosen, "rejected": rejected})
    assert messages == chosen and meta == {"rejected": rejected}
    one = {"role": "assistant", "content": "No."}
    [(messages, meta)] = convert("preference", {"chosen": chosen, "rejected": [one]})
    assert meta == {"rejected": [*chosen[:-1], one]}
    for other, why in (
        (said("Hi there", "Hello!", "Bye", "Go."), "ask different questions .message 1."),
        (said("Hi", "Hello!", "See you", "Go."), "ask different questions .message 3."),
        (chosen, "are the same"),
        (chosen[:2], "are the same"),
    ):
        with pytest.raises(Fault, match=f"chosen and rejected {why}"):
            list(convert("preference", {"chosen": chosen, "rejected": other}))


def test_two_label_columns_are_not_guessed_between() -> None:
    with pytest.raises(Fault, match="both label and category"):
        list(convert("label", {"text": "a", "label": "b", "category": "c"}))


def test_ambiguous_and_mixed_files_are_errors_that_show_the_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"instruction": "a", "output": "b", "text": "c"}\n')
    with pytest.raises(
        InputError, match=r"rows.jsonl:1: this row fits the formats alpaca and text; settle it with data"
    ):
        read(path)
    assert read(path, format="alpaca")[0][0].answer == "b"
    path.write_text('{"instruction": "a", "output": "b"}\n{"prompt": "a", "completion": "b"}\n')
    with pytest.raises(InputError, match=r"rows.jsonl:2: this row is completion, the rows before it are alpaca"):
        read(path)
    rows, lost, _ = read(path, format="completion")
    assert len(rows) == 1 and lost[0].reason.startswith("lacks keys of the format completion")


def test_columns_settle_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("was,darauf,text\nWie geht es?,Gut.,x\n")
    with pytest.raises(InputError, match="keys"):
        read(path, columns={"prompt": "was"})
    rows, _, info = read(path, columns={"prompt": "was", "completion": "darauf"})
    assert (rows[0].source, rows[0].answer, info.format) == ("Wie geht es?", "Gut.", "completion")
    path.write_text("said,label\nIt rains.,1\n")  # a label is not lost because only the text had to be named
    rows, _, info = read(path, columns={"text": "said"})
    assert (rows[0].source, rows[0].answer, info.format) == ("It rains.", "1", "label")
    path.write_text("instruction,where,done\nTurn it.,left,right\n")
    rows, _, info = read(path, columns={"input": "where", "output": "done"})
    assert (rows[0].source, rows[0].answer, info.format) == ("Turn it.\n\nleft", "right", "alpaca")
    with pytest.raises(InputError, match=r"of no known format: name them, as in data.columns.prompt=instruction"):
        read(path)
    with pytest.raises(InputError, match=r"data.columns.promt: no format has the key 'promt'; did you mean prompt\?"):
        read(path, columns={"promt": "was"})
    with pytest.raises(InputError, match=r"no format 'alpacca'; did you mean alpaca\?"):
        read(path, format="alpacca")


def test_a_cell_of_a_table_may_hold_the_json_of_a_list(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(
        'messages\n"[{""role"": ""user"", ""content"": ""a""}, {""role"": ""assistant"", ""content"": ""b""}]"\n'
    )
    assert read(path)[0][0].answer == "b"


@needs_shared
@pytest.mark.parametrize(
    ("file", "name", "rows", "duplicates"),
    [
        ("alpaca_en_demo.json", "alpaca", 999, 14),
        ("alpaca_zh_demo.json", "alpaca", 1000, 8),
        ("dpo_zh_demo.json", "preference", 300, None),
        ("glaive_toolcall_en_demo.json", "sharegpt", 300, None),
        ("identity.json", "alpaca", 91, 0),
        ("kto_en_demo.json", "kto", 300, 0),
        ("self_instruct_seed_tasks.jsonl", "seeds", 175, 0),
        ("v1_sft_demo.jsonl", "messages", 500, None),
    ],
)
def test_real_files_are_read_whole(file: str, name: str, rows: int, duplicates: int | None) -> None:
    kept, lost, info = read(SHARED / "formats" / file)
    assert (info.format, len(kept), len(lost)) == (name, rows, 0)
    assert duplicates is None or info.duplicates == duplicates
