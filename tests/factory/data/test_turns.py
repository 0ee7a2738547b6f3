"""Conversations: which of their answers are learned, and what becomes of templates and control tokens in them."""

from __future__ import annotations

from typing import Any

import pytest
from data_support import LABELS, ROWS, THINGS, Try, lines, said


@pytest.mark.parametrize(
    ("rows", "answers"),
    [
        ([{"weight": 1}, {"weight": 0}], ["Wait."]),
        ([{"weight": 1}, {"weight": 1}], ["Wait.", "Done."]),
        ([{"loss": False}, {"loss": True}], ["Done."]),
        ([{"train": False}, {}], ["Done."]),
        ([{}, {}], ["Done."]),
    ],
)
def test_turns_that_say_so_are_learned_or_not(attempt: Try, rows: list[dict[str, Any]], answers: list[str]) -> None:
    def conversation(i: int) -> dict[str, Any]:
        turns = [
            ("user", f"Order {i}?"),
            ("assistant", "Wait."),
            ("user", f"And number {37 * i}?"),
            ("assistant", "Done."),
        ]
        messages = [{"role": role, "content": text} for role, text in turns]
        for mark, at in zip(rows, (1, 3), strict=True):
            messages[at] |= mark
        return {"messages": messages}

    told = attempt("chat.jsonl", lines([conversation(i) for i in range(12)]), kind="general")
    built = told.built()
    assert {row.answer for row in (*built.train, *built.eval)} == {*answers}
    if len(answers) == 1:
        assert (
            f"turns: 12 of 24 answers are learned{'; 12 are marked not to be' if rows[0] or rows[1] else ''}"
            in told.out
        )
    assert all(set(m) == {"role", "content"} for row in built.train for m in row.messages)


def test_all_answers_of_a_conversation_are_learned_if_one_says_so(attempt: Try) -> None:
    chats = [
        {"conversations": [{"from": w, "value": f"{v} {THINGS[i]} {i}"} for w, v in
                           (("human", "Is it"), ("gpt", "Yes"), ("human", "And"), ("gpt", "No"))]}
        for i in range(15)
    ]  # fmt: skip
    told = attempt("chat.jsonl", lines(chats), "data.learn=all", kind="general")
    built = told.built()
    assert len(built.train) + len(built.eval) == 30 and "turns:" not in told.out
    sides = [{row.line for row in part} for part in (built.train, built.eval)]
    assert sides[0].isdisjoint(sides[1])  # the turns of one conversation are on one side
    told = attempt("chat.jsonl", lines(chats))
    assert "turns: 15 of 30 answers are learned (the last of each; data.learn=all learns every one)" in told.out
    assert "data.learn" in attempt("chat.jsonl", lines(chats), "data.learn=some").err


def test_rows_without_an_answer_to_learn_say_so(attempt: Try) -> None:
    answer = {"role": "assistant", "content": "WRONG", "loss": False}
    rows = [{"messages": [{"role": "user", "content": f"Ticket {i}?"}, answer]} for i in range(6)]
    told = attempt("loss.jsonl", lines(rows), kind="general")
    assert (
        told.code == 2 and "no answer is to be learned: all are marked so (weight 0, loss false); mark one" in told.err
    )


@pytest.mark.parametrize(
    ("row", "turns"),
    [
        (
            {"prompt": "<|im_start|>user\nIs {} late?<|im_end|>\n<|im_start|>assistant\n",
             "completion": "Yes, {}.<|im_end|>"},
            ["user", "assistant"],
        ),
        (
            {"text": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
             "<|start_header_id|>user<|end_header_id|>\n\nIs {} late?<|eot_id|>"
             "<|start_header_id|>assistant<|end_header_id|>\n\nYes, {}.<|eot_id|>"},
            ["system", "user", "assistant"],
        ),
        (
            {"text": "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nIs {} late? [/INST] Yes, {}. </s>"},
            ["system", "user", "assistant"],
        ),
        (
            {"text": "<bos><start_of_turn>user\nIs {} late?<end_of_turn>\n<start_of_turn>model\nYes, {}.<end_of_turn>"},
            ["user", "assistant"],
        ),
        ({"text": "### Human: Is {} late?### Assistant: Yes, {}."}, ["user", "assistant"]),
        ({"text": "<|user|>\nIs {} late?</s>\n<|assistant|>\nYes, {}.</s>"}, ["user", "assistant"]),
    ],
)  # fmt: skip
def test_rendered_rows_are_read_back_into_turns(attempt: Try, row: dict[str, str], turns: list[str]) -> None:
    rows = [{key: text.replace("{}", said(i)) for key, text in row.items()} for i in range(15)]
    told = attempt("rendered.jsonl", lines(rows), kind="general")
    built = told.built()
    assert "15 rows were rendered by a chat template already: they are read back into turns" in told.out
    for found in (*built.train, *built.eval):
        assert [m["role"] for m in found.messages] == turns and found.answer == f"Yes, {said(found.line - 1)}."
        assert found.source == f"Is {said(found.line - 1)} late?"


def test_control_tokens_in_what_users_wrote_are_told_and_in_answers_dropped(attempt: Try) -> None:
    rows = [{"text": f"note {t}<|im_end|>\n<|im_start|>assistant\nrefund", "label": n} for t, n in ROWS]
    told = attempt("special.jsonl", lines(rows))
    assert "18 rows hold control tokens of the base in what users wrote: they are read as plain text" in told.out
    assert all("<|im_end|>" in row.source for row in told.built().train)
    rows = [{"text": t, "label": f"{n}<|im_end|>" if i % 3 else n} for i, (t, n) in enumerate(ROWS)]
    told = attempt("special.jsonl", lines(rows))
    assert "-12: 12 the answer holds a control token of the base" in told.out


def test_what_a_turn_holds_beside_its_text_is_told(attempt: Try) -> None:
    rows = [{"messages": [{"role": "user", "content": f"What is {i}+3?"},
                          {"role": "assistant", "reasoning_content": "I add.", "content": str(i + 3)}]}
            for i in range(12)]  # fmt: skip
    assert "not trained on: reasoning_content of a turn" in attempt("why.jsonl", lines(rows), kind="general").out


def test_thoughts_are_learned_where_the_recipe_says_so_and_never_graded(attempt: Try) -> None:
    def turn(said: str) -> dict[str, str]:
        return {"role": "assistant", "reasoning_content": f"\nI think of {said}\n", "content": said}

    rows = [{"messages": [{"role": "user", "content": f"{t}?"}, turn("Wait."), {"role": "user", "content": "So?"},
                          turn(f"{n}.")]} for t, n in ROWS]  # fmt: skip
    told = attempt("why.jsonl", lines(rows), "data.reasoning=true", "data.tune_share=0", kind="general")
    built = told.built()
    for row in built.train:
        [*_, before, _, answer] = [m["content"] for m in row.messages]
        said = answer.rpartition("\n\n")[2]
        assert before == "Wait." and said.strip(".") in LABELS
        assert answer == f"<think>\nI think of {said}\n</think>\n\n{said}" and row.tokens[1] > 10
    assert len(built.eval) and all(row.answer.strip(".") in LABELS for row in built.eval)
    assert "not trained on" not in told.out
    told = attempt("why.jsonl", lines(rows), "data.reasoning=true", "data.require=json", kind="general")
    assert told.code == 2 and "the answer is not JSON" in told.err


def test_a_classification_has_no_thoughts(attempt: Try) -> None:
    told = attempt("plain.jsonl", lines([{"text": t, "label": n} for t, n in ROWS]), "data.reasoning=true")
    assert told.code == 2 and "data.reasoning: answers that are held to labels" in told.err


def test_swifts_tool_turns_are_read(attempt: Try) -> None:
    call = '{"name": "weather", "arguments": {"city": "Town"}}'
    after = [("tool_call", call), ("tool_response", '{"t": 4}'), ("assistant", "4 degrees.")]
    turns = [[("user", f"Weather in Town {i}?"), *after] for i in range(12)]
    rows = [{"messages": [{"role": role, "content": text} for role, text in one]} for one in turns]
    built = attempt("swift.jsonl", lines(rows), kind="general").built()
    assert [m["role"] for m in built.train[0].messages] == ["user", "assistant", "tool", "assistant"]
    assert built.train[0].messages[1]["content"].startswith("<tool_call>\n{")
