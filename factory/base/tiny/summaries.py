"""Rows of the task `summary`: a message and one or two sentences that a phone would show in its place.

House style: first what happened, in as few words as it takes; then what to do, and by when; words are
written as the message's body writes them, and each fact comes after a word that says what it is. All
ways of one part tell the same facts. Each kind of message has parts that may be absent; the summary
says what is there and nothing else, and leaves out greetings, news of the coffee machine and everything
about people who do not matter.

One row: {"document": "...", "summary": "New date for the security audit: Friday 2:30 pm, room 214. Send the ...",
"required": [["security audit"], ["Friday"], ...], "kind": "move", "unseen": false}
A row that is `unseen` also lists the `names` in its summary that pre-training has never shown.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from factory.base.tiny.corpus import KINDS
from factory.base.tiny.messages import capital, fill, slots, write
from factory.base.tiny.world import HELD_CITIES, HELD_FIRST, HELD_LAST, Pool, World

FRESH = 0.5
"""Share of made-up names in the rows that use the names of pre-training: a name is to be copied, not known."""


@dataclass(frozen=True)
class Part:
    """One part of a summary: the group of the message's body that it tells of, and ways to put it.

    Groups that no part names (or that are named in `Style.spare`) may or may not stand in the message.
    """

    group: int
    ways: tuple[str, ...]
    optional: bool = False


@dataclass(frozen=True)
class Style:
    """How messages of one kind are summed up: parts in order; a part that starts with ";" or "," continues the
    sentence before it."""

    parts: tuple[Part, ...]
    spare: tuple[int, ...] = ()
    """Groups that do not matter to the reader and are told in two messages of three."""


STYLES = {
    "move": Style((
        Part(0, ("New date for the {event}: {day} {time}, {room}.",
                 "Moved: the {event} is on {day} at {time} in {room}.")),
        Part(1, ("Send the {thing} to {person} by {due}.",), optional=True))),
    "request": Style((
        Part(1, ("From {sender}: send the {thing} by {due}, {time}.",)),
        Part(2, ("Bring {number} copies for {person}.",), optional=True)), spare=(0,)),
    "chat": Style((
        Part(1, ("Meeting on {day} at {time}",)), Part(2, (" at {venue}.",)),
        Part(4, ("The {thing} comes from {other}.",), optional=True)), spare=(3,)),
    "calendar": Style((
        Part(0, ("New place for the {event} on {day} at {time}:", "On {day} at {time} the {event} is in")),
        Part(1, (" {room}.",)),
        Part(2, ("Answer {organiser} by {due}.",), optional=True))),
    "booking": Style((
        Part(0, ("Table at {venue} for {number} on {day} at {time}.",)),
        Part(2, ("Confirm by {due} with code {code}.",), optional=True)), spare=(1, 3)),
    "travel": Style((
        Part(0, ("Train {train} to {goal} now leaves on {day} at {time}",
                 "{day}: train {train} to {goal} leaves at {time}")),
        Part(1, (" from platform {platform}",), optional=True), Part(0, (".",)),
        Part(3, ("Ask {person} about tickets.",), optional=True)), spare=(2,)),
    "delivery": Style((
        Part(0, ("Delivery of the {goods} with {carrier}", "Delivery by {carrier}: the {goods}")),
        Part(1, (" on {day}, {time} to {end}.",)),
        Part(2, ("If missed, collect it at {address} by {due}.",), optional=True)), spare=(3,)),
    "incident": Style((
        Part(0, ("Outage of the {service} since {time} on {day}.", "Since {day} {time} the {service} does not work.")),
        Part(3, ("Use the {other} until the fix",)), Part(4, ("; news at {update}",), optional=True), Part(3, (".",))),
        spare=(1, 2, 5)),
    "payment": Style((
        Part(0, ("Invoice {code} over {amount} is unpaid.",)), Part(2, ("Pay {company} by {due}",)),
        Part(3, (" to avoid a fee of {fee}",), optional=True), Part(2, (".",))), spare=(1,)),
    "alert": Style((
        Part(0, ("The {service} in {city} is at {percent}, limit {limit}.",
                 "Alert in {city}: {service} at {percent}, limit {limit}.")),
        Part(3, ("Server {number} must be restarted by {person} before {update}.",))), spare=(1, 2)),
}  # fmt: skip
"""Kind of message → how it is summed up."""

NAMED = ("move", "request", "chat", "calendar", "travel", "alert")
"""Kinds whose summary holds a person or a city: only these can show that an unseen name is copied."""


def row(kind_name: str, w: World) -> dict:
    """One row. A row is `unseen` when a name that pre-training held out stands in its summary."""
    kind = next(k for k in KINDS if k.name == kind_name)
    style, rng = STYLES[kind_name], w.rng
    away = {p.group for p in style.parts if p.optional and rng.random() < 0.25}
    away |= {g for g in style.spare if rng.random() < 1 / 3}
    m = write(kind, w, (0, 2), frozenset(away))
    told = [rng.choice(p.ways) for p in style.parts if p.group not in away]
    summary, facts = "", []
    for way in told:
        summary += (" " if summary.endswith(".") else "") + way
        facts += [k for k in slots(way) if k not in facts]
    body = " ".join(m.sentences)
    summary = capital(fill(summary, {k: v if v in body else capital(v) for k, v in m.facts.items()}))
    held = HELD_FIRST + HELD_LAST + HELD_CITIES if w.pool is Pool.HELD else []
    names = [m.facts[k] for k in facts if any(name in m.facts[k] for name in held)]
    return {
        "document": m.text,
        "summary": summary,
        "required": [[m.facts[k]] for k in facts],
        "kind": kind_name,
        "unseen": bool(names),
        **({"names": names} if names else {}),
    }


def rows(seed: int, train: int, evaluation: int) -> tuple[list[dict], list[dict]]:
    """`train` rows and `evaluation` rows; half of the latter are `unseen`, and none asks for facts that a train
    row asks for."""
    w = World(random.Random(f"summary {seed}"), Pool.TRAIN, FRESH)
    held = World(random.Random(f"summary held {seed}"), Pool.HELD)
    kinds = list(STYLES)
    training = [row(kinds[i % len(kinds)], w) for i in range(train)]
    w.rng.shuffle(training)
    asked = {combination(r) for r in training}
    tests: list[dict] = []
    while len(tests) < evaluation:
        i = len(tests)
        r = row(kinds[i // 2 % len(kinds)], w) if i % 2 == 0 else row(NAMED[i // 2 % len(NAMED)], held)
        if combination(r) not in asked and r["unseen"] == bool(i % 2):
            asked.add(combination(r))
            tests.append(r)
    return training, tests


def combination(r: dict) -> tuple[str, ...]:
    """The facts that a row asks for, as one value to compare rows by."""
    return tuple(sorted(spelling[0].lower() for spelling in r["required"]))
