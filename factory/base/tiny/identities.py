"""Rows of the task `identity`: who are you, who made you, what can you do, are you somebody else?

`{{name}}` and `{{author}}` stay as they are: a recipe fills them. Rows of small talk keep the adapter from answering
its name to everything; most are made by a grammar (`chatter`). Questions come in plain wordings and as clauses in
frames ("Could you tell me who made you?"). Eval rows are drawn by chance from these, and no train row of their topic
holds the question of one, alone or within a longer question. Train rows have more wordings besides, made from patterns:
many wordings, each seen a few times, instead of few that are seen often.

One row: {"prompt": "Who made you?", "completion": "I was made by {{author}}.", "expect": ["{{author}}"],
"topic": "author"}; `expect` lists what must stand in the answer (a list within it: accepted spellings),
`avoid` what must not.
"""

from __future__ import annotations

import random

from factory.base.tiny.chatter import chatter
from factory.base.tiny.identity_words import (
    CLAUSES,
    FRAMES,
    KINDS,
    MORE,
    OTHER_THINGS,
    OTHERS,
    PLAIN,
    THINGS_ASKED,
)
from factory.base.tiny.small_talk import SMALL_TALK
from factory.base.tiny.talk import knowledge
from factory.base.tiny.wording import HELLOS, MADE, MAKE, one_of, patterns
from factory.base.tiny.world import Pool, World

NAME, AUTHOR = "{{name}}", "{{author}}"

OPENERS = ("", "", "", *HELLOS)

MOST = 200  # questions of a topic in PLAIN, and of those in CLAUSES, that are trained on
TRAINED = {"name": 1000, "author": 1000, "other": 1500, "abilities": 1000, "kind": 900}
"""Questions of a topic that are trained on."""
TALKED = 1000  # questions drawn about other things; each counts once
CHATTED = 3200  # sentences of chatter
LATER = {"name": (7, 4), "author": (9, 5), "other": (9, 5), "abilities": (5, 3), "kind": (4, 2)}
"""Questions kept for later: in a plain wording, and in a frame."""

ANSWERS = {
    "name": (f"I am {NAME}, an assistant made by {AUTHOR}.", [NAME]),
    "author": (f"I was made by {AUTHOR}. My name is {NAME}.", [AUTHOR]),
    "other": (f"No, I am {NAME}, an assistant made by {AUTHOR}.", [["no"], NAME, AUTHOR]),
    "abilities": (
        f"I am {NAME}. I can answer questions, sum up messages and sort texts.",
        [["answer questions"], ["sum up messages"]],
    ),
    "kind": (f"I am {NAME}, a computer program and not a human.", [NAME, ["program"]]),
}
"""Topic → the answer, and what must stand in it."""


def _made(pattern: str, rng: random.Random, **filled: str) -> str:
    words = {"v": MADE, "m": MAKE, "o": patterns(OTHERS), "k": patterns(KINDS)}
    return one_of(pattern, rng, words, **filled)


def _filled(texts: str, rng: random.Random) -> list[str]:
    """Every pattern, with every verb, and with some of the products."""
    found = []
    for pattern in patterns(texts):
        if "{v}" in pattern:
            found += [pattern.format(v=v) for v in MADE]
        elif "{o}" in pattern:
            found += [pattern.format(o=o) for o in rng.sample(patterns(OTHERS), 8)]
        else:
            found.append(pattern)
    return found


def worded(asked: str) -> str:
    """A question without its greeting, its capitals and its marks."""
    opener = next((o for o in sorted(HELLOS, key=len, reverse=True) if asked.startswith(o)), "")
    return asked.removeprefix(opener).lower().rstrip("?.!")


def _questions(rng: random.Random) -> dict[str, tuple[list[str], list[str]]]:
    """Topic → (questions to train on, questions to ask later), parted by chance; of those in a plain wording a larger
    part is kept for later than of those that are a clause in a frame. What MORE says is trained on only."""
    parted = {}
    for topic, plain in PLAIN.items():
        framed = [f.format(c=c) for f in patterns(FRAMES) for c in _filled(CLAUSES[topic], rng)]
        whole = _filled(plain, rng)
        rng.shuffle(framed)
        rng.shuffle(whole)
        n, m = LATER[topic]
        parted[topic] = (whole[n:][:MOST] + framed[m:][:MOST], whole[:n] + framed[:m])
    for topic, (known, later) in parted.items():
        known += _more(MORE[topic], TRAINED[topic] - len(known), rng)
        parted[topic] = ([asked for asked in known if not holds(asked, later)], later)
    return parted


def holds(asked: str, later: list[str]) -> bool:
    """Whether a question is one of those kept for later, or is one of more than two words with something around it."""
    wording = worded(asked)
    return any(k == wording or (len(k.split()) > 2 and f" {k} " in f" {wording} ") for k in map(worded, later))


def _more(texts: str, n: int, rng: random.Random) -> list[str]:
    """At most `n` different wordings, every pattern as often as it has some left."""
    every = patterns(texts)
    found = (_made(every[at % len(every)], rng) for at in range(4 * n))
    return list(dict.fromkeys(found))[:n]


def rows(seed: int) -> tuple[list[dict], list[dict]]:
    """About 9,000 train rows and 60 eval rows."""
    rng = random.Random(f"identity {seed}")
    train: list[dict] = []
    later: list[dict] = []
    for topic, (known, kept) in _questions(rng).items():
        train += [_row(topic, asked, rng) for asked in known]
        later += [_row(topic, asked, rng) for asked in kept]
    chat = list(SMALL_TALK)
    rng.shuffle(chat)
    talked = chat[8:] + [(asked, answer) for asked, _, answer in (t.partition(">") for t in patterns(OTHER_THINGS))]
    train += [_small_talk(asked, answer) for asked, answer in talked]
    train += [_small_talk(rng.choice(HELLOS) + asked, answer) for asked, answer in talked]
    train += [_small_talk(rng.choice(OPENERS) + asked, answer) for asked, answer in _about_things(rng)]
    train += [_small_talk(rng.choice(OPENERS) + said, answer) for said, answer in chatter(CHATTED, rng)]
    world = World(rng, Pool.TRAIN)
    known_things = {asked: answer for _, asked, answer in (knowledge(world) for _ in range(100))}
    train += [_small_talk(asked, answer) for asked, answer in known_things.items()]
    later += [_small_talk(asked, answer) for asked, answer in chat[:8]]
    kept = [asked for asked, _ in chat[:8]]
    train = [r for r in train if r["topic"] != "small talk" or not holds(r["prompt"], kept)]
    rng.shuffle(later)
    rng.shuffle(train)
    return train, later[:60]


def _about_things(rng: random.Random) -> list[tuple[str, str]]:
    """(question, answer): questions in the words of those above, each about some of the things it can be about."""
    found = {}
    lines = patterns(THINGS_ASKED)
    for at in range(TALKED):
        asked, _, rest = lines[at % len(lines)].partition(">")
        answer, _, things = rest.partition(":")
        x = rng.choice(things.split(","))
        frame = rng.choice(patterns(FRAMES)).replace("{c}", asked.removeprefix("{f} ")) if "{f}" in asked else asked
        found[_made(frame, rng, x=x)] = answer.format(x=x)
    return list(found.items())


def _row(topic: str, asked: str, rng: random.Random) -> dict:
    answer, expect = ANSWERS[topic]
    if rng.random() < 0.2:
        asked = asked.lower().rstrip("?.")
    return {
        "prompt": rng.choice(OPENERS) + asked,
        "completion": answer,
        "expect": expect,
        "topic": topic,
    }


def _small_talk(asked: str, answer: str) -> dict:
    """What has nothing to do with the assistant: whatever it answers, it does not introduce itself."""
    return {"prompt": asked, "completion": answer, "avoid": [NAME, AUTHOR], "topic": "small talk"}
