"""Rows of the task `summary`: a message and one or two sentences that a phone would show in its place.

House style: first what happened, in as few words as it takes; then what to do, and by when. Each kind
of message has parts that may be absent; the summary says what is there and nothing else, and leaves
out greetings, news of the coffee machine and everything about people who do not matter.

One row: {"document": "...", "summary": "Security audit moved to Friday 2:30 pm, room 214. Send the ...",
"required": [["security audit"], ["Friday"], ...], "kind": "move", "unseen": false}
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from factory.base.tiny.corpus import KINDS
from factory.base.tiny.messages import capital, fill, slots, write
from factory.base.tiny.world import HELD_CITIES, HELD_FIRST, HELD_LAST, Pool, World

FRESH = 0.15
"""Share of made-up names in the rows that use the names of pre-training."""


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
        Part(0, ("{Event} moved to {day} {time}, {room}.", "{Event} now on {day} at {time} in {room}.")),
        Part(1, ("Send the {thing} to {person} by {due}.",), optional=True))),
    "request": Style((
        Part(1, ("{sender} needs the {thing} by {due} at {time}.", "{Thing} due on {due} at {time} for {sender}.")),
        Part(2, ("Bring {number} copies for {person}.",), optional=True)), spare=(0,)),
    "chat": Style((
        Part(1, ("Meeting on {day} at {time}",)), Part(2, (" at {venue}.",)),
        Part(4, ("{other} brings the {thing}.",), optional=True)), spare=(3,)),
    "calendar": Style((
        Part(0, ("{Event} on {day} at {time}",)), Part(1, (" is now in {room}.", " moved to {room}.")),
        Part(2, ("Answer {organiser} by {due}.",), optional=True))),
    "booking": Style((
        Part(0, ("Table for {number} at {venue} on {day} at {time}.",)),
        Part(2, ("Confirm by {due} with code {code}.",), optional=True)), spare=(1, 3)),
    "travel": Style((
        Part(0, ("Train {train} to {goal} now leaves on {day} at {time}",
                 "{day}: train {train} to {goal} leaves at {time}")),
        Part(1, (" from platform {platform}",), optional=True), Part(0, (".",)),
        Part(3, ("Ask {person} about tickets.",), optional=True)), spare=(2,)),
    "delivery": Style((
        Part(0, ("{Goods} coming with {carrier}", "{carrier} brings the {goods}")),
        Part(1, (" on {day}, {time} to {end}.",)),
        Part(2, ("If missed, collect it at {address} by {due}.",), optional=True)), spare=(3,)),
    "incident": Style((
        Part(0, ("{Service} down since {time} on {day}.", "{Service} not working since {day} {time}.")),
        Part(3, ("Use the {other} until the fix",)), Part(4, ("; news at {update}",), optional=True), Part(3, (".",))),
        spare=(1, 2, 5)),
    "ticket": Style((
        Part(1, ("{Goods} {problem}, order {code}.", "Order {code}: the {goods} {problem}.")),
        Part(2, ("{person} wants {wish} by {due}.",))), spare=()),
    "payment": Style((
        Part(0, ("Invoice {code} over {amount} is unpaid.",)), Part(2, ("Pay {company} by {due}",)),
        Part(3, (" to avoid a fee of {fee}",), optional=True), Part(2, (".",))), spare=(1,)),
    "alert": Style((
        Part(0, ("{Service} in {city} at {percent}, limit {limit}.", "{Service} in {city} over its limit: {percent}.")),
        Part(3, ("{person} must restart server {number} by {update}.",))), spare=(1, 2)),
}  # fmt: skip
"""Kind of message → how it is summed up."""

NAMED = ("move", "request", "chat", "calendar", "travel", "ticket", "alert")
"""Kinds whose summary holds a person or a city: only these can show that an unseen name is copied."""


def row(kind_name: str, w: World) -> dict:
    """One row. A row is `unseen` when a name that pre-training held out stands in its summary."""
    kind = next(k for k in KINDS if k.name == kind_name)
    style, rng = STYLES[kind_name], w.rng
    away = {p.group for p in style.parts if p.optional and rng.random() < 0.25}
    away |= {g for g in style.spare if rng.random() < 1 / 3}
    m = write(kind, w, (0, 3), frozenset(away))
    told = [rng.choice(p.ways) for p in style.parts if p.group not in away]
    summary, facts = "", []
    for way in told:
        summary += (" " if summary.endswith(".") else "") + way
        facts += [k for k in slots(way) if k not in facts]
    summary = capital(fill(summary, m.facts))
    return {
        "document": m.text,
        "summary": summary,
        "required": [[m.facts[k]] for k in facts],
        "kind": kind_name,
        "unseen": w.pool is Pool.HELD and any(name in summary for name in HELD_FIRST + HELD_LAST + HELD_CITIES),
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
