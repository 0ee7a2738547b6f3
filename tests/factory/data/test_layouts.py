"""The layouts of the Hub's most used sets, as their cards show them: each is read without an option, or refused with
the very option that then reads it. The rows are made up; the table is the one in factory/data/README.md."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from data_support import ROOT

from factory.data.load import Read, load
from factory.data.rows import Row
from factory.errors import InputError
from factory.recipe import Data

TALK = [{"role": "user", "content": "Is it late?"}, {"role": "assistant", "content": "Yes."}]
# set: a row, what is asked and answered, the option that is needed (in the refusal, word for word)
LAYOUTS: dict[str, tuple[dict[str, Any], tuple[str, str], str]] = {
    "alpaca": ({"instruction": "Turn it.", "input": "left", "output": "right"}, ("Turn it.\n\nleft", "right"), ""),
    "dolly": (
        {"instruction": "Who?", "context": "Ann rows.", "response": "Ann", "category": "closed_qa"},
        ("Who?\n\nAnn rows.", "Ann"),
        "",
    ),
    "open-orca": (
        {"id": "1", "system_prompt": "Be brief.", "question": "Late?", "response": "Yes."},
        ("Late?", "Yes."),
        "",
    ),
    "openhermes": (
        {"conversations": [{"from": "human", "value": "Late?", "weight": None}, {"from": "gpt", "value": "Yes."}]},
        ("Late?", "Yes."),
        "",
    ),
    "ultrachat": ({"prompt": "Is it late?", "prompt_id": "a1", "messages": TALK}, ("Is it late?", "Yes."), ""),
    "no_robots": (
        {"prompt": "Is it late?", "prompt_id": "a1", "messages": TALK, "category": "Chat"},
        ("Is it late?", "Yes."),
        "",
    ),
    "wildchat": (
        {"conversation_hash": "9f", "model": "m", "conversation": TALK, "turn": 1, "language": "English"},
        ("Is it late?", "Yes."),
        "",
    ),
    "lima": ({"conversations": ["Late?", "Yes."], "source": "made"}, ("Late?", "Yes."), ""),
    "capybara": ({"source": "made", "conversation": [{"input": "Late?", "output": "Yes."}]}, ("Late?", "Yes."), ""),
    "guanaco": ({"text": "### Human: Late?### Assistant: Yes."}, ("Late?", "Yes."), ""),
    "hh-rlhf": (
        {"chosen": "\n\nHuman: Late?\n\nAssistant: Yes.", "rejected": "\n\nHuman: Late?\n\nAssistant: Go away."},
        ("Late?", "Yes."),
        "",
    ),
    "ultrafeedback": (
        {"prompt": "Is it late?", "chosen": TALK, "rejected": [TALK[0], {"role": "assistant", "content": "Mu."}],
         "score_chosen": 8.5},
        ("Is it late?", "Yes."),
        "",
    ),
    "gsm8k": ({"question": "3 + 4?", "answer": "3 + 4 = 7\n#### 7"}, ("3 + 4?", "3 + 4 = 7\n#### 7"), ""),
    "metamath": (
        {"query": "3 + 4?", "response": "7", "type": "GSM", "original_question": "4 + 3?"},
        ("3 + 4?", "7"),
        "",
    ),
    "squad": (
        {"id": "5", "title": "Rowing", "context": "Ann rows.", "question": "Who rows?",
         "answers": {"text": ["Ann"], "answer_start": [0]}},
        ("Ann rows.\n\nWho rows?", "Ann"),
        "",
    ),
    "boolq": (
        {"question": "does ann row", "answer": True, "passage": "Ann rows."},
        ("Ann rows.\n\ndoes ann row", "yes"),
        "",
    ),
    "trivia_qa": (
        {"question": "Who rows?", "question_id": "q1", "answer": {"value": "Ann", "aliases": ["Annie"]}},
        ("Who rows?", "Ann"),
        "",
    ),
    "mmlu": (
        {"question": "Who rows?", "subject": "sport", "choices": ["Bo", "Ann"], "answer": 1},
        ("Who rows?\nA. Bo\nB. Ann", "B"),
        "",
    ),
    "arc": (
        {"id": "M1", "question": "Who rows?", "choices": {"text": ["Bo", "Ann"], "label": ["A", "B"]},
         "answerKey": "B"},
        ("Who rows?\nA. Bo\nB. Ann", "B"),
        "",
    ),
    "humaneval": (
        {"task_id": "H/0", "prompt": "def one():\n", "canonical_solution": "    return 1\n", "test": "assert",
         "entry_point": "one"},
        ("def one():\n", "    return 1\n"),
        "",
    ),
    "mbpp": ({"task_id": 1, "text": "Return one.", "code": "def f(): return 1", "test_list": []},
             ("Return one.", "def f(): return 1"), ""),
    "imdb": ({"text": "Lovely.", "label": "pos"}, ("Lovely.", "pos"), ""),
    "sst2": ({"idx": 3, "sentence": "Lovely.", "label": 1}, ("Lovely.", "1"), ""),
    "setfit": ({"text": "Lovely.", "label": 1, "label_text": "positive"}, ("Lovely.", "positive"), ""),
    "amazon_polarity": ({"label": 1, "title": "Good", "content": "It works."}, ("It works.", "1"), ""),
    "clinc": ({"text": "Where is my card?", "intent": "card_lost"}, ("Where is my card?", "card_lost"), ""),
    "massive": (
        {"id": "0", "locale": "en-US", "scenario": "alarm", "intent": "alarm_set", "utt": "wake me",
         "annot_utt": "wake me"},
        ("wake me", "alarm_set"),
        "",
    ),
    "go_emotions": ({"text": "Oh!", "labels": ["joy", "awe"], "id": "e"}, ("Oh!", "joy, awe"), ""),
    "mrpc": (
        {"sentence1": "It rains.", "sentence2": "Rain falls.", "label": 1, "idx": 0},
        ("sentence1: It rains.\nsentence2: Rain falls.", "1"),
        "",
    ),
    "snli": (
        {"premise": "It rains.", "hypothesis": "It is dry.", "label": "contradiction"},
        ("premise: It rains.\nhypothesis: It is dry.", "contradiction"),
        "",
    ),
    "trec": ({"text": "Who rows?", "coarse_label": 3, "fine_label": 12}, ("Who rows?", "3"),
             "data.columns.text=text data.columns.label=coarse_label"),
    "cnn_dailymail": ({"article": "Ann rows home.", "highlights": "Ann rows.", "id": "f"},
                      ("Ann rows home.", "Ann rows."), ""),
    "xsum": ({"document": "Ann rows home.", "summary": "Ann rows.", "id": "f"}, ("Ann rows home.", "Ann rows."), ""),
    "samsum": ({"id": "1", "dialogue": "Ann: I row", "summary": "Ann rows."}, ("Ann: I row", "Ann rows."), ""),
    "billsum": ({"text": "Be it so.", "summary": "It is.", "title": "An act"}, ("Be it so.", "It is."), ""),
    "arxiv": ({"article": "We row.", "abstract": "Rowing.", "section_names": "intro"}, ("We row.", "Rowing."), ""),
    "reddit": ({"author": "a", "body": "We row. tldr", "content": "We row.", "summary": "Rowing.", "id": "c"},
               ("We row.", "Rowing."), ""),
    "wmt": ({"translation": {"de": "Es regnet.", "en": "It rains."}}, ("Es regnet.", "It rains."),
            "data.columns.prompt=translation.de data.columns.completion=translation.en"),
    "wikitext": ({"text": "Rowing is old."}, ("", "Rowing is old."), ""),
}  # fmt: skip


def read(folder: Path, row: dict[str, Any], *options: str) -> list[Row]:
    path = folder / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    columns = dict(option.removeprefix("data.columns.").split("=", 1) for option in options)
    info: list[Read] = []
    return list(load(str(path), Data.model_validate({"columns": columns}), folder, "data.train", [], info))


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_read_or_refused_with_the_option_that_reads_it(tmp_path: Path, name: str) -> None:
    row, expected, option = LAYOUTS[name]
    if option:
        with pytest.raises(InputError, match=re.escape(option)):
            read(tmp_path, row)
    (found,) = read(tmp_path, row, *option.split())
    assert (found.source, found.answer) == expected


def test_the_table_in_the_readme_is_this_one() -> None:
    text = (ROOT / "factory" / "data" / "README.md").read_text()
    table = text.partition("| set | keys | |")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"^\| `([\w-]+)` \| .* \| (.*?) \|$", table, re.M))
    assert rows.keys() == LAYOUTS.keys() and len(rows) >= 30
    for name, (_, _, option) in LAYOUTS.items():
        assert rows[name] == (f"`{option}`" if option else "read"), name
