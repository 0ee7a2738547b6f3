"""The pre-training corpus: conversations drawn without end from the grammar; the same seed, the same rows.

A row is a list of chat messages (`{"role", "content"}`) or, for plain reading, a list with one message
whose role is "text". Most rows show one message and ask three to six things about it, so that a text
is paid for once. About a third of the rows carry an arbitrary system message: the base learns that
such a thing exists and not what a task's prompt says.

Kept out, and tested: names held out for evaluation, and the forms of the three shipped tasks (no
summaries, no choosing among labels, no saying who answers).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace

from factory.base.tiny import asking
from factory.base.tiny.drills import drill
from factory.base.tiny.kinds_office import OFFICE
from factory.base.tiny.kinds_profile import PROFILE
from factory.base.tiny.kinds_service import SERVICE
from factory.base.tiny.messages import slots, write
from factory.base.tiny.reading import Turn, claim, detail, details, extract, fill_in, question, turn
from factory.base.tiny.talk import talk
from factory.base.tiny.world import Pool, World

KINDS = (*OFFICE, *SERVICE, PROFILE)
Row = list[dict[str, str]]

FRESH = 0.4
"""Share of made-up names in pre-training."""

MIX = (("reading", 64), ("asking", 12), ("drills", 10), ("talk", 5), ("text", 3), ("repeat", 6))
"""Kinds of rows, percent."""

MANNER = (
    "Be brief.",
    "Answer briefly.",
    "Use the words of the text.",
    "Do not guess.",
    "Write plain text.",
    "Stay polite.",
    "Keep to the point.",
    "Answer in English.",
    "Read carefully.",
    "No long talk.",
    "Be exact with names and numbers.",
    "Take your time.",
    "Short answers, please.",
)
PLACE = (
    "You work at a front desk.",
    "The user is in a hurry.",
    "You read office mail.",
    "This is an exercise.",
    "You are at a help desk.",
    "Today is a busy day.",
    "The texts come from many people.",
    "You look after the notes of a team.",
    "The user checks some texts.",
    "People ask, and you reply.",
    "Some texts are long.",
    "All texts are made up.",
)

PLAINLY = ("Ask every question again in plain words.", "Say each question plainly.", "Turn it into a plain question.")

LAYOUTS = (
    "{text}\n\n{ask}",
    "{text}\n\n{ask}",
    "{text}\n\n{ask}",
    "{text}\n\n{ask}",
    "Text:\n{text}\n\n{ask}",
    "Message:\n{text}\n\n{ask}",
    "{ask}\n\n{text}",
)


def system(w: World) -> Row:
    """No system message, or an arbitrary one of one to three sentences."""
    if w.rng.random() > 0.35:
        return []
    said = w.rng.sample(MANNER + PLACE, w.rng.randint(1, 3))
    return [{"role": "system", "content": " ".join(said)}]


def chat(asked: str, answer: str) -> Row:
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]


def conversation(turns: list[Turn], text: str | None, w: World) -> Row:
    """System message, the text with the first question, then the other questions."""
    (_, asked, answer), *rest = turns
    first = w.rng.choice(LAYOUTS).format(text=text, ask=asked) if text else asked
    return system(w) + chat(first, answer) + [m for _, a, b in rest for m in chat(a, b)]


def reading(w: World) -> Row:
    m = write(w.rng.choice((*KINDS, PROFILE)), w)
    plain = 0.6 if m.kind is PROFILE else 0  # share of plain questions, for their many wordings
    asked = [question(m, w) if w.rng.random() < plain else turn(m, w) for _ in range(w.rng.randint(3, 6))]
    return conversation(asked, m.text, w)


def repeat(w: World) -> Row:
    """A whole message said again: the densest lesson in copying that natural text gives."""
    asked = w.rng.choice(
        ["Repeat the text.", "Say the text again.", "Copy the text.", "Write the text down once more."]
    )
    return conversation([("repeat", asked, (text := write(w.rng.choice(KINDS), w, (0, 1)).text))], text, w)


def easy(w: World) -> Row:
    """One or two sentences of a message, without its frame, and four to eight questions about what stands there."""
    kind = w.rng.choice(KINDS)
    whole = write(kind, w, (0, 0))
    told = w.rng.sample(whole.sentences, w.rng.randint(1, 2))
    text = " ".join(told)
    asks = {key: ask for key, ask in kind.asks.items() if whole.facts[key].lower() in text.lower()}
    says = tuple(group for group in kind.says if all(set(slots(way)) <= set(asks) for way in group))
    m = replace(whole, kind=replace(kind, asks=asks, says=says), text=text, sentences=tuple(told))
    ways = [question, extract, detail, *([claim, claim, fill_in] if says else [])]
    return conversation([w.rng.choice(ways)(m, w) for _ in range(w.rng.randint(4, 8))], text, w)


def detailed(w: World) -> Row:
    """A whole message, all its details, and one question more."""
    m = write(w.rng.choice(KINDS), w, (0, 1))
    return conversation([details(m, w), turn(m, w)], m.text, w)


def questions(w: World) -> Row:
    """What a question is after: asked again in plain words, looked up in a table, or compared with another one."""
    drawn = w.rng.random()
    if drawn < 0.5:
        plainly = [asking.plain(w) for _ in range(w.rng.randint(3, 7))]
        return [{"role": "system", "content": w.rng.choice(PLAINLY)}, *(m for _, a, b in plainly for m in chat(a, b))]
    if drawn < 0.9:
        table, turns = asking.told(w)
        return conversation(turns, table, w)
    return conversation([asking.same(w) for _ in range(w.rng.randint(1, 3))], None, w)


def row(w: World) -> Row:
    name = w.rng.choices([n for n, _ in MIX], [p for _, p in MIX])[0]
    if name == "reading":
        return reading(w)
    if name == "repeat":
        return repeat(w)
    if name == "asking":
        return questions(w)
    if name == "text":
        return [{"role": "text", "content": write(w.rng.choice(KINDS), w).text}]
    draw = (lambda: drill(w, KINDS)) if name == "drills" else (lambda: talk(w))
    return conversation([draw() for _ in range(w.rng.randint(1, 3))], None, w)


LESSONS = (detailed, detailed, detailed, easy, easy, repeat)
"""What the first rows are made of, evenly."""


def rows(seed: int, ramp: int = 0) -> Iterator[Row]:
    """Rows without end; the same seed gives the same rows, on every machine.

    Over the first `ramp` rows the share of lessons in copying and finding (`detailed`, `easy`, `repeat`) falls from
    all to none.
    """
    w = World(random.Random(seed), Pool.TRAIN, FRESH)
    for i in itertools.count():
        start = w.rng.random() >= i / ramp if ramp else False
        yield w.rng.choice(LESSONS)(w) if start else row(w)
