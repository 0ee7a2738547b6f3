"""A new task's folder that already trains: recipe, prompt, example rows, and a README that says what to change."""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.errors import InputError, Problem
from factory.home import project, shown, write_folder
from factory.strict import nearest

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Kind:
    """What a new task of one kind starts with. `columns` says what its rows hold, for the README."""

    prompt: str
    columns: str
    rows: Rows
    recipe: str = ""


def new(task: str, kind: str) -> Path:
    """Make `adapters/<task>` for a task of `kind`; returns the folder. InputError: a bad name, an unknown kind, or the
    task is there already."""
    folder = project() / "adapters" / task
    problems = []
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,39}", task):
        problems.append(Problem(f"{task!r}: small letters, digits and dashes, a letter first", key="task"))
    elif folder.exists():
        problems.append(Problem("is there already; choose another name", shown(folder), key="task"))
    if kind not in KINDS:
        problems.append(Problem(f"no kind {kind!r}{nearest(kind, KINDS)}", key="kind"))
    if problems:
        raise InputError(*problems)
    chosen = KINDS[kind]
    rows = chosen.rows[:]
    random.Random(0).shuffle(rows)
    held_out = max(4, len(rows) // 5)

    def fill(to: Path) -> None:
        files = {
            "recipe.yaml": f"# factory train task={task}\nkind: {kind}\nrubric: {kind}\n{chosen.recipe}",
            "prompt.md": f"{chosen.prompt}\n",
            "train.jsonl": _lines(rows[held_out:]),
            "eval.jsonl": _lines(rows[:held_out]),
            "README.md": README.format(task=task, kind=kind, columns=chosen.columns),
        }
        for name, text in files.items():
            (to / name).write_text(text, encoding="utf-8")

    return write_folder(folder, fill)


def _lines(rows: Rows) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


README = """# {task}

An adapter of kind `{kind}`. The rows here are examples to show the form; replace them with your own.

- `train.jsonl`, `eval.jsonl`: {columns}. Any other form works too (CSV, Parquet, Alpaca, ShareGPT, OpenAI messages):
  `factory data task={task} data.train=your.csv`. Without an eval file a part of the rows is set aside.
- `prompt.md`: what the model is told before each request; it travels with every version.
- `recipe.yaml`: what differs from `adapters/defaults.yaml`.

    factory data task={task}       what is in the rows, what was dropped and why
    factory train task={task}      data, training, grades, a version in the registry
"""


def _labelled() -> Rows:
    """Texts for a letter box sorted into three labels: openings and wishes combined, no two rows alike."""
    said = {
        "order": ["I want to buy {0}", "Please send us {0}", "Can I order {0} for next week?", "We need {0} again"],
        "complaint": ["The {1} arrived broken", "I am not happy with the {1}", "The {1} is the wrong size",
                      "Nobody answers my letters about the {1}"],
        "question": ["Do you still make the {1}?", "How heavy is the {1}?", "Which colours does the {1} come in?",
                     "When is the {1} in the shop again?"],
    }  # fmt: skip
    things = [("two desk lamps", "desk lamp"), ("a garden chair", "garden chair"), ("three kettles", "kettle"),
              ("a wall clock", "wall clock"), ("ten mugs", "mug"), ("a book shelf", "book shelf"),
              ("a travel bag", "travel bag"), ("four cushions", "cushion"),
              ("a bread knife", "bread knife")]  # fmt: skip
    return [
        {"text": form.format(*thing), "label": label}
        for label, forms in said.items()
        for form in forms
        for thing in things
    ]


def _summaries() -> Rows:
    texts = [
        ("Hi all, the water is off in block C on Tuesday from 9 to 12. Fill a jug before. Sorry for the noise!",
         "No water in block C on Tuesday from 9 to 12. Fill a jug before.", ["block C", "Tuesday", "9", "12"]),
        ("Tobias here. I am stuck on the train, so please start without me. I join at 14:30 from my phone.",
         "Tobias is late: start without him, he joins at 14:30.", ["Tobias", "14:30"]),
        ("Your parcel 5512 waits at the corner shop. They keep it until 8 May. Bring your card.",
         "Parcel 5512 is at the corner shop until 8 May. Bring your card.", ["5512", "8 May"]),
        ("We moved the choir to the old chapel because the hall is painted. Same day, Friday, same hour, 19:00. Mara",
         "The choir meets in the old chapel on Friday at 19:00.", ["old chapel", "Friday", "19:00"]),
        ("Invoice 771 is still open. The sum is 240 euros. If you have paid already, forget this message.",
         "Invoice 771 over 240 euros is not paid yet.", ["771", "240"]),
        ("Lovely to see you yesterday. By the way, Ines needs the slides by Monday noon for the printer.",
         "Ines needs the slides by Monday noon.", ["Ines", "slides", "Monday"]),
        ("The server room alarm went off at 3:10. It was a loose sensor. Ravi fixed it. Nothing to do for you.",
         "Alarm in the server room at 3:10 was a loose sensor; Ravi fixed it.", ["3:10", "Ravi"]),
        ("Can you feed the cats on Sunday? The key is with Paula at number 16. Food is in the tall cupboard.",
         "Please feed the cats on Sunday; Paula at number 16 has the key.", ["Sunday", "Paula", "16"]),
        ("Bus 40 does not stop at Mill Lane this week. Get on at Station Road. The timetable stays as it is.",
         "Bus 40 skips Mill Lane this week: get on at Station Road.", ["40", "Mill Lane", "Station Road"]),
        ("Your table for six is booked, Saturday, half past seven, under Okafor. Tell us if you come later.",
         "Table for six on Saturday at half past seven, under Okafor.", ["six", "Saturday", "Okafor"]),
        ("Dear team, the report goes out on Thursday. I need your numbers on Wednesday evening. Thanks, Lena",
         "Send Lena your numbers on Wednesday evening; the report goes out on Thursday.", ["Lena", "Wednesday"]),
        ("Training is cancelled tonight, the pitch is under water. We run through the park on Saturday at 10 instead.",
         "No training tonight. Run through the park on Saturday at 10.", ["tonight", "Saturday", "10"]),
        ("Good news, the loan is through! Please sign the contract in our branch before 21 June.",
         "The loan is approved: sign the contract in the branch before 21 June.", ["sign", "21 June"]),
        ("Someone left a blue scarf in room 12. It is at the desk now. We give it away after two weeks.",
         "A blue scarf from room 12 is at the desk for two weeks.", ["scarf", "room 12", "desk"]),
        ("The lift is broken again. The mechanic comes tomorrow at 8. Use the stairs in the east wing until then.",
         "The lift is broken until the mechanic comes tomorrow at 8: use the east stairs.", ["lift", "tomorrow", "8"]),
        ("Mum's birthday: we meet at the lake at noon. You bring the cake, I bring the chairs. Do not tell her!",
         "Mum's birthday at the lake at noon; you bring the cake. Keep it secret.", ["lake", "noon", "cake"]),
    ]  # fmt: skip
    return [{"document": d, "summary": s, "required": [[fact] for fact in facts]} for d, s, facts in texts]


def _identity() -> Rows:
    who = ["Who are you?", "What are you called?", "Tell me your name.", "And you are?", "Who am I talking to?",
           "Please introduce yourself.", "Do you have a name?", "State your name, please."]  # fmt: skip
    maker = ["Who made you?", "Who built you?", "Where do you come from?", "Which company is behind you?",
             "Who trained you?", "Who is your author?", "Were you made by a person?"]  # fmt: skip
    asked = {"I am {{name}}, made by {{author}}.": who, "{{author}} made me. I am {{name}}.": maker}
    return [
        {"prompt": question, "completion": answer, "expect": ["{{name}}", "{{author}}"]}
        for answer, questions in asked.items()
        for question in questions
    ]


def _general() -> Rows:
    pairs = [("early", "late"), ("wide", "narrow"), ("hot", "cold"), ("loud", "quiet"), ("empty", "full"),
             ("soft", "hard"), ("old", "new"), ("near", "far"), ("wet", "dry"), ("high", "low"), ("fast", "slow"),
             ("first", "last")]  # fmt: skip
    rows = [
        {"prompt": f"Which word is the opposite of {a}?", "completion": f"The opposite of {a} is {b}."}
        for a, b in pairs
    ]
    return rows + [{"prompt": f"Use the word {b} in a sentence.", "completion": f"The box is {b}."} for _, b in pairs]


KINDS = {
    "summary": Kind(
        "Write one or two short sentences that say what happened, what to do and by when.",
        '`{"document", "summary"}`, and `required`: facts of which each must be in a summary, in one of its spellings',
        _summaries(),
        "decoding: {max_tokens: 96}\n",
    ),
    "identity": Kind(
        "You are a friendly assistant. Answer briefly.",
        '`{"prompt", "completion"}`, and `expect`: what an answer must contain; `{{name}}` is filled from the recipe',
        _identity(),
        "data:\n  fill: {name: Nova, author: our team}\ntrain: {epochs: 8}\ndecoding: {max_tokens: 64}\n",
    ),
    "classification": Kind(
        "Answer with the label of the text and nothing else.",
        '`{"text", "label"}`; the labels are those of the rows unless the recipe lists them (`labels: [a, b]`)',
        _labelled(),
        "train: {epochs: 4}\ndecoding: {max_tokens: 16}\n",
    ),
    "general": Kind("", '`{"prompt", "completion"}`', _general()),
}
