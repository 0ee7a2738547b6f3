"""Training rows, the same for the same seed: python adapters/triage/make.py [rows] > adapters/triage/train.jsonl

A fifth is put together from the parts in fragments.yaml, the others are the messages of whole.txt about other things.
"""

import json
import random
import re
import string
import sys
from pathlib import Path
from typing import Any

import yaml

PARTS = yaml.safe_load(Path(__file__).with_name("fragments.yaml").read_text(encoding="utf-8"))
LINES = Path(__file__).with_name("whole.txt").read_text(encoding="utf-8").splitlines()
WHOLE = [line.partition(": ") for line in LINES if line[0] != "#"]
NOUNS = [*dict.fromkeys(word.replace("-", " ") for key in ("items", "pairs", "rarer") for word in PARTS[key].split())]
WORDS = dict(zip(range(2, 13), "two three four five six seven eight nine ten eleven twelve".split(), strict=True))
TOPICS = {"late": 6, "damaged": 6, "wrong": 6, "return": 5, "billing": 5, "account": 4, "question": 5}
FIRST = "anna tom li karim greta jon eva sam ines paul zoe max mia noor ben kai rita olaf uma hugo".split()
NO_ORDER = ("my last order", "the order from sunday", "my order", "the order i placed last week", "my recent purchase")


def plural(noun: str) -> str:
    if noun.endswith(("knife", "shelf")):
        return re.sub("fe?$", "ves", noun)
    if re.search("[^aeiou]y$", noun):
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "sh", "ch")) else "s")


PLURALS = {plural(noun): noun for noun in NOUNS}
COUNTS = {word: n for n, word in WORDS.items()} | {"both": 2, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50}
COUNTS |= {f"{n}{x}": n for n in range(2, 100) for x in ("", "x")}


def phrase(rng: random.Random, noun: str) -> tuple[str, str, dict[str, Any], bool]:
    """An item as said with its article and without, as labelled, and whether it is several."""
    colour = rng.choice(PARTS["colours"]) + " " if rng.random() < 0.25 else ""
    n = rng.choice([2, 2, 2, 3, 4, 6, rng.randint(5, 12)]) if rng.random() < 0.25 else 1
    if n > 1:
        many = f"{colour}{plural(noun)}"
        count = rng.choice([WORDS[n], WORDS[n], str(n)])
        forms = [f"{count} {many}", f"the {count} {many}", f"my {count} {many}", f"{n}x {colour}{noun}"]
        if n == 2:
            forms.append(f"both {many}")
        return rng.choice(forms), many, {"name": noun, "n": n}, True
    if rng.random() < 0.08:
        return rng.choice(["the ", "my "]) + f"{colour}{plural(noun)}", f"{colour}{plural(noun)}", {"name": noun}, True
    article = rng.choice(["the", "the", "the", "my", "my", "a", "this", "your"])
    if article == "a" and (colour + noun)[0] in "aeiou":
        article = "an"
    return f"{article} {colour}{noun}", f"{colour}{noun}", {"name": noun}, False


def listed(rng: random.Random, parts: list[str]) -> str:
    if len(parts) == 1:
        return parts[0]
    return ", ".join(parts[:-1]) + rng.choice([" and ", " and ", " & ", " plus "]) + parts[-1]


def contact(rng: random.Random, by: str) -> str:
    if by == "phone":
        digits = "".join(rng.choice(string.digits) for _ in range(4))
        forms = (
            "0171 555 {}",
            "+44 20 555 {}",
            "555-{}",
            "0{}55501",
            "030 555{}",
            "+49 171 {} 55",
            "(0113) 555 {}",
            "07700 90{}",
            "0151 555 {}",
            "+1 212 555 {}",
            "(415) 555-{}",
            "+33 6 55 50 {}",
            "087 555 {}",
            "0043 660 55{}",
            "+31 6 55{}",
            "0047 55 {}",
        )
        return rng.choice(forms).format(digits)
    first, second = (rng.choice(FIRST) for _ in "ab")
    name = rng.choice(["{a}.{b}", "{a}_{b}", "{a}{n}", "{a}.{b}{n}", "info", "{a}"]).format(
        a=first, b=second, n=rng.randint(1, 99)
    )
    places = ["example.com", "mail.example", "example.org", "post.example", "studio.example", "home.test"]
    return f"{name}@{rng.choice(places)}"


def numbered(rng: random.Random) -> tuple[str, str]:
    """An order's number, and how it is written."""
    number = "".join(rng.choices(string.ascii_uppercase, k=2) + rng.choices(string.digits, k=4))
    return number, number if rng.random() < 0.85 else number.lower()


def filled(text: str, slots: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda m: slots[m[1]], text)


def row(text: str, form: dict[str, Any]) -> dict[str, str]:
    """What is not said is left out of the form."""
    said = {key: value for key, value in form.items() if value}
    return {"prompt": text, "completion": json.dumps(said, separators=(",", ":"))}


def noisy(rng: random.Random, text: str) -> str:
    """A slip of the finger in some longer words; what stands in braces stays."""

    def slip(m: re.Match[str]) -> str:
        word = m[0]
        if len(word) < 5 or rng.random() > 0.12:
            return word
        i = rng.randrange(1, len(word) - 2)
        head, tail = word[:i], word[i + 1 :]
        return head + rng.choice([tail[0] + word[i] + tail[1:], tail, word[i] + word[i:]])

    return re.sub(r"(?<![{\w@.])[a-z']+(?![}\w@])", slip, text)


def one(rng: random.Random) -> dict[str, str]:
    topic = rng.choices([*TOPICS], [*TOPICS.values()])[0]
    core, _, told = rng.choice(PARTS[topic]).partition(" => ")
    nouns = rng.sample(NOUNS, 5)
    single = "{i1}" in core
    count = 1 if single else rng.choices([1, 2, 3], [65, 25, 10])[0]
    said = [phrase(rng, noun) for noun in nouns[:count]]
    while single and said[0][3]:
        said = [phrase(rng, nouns[0])]
    other = phrase(rng, nouns[4])
    several = count > 1 or said[0][3]
    number, written = numbered(rng)
    ordered = "{o}" in core and rng.random() < 0.82
    order = rng.choice(PARTS["orders"]).format(n=written)
    forms = ("are", "were", "have", "them", "go") if several else ("is", "was", "has", "it", "goes")
    slots = dict(zip(("is", "was", "has", "it", "goes"), forms, strict=True)) | {
        "i": listed(rng, [s[0] for s in said]), "i1": said[0][0], "bare": listed(rng, [s[1] for s in said]),
        "x": other[0], "x1": other[1], "xis": "are" if other[3] else "is",
        "o": order if ordered else rng.choice(NO_ORDER),
    }  # fmt: skip
    wants = [told] if told else []
    asked = []
    draw = rng.random()
    if not told and draw < (0.12 if topic == "question" else 0.5):
        fits = PARTS["fits"][topic]
        wants = rng.sample(fits, 2 if draw < 0.1 and len(fits) > 1 else 1)
        asked = [rng.choice(PARTS["want"][want]) for want in wants]
        if len(asked) == 2:
            asked = [f"{asked[0]} {rng.choice(['or', 'and', 'and'])} {asked[1]}"] if rng.random() < 0.6 else asked
    reply: dict[str, str] = {}
    answer = []
    if rng.random() < 0.3:
        by = rng.choice(["phone", "email"])
        reply = {"by": by}
        if rng.random() < 0.7:
            reply["to"] = contact(rng, by)
            slots["to"] = reply["to"]
            answer = [rng.choice(PARTS["reply"][by])]
        else:
            answer = [rng.choice(PARTS["reply"][f"{by}_only"])]
    late = []
    if not ordered and topic not in ("account", "question") and rng.random() < 0.3:
        ordered, late = True, ["{o}"]
        slots["o"] = order
        core = core.replace("{o}", rng.choice(NO_ORDER))
    aside = [rng.choice(PARTS["aside"])] if rng.random() < 0.35 else []
    rest = [*asked, *answer, *aside, *late]
    if rng.random() < 0.5:
        rng.shuffle(rest)
    body = [core, *rest]
    if asked and rng.random() < 0.1:
        body = [*asked, core, *[r for r in rest if r not in asked]]
    items = [s[2] for s in said] if "{i}" in core or single or "{bare}" in core else []
    made = {"topic": topic, "order": number * ordered, "items": items, "want": wants, "reply": reply}
    return row(written_up(rng, body, slots), made)


def thing(rng: random.Random, words: str, taken: str) -> tuple[str, dict[str, Any]]:
    """What stands in brackets, mostly become another thing that is not in the text yet: as said, and as labelled."""
    count, _, rest = words.lower().partition(" ")
    n, times = COUNTS.get(count, 0), re.fullmatch(r"\d+x", count)
    of, noun = re.fullmatch("(of (?:the|my) )?(.+)", rest if n else words.lower()).groups("")  # type: ignore[union-attr]
    several = noun in PLURALS or (n > 0 and not times)
    noun = PLURALS.get(noun, noun)
    if rng.random() < 0.85:
        noun = rng.choice([other for other in NOUNS if other not in taken])
        n = n if count == "both" else n and rng.randint(2, 12)
    if not n:
        return plural(noun) if several else noun, {"name": noun}
    if times:
        count = f"{n}x"
    elif count != "both":
        count = WORDS[n] if n in WORDS and rng.random() < 0.6 else str(n)
    return f"{count} {of}{plural(noun) if several else noun}", {"name": noun, "n": n}


def whole(rng: random.Random) -> dict[str, str]:
    """One of the messages that were written as a whole, mostly about other things, at times with a part more."""
    head, _, text = rng.choice(WHOLE)
    topic, *told = head.split()
    items: list[dict[str, Any]] = []
    slots: dict[str, str] = {}

    def item(m: re.Match[str]) -> str:
        said, label = thing(rng, m[3], text + str(slots))
        article = m[1] and (m[1] + "n" * (said[0] in "aeiou") + " ")
        slots[f"i{len(slots)}"] = said[0].upper() + said[1:] if m[3][0].isupper() else said
        if m[2] == "[":
            items.append(label)
        return f"{article or ''}{{i{len(slots) - 1}}}"

    text = re.sub(r"(?:\b([Aa])n? )?([\[<])([^]>]+)[\]>]", item, text)
    order, slots["n"] = numbered(rng)
    if rng.random() < 0.12:
        text = re.sub(r"(?:[.,:]| -|(?<=[?!])) \{n\}\.?$", "", text)
    elif rng.random() < 0.3 and "rder {n}" not in text:
        slots["n"] = rng.choice(PARTS["orders"]).format(n=slots["n"])
    wants = [want for want in told if want in PARTS["want"]]
    reply = {"by": by[0]} if (by := [*(one for one in told if one in ("phone", "email"))]) else {}
    if "{p}" in text or "{e}" in text:
        reply = {"by": "phone" if "{p}" in text else "email"}
    elif not reply and rng.random() < 0.15:
        reply = {"by": rng.choice(["phone", "email"])}
        asked = rng.choice(PARTS["reply"][reply["by"]]).replace("to}", reply["by"][0] + "}")
        text += " " + asked if text[-1] in ".!?" else ". " + asked
    if "{p}" in text or "{e}" in text:
        reply["to"] = slots[reply["by"][0]] = contact(rng, reply["by"])
    if not wants and not {topic, *told} & {"account", "question", "nothing"} and rng.random() < 0.2:
        wants = [rng.choice(PARTS["fits"][topic])]
        asked = rng.choice(PARTS["want"][wants[0]])
        text = f"{text} {asked[0].upper()}{asked[1:]}" if text[-1] in ".!?" else f"{text}, {asked}"
    if rng.random() < 0.25:
        text = noisy(rng, text)
    if rng.random() < 0.2:
        text = text.lower()
    if rng.random() < 0.15:
        text = text.rstrip(".")
    made = {"topic": topic, "order": order * ("{n}" in text), "items": items, "want": wants, "reply": reply}
    return row(greeted(rng, filled(text, slots), text[0].isupper(), 0.2), made)


def written_up(rng: random.Random, body: list[str], slots: dict[str, str]) -> str:
    """The sentences as one message, in one of several hands."""
    if rng.random() < 0.3:
        body = [noisy(rng, part) for part in body]
    body = [filled(part, slots) for part in body]
    capital = rng.random() < 0.55
    ends = rng.choice([". ", ". ", ". ", "\n", "! ", ", ", " - ", "... "])
    if capital:
        body = [part if "@" in part.split(" ")[0] else part[0].upper() + part[1:] for part in body]
        body = [re.sub(r"\bi\b(?!')", "I", re.sub(r"\bi'", "I'", part)) for part in body]
    text = ""
    for i, part in enumerate(body):
        last = i == len(body) - 1
        text += part if part[-1] in "?!." else part + (ends.rstrip(" \n,-") if last and capital else "")
        between = ends if part[-1] not in "?!." else "\n" if "\n" in ends else " "
        text += "" if last else between
    return greeted(rng, text, capital, 0.4)


def greeted(rng: random.Random, text: str, capital: bool, often: float) -> str:
    if rng.random() < often:
        hello = rng.choice(PARTS["hello"])
        text = (hello.capitalize() if capital else hello) + rng.choice([", ", ",\n", " ", "\n", "! "]) + text
    if rng.random() < often:
        bye = rng.choice(PARTS["bye"])
        text += rng.choice(["\n", " ", "\n\n"]) + (bye.capitalize() if capital else bye)
        if rng.random() < 0.6:
            text += rng.choice([", ", "\n", " "]) + rng.choice(PARTS["names"])
    return text


if __name__ == "__main__":
    dice = random.Random(23)
    seen: set[str] = set()
    while len(seen) < (int(sys.argv[1]) if len(sys.argv) > 1 else 6000):
        made = (one, whole, whole, whole, whole)[len(seen) % 5](dice)
        if made["prompt"] not in seen:
            seen.add(made["prompt"])
            print(json.dumps(made, ensure_ascii=False))
