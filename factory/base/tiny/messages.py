"""The grammar: a message kind, filled from the world, becomes a text whose facts are known.

A `Kind` is data (see `kinds_office.py` and `kinds_service.py`): how to draw its facts, the groups of
sentences its body is made of (one alternative of each group is taken), what can be asked about each
fact, and statements that say the facts again in other words. `write` turns a kind into a `Message`.

Templates are `str.format` strings over the facts; a capitalised slot (`{Event}`) is the fact with a
capital first letter. Both spellings of a word are different tokens, so both must occur.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from factory.base.tiny.world import World, made_up


@dataclass(frozen=True)
class Ask:
    """What can be asked about one fact: its type (values of one type can be mistaken for each other),
    a noun for it, and questions."""

    type: str
    noun: str
    questions: tuple[str, ...]


@dataclass(frozen=True)
class Kind:
    """One kind of message, as data."""

    name: str
    draw: Callable[[World], dict[str, str]]
    frame: str
    """How the text is framed: "mail", "note" or "chat"."""
    body: tuple[tuple[str, ...], ...]
    """Groups of alternative sentences; one of each group stands in the text, in this order."""
    asks: dict[str, Ask]
    says: tuple[tuple[str, ...], ...]
    """Groups of paraphrases, each about one or two facts; for rewriting and for checking statements."""
    titles: tuple[str, ...] = ()
    """Subject lines or headings."""


@dataclass(frozen=True)
class Message:
    """A text and what is known about it. `facts` maps a key of `kind.asks` to the words in the text."""

    kind: Kind
    text: str
    facts: dict[str, str]
    sentences: tuple[str, ...] = field(default=())
    """The body's sentences as they stand in the text, distractors included."""

    def say(self, template: str) -> str:
        return fill(template, self.facts)


class _Slots(dict):
    """Facts, with `{Event}` answered by the capitalised `event`."""

    def __missing__(self, key: str) -> str:
        return capital(self[key[0].lower() + key[1:]])


def capital(text: str) -> str:
    """`text` with a capital first letter and the rest untouched ("Q3 numbers" stays)."""
    return text[:1].upper() + text[1:]


def fill(template: str, facts: dict[str, str]) -> str:
    return template.format_map(_Slots(facts))


def slots(template: str) -> list[str]:
    """The fact keys of a template, in order: "{Event} is on {day}." → ["event", "day"]."""
    keys = [part.split("}")[0] for part in template.split("{")[1:]]
    return [key[0].lower() + key[1:] for key in keys]


GREETINGS = (
    "Hi {to},",
    "Hello {to},",
    "Dear {to},",
    "Hi team,",
    "Hello all,",
    "Dear colleagues,",
    "Hi everyone,",
    "Good morning,",
    "Hey folks,",
    "Good afternoon {to},",
    "Hi,",
    "Hello,",
    "Dear all,",
    "Hey {to},",
)
CLOSINGS = (
    "Thanks,",
    "Best,",
    "Regards,",
    "Cheers,",
    "Many thanks,",
    "Kind regards,",
    "Best wishes,",
    "See you,",
    "All the best,",
    "Thank you,",
)

IDLE = (
    "Let me know if you have any questions.",
    "The coffee machine on our floor is working again.",
    "I hope you all had a good weekend.",
    "Parking is limited, so please share cars if you can.",
    "Lunch will be provided.",
    "Sorry for the short notice.",
    "Please forward this to anyone I missed.",
    "The weather looks fine this week.",
    "We are sorry for any trouble this causes.",
    "Thank you for your patience.",
    "Our help pages have more on this.",
    "You do not need to reply to this message.",
    "It was good to see so many of you.",
    "The new chairs have arrived and look great.",
    "Feel free to call me any time.",
    "Nothing else changes.",
    "Please keep this message for your records.",
    "We know this is not ideal.",
    "The kitchen will be cleaned as usual.",
    "I will share more news soon.",
    "Your feedback helps us to improve.",
    "Have a great day.",
    "The plants near the window need some water.",
    "Thanks again for all your help.",
    "Please mind the wet floor.",
)
BUSY = (
    "By the way, {p} is on leave until {d}.",
    "{p} says hello from {c}.",
    "I met {p} in {c} last {w}.",
    "The canteen is closed on {d}.",
    "{p} joined the {s} team on {d}.",
    "The {g} I ordered came to {a}.",
    "Last {w} we had {n} guests and it went well.",
    "{p} will be in {c} from {d} on.",
    "The lift is out of order until {d}.",
    "Remember that the {e} was fun for all {n} of us.",
    "My phone is off until {t}.",
    "The shop on {st} now opens at {t}.",
    "{p} found a {g} in the hall, please ask at the desk.",
    "The old {s} guide is {n} pages long.",
    "Congratulations to {p} on the prize.",
    "The {e} in {c} drew {n} people.",
)


def distractor(world: World) -> str:
    """A sentence that does not matter; two in five carry a name, day, time or number that does not either."""
    from factory.base.tiny import world as w

    rng = world.rng
    if rng.random() < 0.6:
        return rng.choice(IDLE)
    return rng.choice(BUSY).format(
        p=world.person(), c=world.city(), d=world.days(1)[0], w=rng.choice(w.WEEKDAYS), t=world.times(1)[0],
        n=rng.randint(3, 180), a=world.amount(), s=rng.choice(w.SERVICES), g=rng.choice(w.GOODS),
        e=rng.choice(w.EVENTS), st=f"{rng.choice(w.STREETS)} Street")  # fmt: skip


def write(
    kind: Kind, world: World, distractors: tuple[int, int] = (0, 2), leave_out: frozenset[int] = frozenset()
) -> Message:
    """One message of `kind`, with between `distractors[0]` and `distractors[1]` sentences that do not matter.

    `leave_out` names body groups that are not told; the caller then must not ask about their facts.
    """
    rng = world.rng
    facts = kind.draw(world)
    told = [fill(rng.choice(group), facts) for i, group in enumerate(kind.body) if i not in leave_out]
    for _ in range(rng.randint(*distractors)):
        extra = distractor(world)
        if kind.frame == "chat":
            extra = f"{facts[rng.choice(['asker', 'other'])]}: {extra}"
        told.insert(rng.randint(1 if kind.frame == "chat" else 0, len(told)), extra)
    return Message(kind, FRAMES[kind.frame](kind, facts, told, world), facts, tuple(told))


def _mail(kind: Kind, facts: dict[str, str], told: list[str], world: World) -> str:
    rng = world.rng
    title = capital(fill(rng.choice(kind.titles), facts))
    body = (" " if rng.random() < 0.8 else "\n").join(told)
    greeting = rng.choice(GREETINGS).format(to=world.first())
    sender = facts["sender"]
    head = rng.choice([f"From: {sender}\nSubject: {title}", f"Subject: {title}\nFrom: {sender}", f"Subject: {title}"])
    signed = rng.choice([sender, sender, sender.split()[0]]) if sender in head else sender
    return f"{head}\n\n{greeting}\n{body}\n{rng.choice(CLOSINGS)}\n{signed}"


def _note(kind: Kind, facts: dict[str, str], told: list[str], world: World) -> str:
    body = " ".join(told)
    if kind.titles and world.rng.random() < 0.5:
        return f"{capital(fill(world.rng.choice(kind.titles), facts))}\n{body}"
    return body


def _chat(kind: Kind, facts: dict[str, str], told: list[str], world: World) -> str:
    return "\n".join(told)


FRAMES = {"mail": _mail, "note": _note, "chat": _chat}


def wrong(type_: str, value: str, message: Message | None, world: World) -> str:
    """Another value of the same type, made hard to tell apart: half the time one that stands elsewhere in
    the same message, else a near miss in the digits, else a fresh draw. Never equal to `value`."""
    rng = world.rng
    if message and rng.random() < 0.5:
        others = [
            v
            for k, v in message.facts.items()
            if message.kind.asks.get(k, Ask("", "", ())).type == type_ and v != value
        ]
        if others:
            return rng.choice(others)
    for _ in range(20):
        other = _near(value, rng) if any(c.isdigit() for c in value) and rng.random() < 0.6 else DRAW[type_](world)
        if other.lower() != value.lower() and (not message or other.lower() not in message.text.lower()):
            return other
    return DRAW[type_](world)


def _near(value: str, rng: random.Random) -> str:
    """`value` with one digit changed: "room 214" → "room 284"."""
    at = rng.choice([i for i, c in enumerate(value) if c.isdigit()])
    first = at == 0 or not value[at - 1].isdigit()
    return (
        value[:at]
        + rng.choice([d for d in "123456789"[::1] + ("" if first else "0") if d != value[at]])
        + value[at + 1 :]
    )


def _list(name: str) -> Callable[[World], str]:
    from factory.base.tiny import world as w

    return lambda world: world.rng.choice(getattr(w, name))


DRAW: dict[str, Callable[[World], str]] = {
    "person": lambda w: w.person(), "first": lambda w: w.first(), "day": lambda w: w.days(1)[0],
    "time": lambda w: w.times(1)[0], "room": lambda w: w.room(), "city": lambda w: w.city(),
    "code": lambda w: w.code(), "amount": lambda w: w.amount(), "percent": lambda w: w.percent(),
    "minutes": lambda w: w.minutes(), "address": lambda w: w.address(), "company": lambda w: w.company(),
    "carrier": lambda w: w.carrier(), "venue": lambda w: w.venue(), "number": lambda w: str(w.rng.randint(2, 40)),
    "made_up": lambda w: made_up(w.rng), "skills": lambda w: w.skills(), "what": _list("WHATS"),
    "event": _list("EVENTS"), "thing": _list("THINGS"), "goods": _list("GOODS"), "service": _list("SERVICES"),
    "cause": _list("CAUSES"), "reason": _list("REASONS"), "problem": _list("PROBLEMS"), "wish": _list("WISHES"),
}  # fmt: skip
"""How a fresh value of each type is drawn."""
