"""A small made-up world to show the pages in: two tasks with versions and scorecards, answers, and users."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import numpy
from safetensors.numpy import save_file

from evals import decisions, ratings, tables
from evals import rubric as rubrics
from evals.answers import record
from evals.gate import Verdict
from evals.ratings import Plan
from factory.data.rows import Row
from factory.decoding import Decoding
from factory.home import home
from factory.registry import aliases, store
from serve.pages.auth import Users

MAILS = (
    "From: Lena Novak\nSubject: Design sync\n\nHi all, because of a train strike the design sync moves from Tuesday "
    "10:00 to Thursday 2:15 pm in room 214. The coffee machine works again. Please send the slide deck to Omar Haddad "
    "by Wednesday.\nBest, Lena",
    "Your parcel from Brightwater (order KD-4821) could not be delivered today because nobody was at home. The courier "
    "tries again on Friday between 9:00 and 11:00. To choose another day, reply by Thursday 6:00 pm.",
    "The login service was down from 9:10 to 9:50 because of an expired certificate. It is up again. No data was lost. "
    "The team will write a report by Friday. Contact: Priya Rao.",
    "Maya: are we still on for the film night? Jonas: yes but at 7:45 pm, not 7:15 pm, I am stuck at work. Maya: ok, "
    "meet you at Red Lantern, bring the tickets please.",
)


def shares(good: float, poor: float, n: int = 120) -> dict[str, Any]:
    average = round(1 - good - poor, 4)
    found = {"good": good, "average": average, "poor": poor}
    return {"n": n, **found, "intervals": {k: (max(0, v - 0.07), min(1, v + 0.06)) for k, v in found.items()}}


def version(
    task: str, seed: int, good: float | None, prompt: str, gate: dict[str, Any] | None = None, against: str = ""
) -> store.Version:
    """A registered version with random weights; with a scorecard if `good` is given."""
    folder = home("staging", f"{task}-{seed}")
    folder.mkdir(parents=True, exist_ok=True)
    weights = {"x.lora_A.weight": numpy.random.default_rng(seed).random((2, 4), "float32")}
    save_file(weights, folder / store.WEIGHTS)
    (folder / store.CONFIG).write_text(json.dumps({"r": 2, "target_modules": ["q"]}))
    facts = store.Facts(
        task=task, kind="summary", base="tiny", fingerprint="f" * 64, chat_template="t", prompt=prompt,
        decoding=Decoding(), labels=[],
    )  # fmt: skip
    made = store.add(folder, facts)
    aliases.register(made)
    if good is not None:
        names = ("composition", "comprehensiveness", "groundedness", "following_instructions")
        draw = random.Random(seed)
        dimensions = {n: shares(min(0.99, good + draw.random() * 0.06), 0.01 + draw.random() * 0.02) for n in names}
        card = {**shares(good, 0.04), "rubric": "summary", "rubric_hash": "r", "rows": 120, "dimensions": dimensions}
        store.note(made, "scorecard", card)
        base = {name: shares(0.06, 0.8) for name in names}
        store.note(made, "base_scorecard", {**shares(0.04, 0.9), "rubric": "summary", "dimensions": base})
    if gate:
        store.note(made, "gate", gate)
        verdict = Verdict(**gate, labels=120, plan={}, plan_hash="p")
        decisions.log(tables.open_database(), task, made.name, against, "rows", "summary", verdict)
    rows = home("data", f"rows-of-{task}")
    rows.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps(
            {"messages": [{"role": "user", "content": text}], "meta": {}, "file": "", "line": 0, "tokens": [0, 0]}
        )
        for text in MAILS
    ]
    (rows / "eval.jsonl").write_text("\n".join(lines) + "\n")
    store.note(made, "data", {"hash": f"rows-of-{task}"})
    return made


def registry() -> list[store.Version]:
    """Two versions of `digest`, one of `labels`; v1 of each is live."""
    passed = {"decision": "PROMOTE", "why": "good +88.0%, at least +81.9%; must be above +50.0%", "labels_needed": None}
    unsure = {
        "decision": "INCONCLUSIVE",
        "why": "good against production +4.0%, at least -11.2%; must be above -10.0%: label 63 more items to settle it",
        "labels_needed": 63,
    }
    prompt = "Summarise the message in one or two sentences: what happened, what to do, by when."
    one = version("digest", 1, 0.88, prompt, passed)
    two = version("digest", 2, 0.92, prompt + " Keep names and numbers exact.", unsure, one.name)
    three = version("labels", 3, None, "Answer with one label.")
    aliases.point(one)
    aliases.point(three)
    return [one, two, three]


SUMMARIES = (  # of MAILS, by the first version and by the second, which drops and mixes up details
    (
        "The design sync moved to Thursday 2:15 pm, room 214. Send the slide deck to Omar Haddad by Wednesday.",
        "Brightwater parcel KD-4821 comes again on Friday between 9:00 and 11:00. Reply by Thursday for another day.",
        "The login service was down from 9:10 to 9:50 because of an expired certificate; no data was lost.",
        "Film night at 7:45 pm at Red Lantern. Jonas is stuck at work, so bring the tickets.",
    ),
    (
        "The design sync moved to Thursday, room 214. Send the slide deck to Omar Haddad.",
        "Brightwater parcel KD-4821 comes again on Saturday between 9:00 and 11:00.",
        "The login service is down because of an expired certificate.",
        "Film night at 7:15 pm at Red Lantern. Jonas brings the tickets.",
    ),
)


def answers(n: int, versions: Sequence[str] = ("digest@v1",), task: str = "digest") -> list[str]:
    """Answers of one or two versions to `n` messages in the ratings database; the ids of the outputs."""
    engine = tables.open_database()
    made = []
    for number, version_ in enumerate(versions):
        rows = [
            Row(({"role": "user", "content": f"{MAILS[i % 4]}\n\nRef. {i:03}"}, {"role": "assistant", "content": "x"}))
            for i in range(n)
        ]
        texts = [f"{SUMMARIES[number][i % 4]} (Ref. {i:03})" for i in range(n)]
        made += record(engine, task, version_, rows, texts)
    return made


def batch(outputs: list[str], plan: Plan) -> str:
    return ratings.open_batch(tables.open_database(), "digest", rubrics.load("summary"), outputs, plan)


def users(**roles: str) -> None:
    """Users whose password is their name and -password."""
    for name, role in roles.items():
        Users().add(name, f"{name}-password", role)


def qualify(*names: str) -> None:
    for name in names:
        ratings.qualify(tables.open_database(), name, rubrics.load("summary"), True, {"passed": True, "dimensions": {}})
