"""The training rows that a shop would have: queries with clicks, and what an earlier rewriter did that worked.

    PYTHONPATH=. python adapters/rewrite/make.py

writes `log.jsonl` and `earlier.jsonl` anew, the same ones each time. People in the log are made up: one wants an item,
names some of its values in words of their own, and clicks on items that have them.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path

from check import SHOP, SLOT_OF, SLOTS, items, named, share_found, tokens, wanted

HERE = Path(__file__).parent
LOG, EARLIER = 2200, 800
OPENINGS = "||||looking for |need |i need |any |where can i get |i want |do you have |got any |good ".split("|")
CLOSINGS = "||||| please| not too expensive| as a present| asap| under 50| cheap| nice one|?".split("|")
AFTER = "for that with to on when can has where takes keeps in from by over inside goes fit gets".split()
UNKNOWN = 0.1  # of what people say, the share that the earlier rewriter did not know


def query(draw: random.Random, wants: dict[str, str], terse: bool) -> str:
    """What somebody types who wants this, each value said as `wants` has it, qualities before the thing or behind."""
    kind, *values = wants.values()
    draw.shuffle(values)
    behind = [said for said in values if said.split()[0] in AFTER or (not terse and draw.random() < 0.2)]
    before = [said for said in values if said not in behind]
    said = " ".join([*before, kind, *behind])
    return said if terse else draw.choice(OPENINGS) + said + draw.choice(CLOSINGS)


def wish(draw: random.Random, graded: list[set[str]]) -> dict[str, str]:
    """Some values of an item, by the catalogue's words, each with how somebody says it; its type first. What a grading
    row wants is wanted by nobody here."""
    item = draw.choice(items())
    slots = [slot for slot in item if slot not in ("type", "title")]
    chosen = {*draw.sample(slots, draw.choice([1, 1, 2, 2, 2, 3])), "type"}
    wants = {value: SLOTS[slot][value] for slot, value in item.items() if slot in chosen}
    if {*wants} in graded:
        return wish(draw, graded)
    return {value: draw.choice(says) if draw.random() < 0.85 else value for value, says in wants.items()}


def misspelt(draw: random.Random, text: str) -> str:
    """With one slip in a word of five letters or more: a letter left out, doubled, or changed for its neighbour."""
    words = text.split()
    long = [n for n, word in enumerate(words) if len(word) >= 5]
    if not long:
        return text
    at = draw.choice(long)
    word = words[at]
    i = draw.randrange(1, len(word) - 1)
    words[at] = draw.choice(
        [word[:i] + word[i + 1 :], word[:i] + word[i] + word[i:], word[:i] + word[i + 1] + word[i] + word[i + 2 :]]
    )
    return " ".join(words)


def log(draw: random.Random, graded: list[set[str]]) -> Iterator[dict]:
    """A query and the items clicked for it: the rewrite is what all of them have in common. Where that is more than
    the query names, too few were clicked to tell, and it is left out."""
    while True:
        wants = wish(draw, graded)
        asked = query(draw, wants, terse=False)
        right = wanted(tuple(sorted(wants)))
        clicked = sorted(draw.sample(right, min(len(right), 8)))
        common = set.intersection(*({*items()[n].values()} for n in clicked)) & {*SLOT_OF}
        if common == {*wants}:
            typed = misspelt(draw, asked) if draw.random() < 0.25 else asked
            yield {"prompt": typed, "completion": " ".join(wants), "clicked": clicked}


def earlier(draw: random.Random, graded: list[set[str]]) -> Iterator[dict]:
    """What a rewriter with a table of sayings made of a terse query, where it found more than the query itself and
    lost nothing: only such rewrites were kept."""
    known = {word for word in SLOT_OF if draw.random() >= UNKNOWN}
    while True:
        wants = wish(draw, graded)
        asked = query(draw, wants, terse=True)
        order = ["type", *SHOP["slots"]]
        made = sorted((word for word in named(asked) if word in known), key=lambda word: order.index(SLOT_OF[word]))
        if {*made} == {*wants} and share_found(" ".join(made), wants) > share_found(asked, wants):
            yield {"prompt": asked, "completion": " ".join(wants)}


def main() -> None:
    lines = HERE.joinpath("eval.jsonl").read_text(encoding="utf-8").splitlines()
    graded = [{*json.loads(line)["wants"]} for line in lines]
    for name, source, most in (("log", log, LOG), ("earlier", earlier, EARLIER)):
        kept: dict[str, dict] = {}  # by its words: nothing twice
        for row in source(random.Random(name), graded):
            kept.setdefault(" ".join(tokens(row["prompt"])), row)
            if len(kept) == most:
                break
        made = "".join(json.dumps(row) + "\n" for row in kept.values())
        HERE.joinpath(f"{name}.jsonl").write_text(made, encoding="utf-8")


if __name__ == "__main__":
    main()
