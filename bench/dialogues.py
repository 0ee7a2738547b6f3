"""`factory bench only=dialogues`: what a training over long rows holds, and how fast it is beside short rows.

ROWS rows as long as DialogSum's (130 words on average, some above 500, answers of twenty words), and rows of at most
SHORT tokens with as many tokens together, in turns, each in a process of its own. No two rows begin alike, so that all
tokens that are counted are computed.
"""

import json
import math
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from bench import rows
from bench.rows import Task
from bench.training import Process, ours
from factory import recipe as recipes
from factory.base.build import load_tokenizer, prepare
from factory.data.rows import Row
from factory.train.tokens import encode

ROWS, SHORT = 298, 60
WORDS, SPREAD, LONGEST = 115, 0.5, 560  # the median row, how lengths scatter around it (lognormal), and the most
TURN, ANSWER = 13, 20  # words of a turn and of an answer
ROUNDS = 2


def run(
    base: str = "auto", count: int = ROWS, rounds: int = ROUNDS, progress: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Peak megabytes and tokens a second of both, and the speed of long rows as a share of that of short ones."""
    known = prepare(base)
    tokenizer = load_tokenizer(known)
    settings: dict[str, Any] = {"epochs": 1, "batch": 16, "lr": known.lr, "r": 16, "max_length": 1024}
    made = {"long": long(count), "short": []}
    lengths = {"long": [len(encode(tokenizer, row, settings["max_length"]).input_ids) for row in made["long"]]}
    lengths["short"], pieces = [], short()
    while sum(lengths["short"]) < sum(lengths["long"]):
        row = next(pieces)
        if (length := len(encode(tokenizer, row, settings["max_length"]).input_ids)) <= SHORT:
            made["short"].append(row)
            lengths["short"].append(length)
    found: dict[str, list[Process]] = {kind: [] for kind in made}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, of in made.items():
            rows.save(folder / f"0-{kind}" / "train.jsonl", of)
        for number in range(rounds):
            for kind in made:
                task = Task(f"0-{kind}", folder / f"0-{kind}", 0)
                found[kind].append(ours(known, [task], folder / f"{kind}-{number}", settings))
                progress(f"{number + 1}/{rounds} {kind}: {found[kind][-1].training:.1f} s")
    speeds = {kind: [sum(lengths[kind]) / one.training for one in found[kind]] for kind in found}
    result: dict[str, Any] = {
        kind: {
            "rows": len(made[kind]),
            "tokens": sum(lengths[kind]),
            "longest": max(lengths[kind]),
            "tokens_per_second": round(median(speeds[kind])),
            "peak_mb": round(max(one.peak for one in found[kind]) / 1e6),
        }
        for kind in found
    }
    pairs = zip(speeds["long"], speeds["short"], strict=True)
    return result | {"speed_ratio": round(median(one / other for one, other in pairs), 3), "base": known.label}


def long(count: int) -> list[Row]:
    """Dialogues of two persons, of the words of the summary task's messages."""
    draw, words = random.Random(0), _words()
    made = []
    for number in range(count):
        length = min(LONGEST, round(WORDS * math.exp(draw.gauss(0, SPREAD)))) if number else LONGEST
        turns: list[str] = []
        while length > 0:
            said = [next(words) for _ in range(min(length, draw.randint(3, 2 * TURN - 3)))]
            turns.append(f"#Person{len(turns) % 2 + 1}#: {' '.join(said)}")
            length -= len(said)
        made.append(_row(number, "\n".join(turns), " ".join(next(words) for _ in range(ANSWER))))
    return made


def short() -> Iterator[Row]:
    """Questions of a few words, of the same words, each with an answer of three."""
    draw, words, number = random.Random(0), _words(), 0
    while True:
        said = [" ".join(next(words) for _ in range(length)) for length in (draw.randint(8, 26), 3)]
        yield _row(number, *said)
        number += 1


def _row(number: int, question: str, answer: str) -> Row:
    said = (("system", f"{number}: answer."), ("user", question), ("assistant", answer))
    return Row(tuple({"role": role, "content": text} for role, text in said))


def _words() -> Iterator[str]:
    file = recipes.load("summary").folder / "train.jsonl"
    texts = [json.loads(line)["document"] for line in file.read_text(encoding="utf-8").splitlines()]
    while True:
        for text in texts:
            yield from text.split()
