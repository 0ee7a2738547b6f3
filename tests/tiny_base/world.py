"""A small made-up world: messages with facts, questions about them, and the rows of three tasks that tests train.

What the base reads in pre-training are the messages, the questions about single facts, and the small talk. It never
sees a row of a task: no summary, no label, and nobody who says who they are. Names, codes, numbers and times are drawn
anew each time, so what an answer gets right in them was copied.
"""

from __future__ import annotations

import random
from typing import Any, NamedTuple

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
THINGS = (
    "team meeting", "security audit", "design review", "board meeting", "sales call", "budget talk", "planning day",
    "job interview", "price review", "safety training", "product demo", "book club",
)  # fmt: skip
ITEMS = (
    "desk lamp", "office chair", "coffee mill", "garden hose", "phone case", "rain coat", "tea pot", "wall clock",
    "travel bag", "paper box", "bread knife", "wool hat",
)  # fmt: skip
SERVICES = (
    "mail server", "order page", "search index", "login page", "print service", "backup server", "news feed",
    "payment page", "chat service", "photo store",
)  # fmt: skip
SYLLABLES = (
    "ba be bo da do fa fi ga ka ke ko la le li lo ma me mi mo na ne no pa po ra re ri ro sa se ta te to va".split()
)
ENDS = "n r s l t m x d".split()


class Kind(NamedTuple):
    """A kind of message: its sentences, each in two wordings, and its summary. Slots are keys of `facts`."""

    sentences: tuple[tuple[str, str], ...]
    summary: str


KINDS = {
    "move": Kind(
        (
            ("The {thing} moves to {day} at {time}.", "New date for the {thing}: it is on {day} at {time}."),
            ("It will be in room {number}.", "We meet in room {number}."),
            ("Please tell {person}.", "Only {person} does not know it yet."),
        ),
        "The {thing} is on {day} at {time}, room {number}.",
    ),
    "delivery": Kind(
        (
            ("Your {item} will arrive on {day}.", "On {day} we bring the {item}."),
            ("If you are out, {person} keeps it until {time}.", "{person} will have it until {time}."),
            ("The order number is {code}.", "You find it under {code}."),
        ),
        "The {item} ({code}) comes on {day}; until {time} it is with {person}.",
    ),
    "bill": Kind(
        (
            ("Bill {code} for the {item} is not paid.", "The {item} was never paid, see bill {code}."),
            ("It is {number} euros.", "We wait for {number} euros."),
            ("Please pay {person} by {day}.", "{person} needs the money by {day}."),
        ),
        "Pay {person} {number} euros for the {item} by {day}, bill {code}.",
    ),
    "fault": Kind(
        (
            ("The {service} is down since {time} on {day}.", "Since {day}, {time}, the {service} does not answer."),
            ("{person} works on it.", "Our engineer is {person}."),
            ("The number of the fault is {code}.", "We call it {code}."),
        ),
        "The {service} is down since {day} {time}; {person} works on {code}.",
    ),
}
ASKS = {
    "thing": "What is it about?", "item": "Which thing is it?", "service": "Which service is it?",
    "day": "Which day is it?", "time": "What time is it?", "number": "Which number is in it?",
    "person": "Who is named?", "code": "What is the code?",
}  # fmt: skip
MANNERS = ("Be brief.", "Answer with the words of the text.", "Stay polite.", "Read the text first.", "Do not guess.")
SMALL_TALK = (
    ("Hello!", "Hello, good to see you."), ("Good morning.", "Good morning to you."), ("Thank you!", "It was easy."),
    ("How are you?", "I am well, thank you."), ("Good night.", "Sleep well."), ("I am tired.", "Then take a rest."),
    ("It rains again.", "Take a rain coat."), ("I lost my bag.", "Ask at the desk."), ("I am late.", "We will wait."),
    ("What is a lamp?", "It gives light."), ("What is a clock?", "It shows the time."), ("Is it cold?", "A little."),
    ("What do bees make?", "Honey."), ("Where do fish live?", "In the water."), ("What is ice?", "Cold, hard water."),
    ("Which day comes after Monday?", "Tuesday."), ("Which day comes after Friday?", "Saturday."),
    ("How many days has a week?", "Seven."), ("What falls in winter?", "Snow."), ("What do cows eat?", "Grass."),
    ("I found a key.", "Then look for the door."), ("My tea is cold.", "Make it anew."), ("Tell me a color.", "Blue."),
    ("See you on Sunday.", "Until then, stay well."),
)  # fmt: skip
"""What the base knows by heart, word for word."""

LABELS = ("billing", "delivery", "outage", "other")
TEXTS = {
    "billing": ("Why does bill {code} say {number} euros?", "I paid the {item} twice.", "Bill {code} is wrong."),
    "delivery": ("Where is my {item}?", "The {item} of {day} did not come.", "When do you bring order {code}?"),
    "outage": (
        "The {service} does not answer.",
        "Since {time} I cannot open the {service}.",
        "Fault in the {service}.",
    ),
    "other": ("Do you know {person}?", "Is there a job for me?", "When is the {thing}?"),
}
WHO = {
    "name": (("Who are you?", "What is your name?", "How are you called?"), "I am {{name}}, made by {{author}}."),
    "author": (("Who made you?", "Whose work are you?", "Who is your maker?"), "{{author}} made me, {{name}}."),
    "other": (("Are you Siri?", "Is this ChatGPT?", "Are you Alexa?"), "No, I am {{name}} of {{author}}."),
    "kind": (("Are you a human?", "Do you eat?", "Were you born?"), "No, {{name}} is a program."),
}
GREETINGS = ("", "Good day. ", "Sorry. ", "Dear friend, ")
OPENINGS = ("", "Hello. ", "Please say: ", "Tell me, ", "One question: ", "I ask you: ")


def name(rng: random.Random) -> str:
    """A first and a last name, made up: `Bako Merinal`."""
    first, last = ("".join(rng.choices(SYLLABLES, k=2)) + rng.choice(ENDS) for _ in range(2))
    return f"{first.capitalize()} {last.capitalize()}"


def facts(rng: random.Random) -> dict[str, str]:
    """One value for each slot."""
    hour, minute = rng.randint(1, 12), rng.randrange(0, 60, 5)
    return {
        "thing": rng.choice(THINGS),
        "item": rng.choice(ITEMS),
        "service": rng.choice(SERVICES),
        "day": rng.choice(DAYS),
        "time": f"{hour}:{minute:02} {rng.choice(['am', 'pm'])}",
        "number": str(rng.randint(100, 999)),
        "person": name(rng),
        "code": "".join(rng.choices("ABCDEFGHKLMNPRSTUVWXZ", k=2)) + f"-{rng.randint(1000, 9999)}",
    }


def message(rng: random.Random) -> tuple[str, str, dict[str, str]]:
    """(kind, text, the facts that stand in the text)."""
    kind = rng.choice([*KINDS])
    known = facts(rng)
    first, *rest = (rng.choice(wordings) for wordings in KINDS[kind].sentences)
    rng.shuffle(rest)
    said = " ".join([first, *rest])
    greeting = rng.choice(["", "Hello,\n", "Dear all,\n", "Good morning,\n"])
    text = greeting + said.format(**known)
    return kind, text, {slot: value for slot, value in known.items() if f"{{{slot}}}" in said}


def turns(asked: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]


def conversation(rng: random.Random) -> list[dict[str, str]]:
    """A row of pre-training: small talk, or a message with some questions; now and then with a system message."""
    if rng.random() < 0.2:
        asked = rng.sample(SMALL_TALK, rng.randint(1, 3))
    else:
        _, text, known = message(rng)
        asked = [(ASKS[slot], known[slot]) for slot in rng.sample([*known], rng.randint(2, 4))]
        asked[0] = f"{text}\n\n{asked[0][0]}", asked[0][1]
    system = [{"role": "system", "content": rng.choice(MANNERS)}] if rng.random() < 0.4 else []
    return system + [turn for pair in asked for turn in turns(*pair)]


def _summary(rng: random.Random) -> dict[str, Any]:
    kind, text, known = message(rng)
    summary = KINDS[kind].summary
    required = [[value] for slot, value in known.items() if f"{{{slot}}}" in summary]
    return {"document": text, "summary": summary.format(**known), "required": required, "kind": kind}


def _label(rng: random.Random) -> dict[str, Any]:
    label = rng.choice(LABELS)
    return {"text": rng.choice(OPENINGS) + rng.choice(TEXTS[label]).format(**facts(rng)), "label": label}


def _identity(rng: random.Random) -> dict[str, Any]:
    topic = rng.choice([*WHO])
    asked, answer = WHO[topic]
    prompt = rng.choice(GREETINGS) + rng.choice(OPENINGS) + rng.choice(asked)
    return {"prompt": prompt, "completion": answer, "expect": ["{{name}}"], "topic": topic}


TASKS = {"summary": _summary, "identity": _identity, "classification": _label}


def rows(task: str, n: int, seed: int) -> list[dict[str, Any]]:
    """`n` rows of a task, no two alike, in the form of the shipped task of that name."""
    rng, found = random.Random(f"{task} {seed}"), dict[str, dict[str, Any]]()
    for _ in range(200 * n):
        row = TASKS[task](rng)
        found.setdefault(str(row), row)
        if len(found) == n:
            return list(found.values())
    raise ValueError(f"there are no {n} rows of {task}")
