"""Training rows from templates.txt, the same for the same seed: python adapters/sums/make.py [rows] > train.jsonl"""

import json
import random
import re
import sys
from pathlib import Path

LINE = re.compile(
    r'- (?P<kind>[\w ]+) \| (?P<draws>[^|]+) \| "(?P<question>.+?)" \| "(?P<steps>.+?)" \| (?P<answer>.+)'
)
NAMES = "Mia Ben Lena Omar Ava Leo Nora Kim Ravi Ella Jack Sara Tom Yuki Ida Max Zoe Paul Aisha Finn Rosa Luke Emma Ali"
THINGS = """apples pens marbles stickers cards eggs shells stones books coins cookies pears plums nuts buttons balls
cups stamps beads flowers tickets keys leaves photos candles ribbons blocks dolls cars spoons"""
BEFORE = ("", "", "", "It is a sunny day. ", "Here is a problem. ", "Listen: ", "Think about this. ", "A riddle: ")
AFTER = ("", "", "", "", " Please work it out.", " Show your steps.", " I want to know.")


def one(rng: random.Random, lines: list[re.Match[str]]) -> dict[str, str]:
    line = rng.choice(lines)
    n, m = rng.sample(NAMES.split(), 2)
    t, u = rng.sample(THINGS.split(), 2)
    known: dict[str, object] = {"n": n, "m": m, "t": t, "u": u}
    for draw in line["draws"].split():
        name, low, high = re.split("[=-]", draw)
        known[name] = rng.randint(int(low), int(high))

    def filled(text: str) -> str:
        return re.sub(r"\{([^}]+)\}", lambda found: str(eval(found[1], {}, known)), text)

    asked = rng.choice(BEFORE) + filled(line["question"]) + rng.choice(AFTER)
    asked = asked.lower() if rng.random() < 0.1 else asked
    answer = eval(line["answer"], {}, known)
    said = f"<think>{filled(line['steps'])}.</think><answer>{answer}</answer>"
    return {"prompt": asked, "completion": said, "kind": line["kind"]}


if __name__ == "__main__":
    text = Path(__file__).with_name("templates.txt").read_text(encoding="utf-8")
    found = [m for row in text.splitlines() if (m := LINE.fullmatch(row))]
    dice = random.Random(23)
    rows: dict[str, dict[str, str]] = {}
    while len(rows) < (int(sys.argv[1]) if len(sys.argv) > 1 else 4000):
        made = one(dice, found)
        rows[made["prompt"]] = made
    for made in rows.values():
        print(json.dumps(made, ensure_ascii=False))
