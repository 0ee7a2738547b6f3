"""Short exercises without a message: comparing values, copying names, case, number, rewriting, look-up.

Each returns one `Turn` (name, question, answer). They are cheap in tokens and teach the parts that
reading puts together: that `Friday` and `friday` are one word, that 241 is not 214, that a name nobody
has seen is copied piece by piece.
"""

from __future__ import annotations

from factory.base.tiny.messages import DRAW, Kind, capital, fill, slots, write, wrong
from factory.base.tiny.reading import Turn
from factory.base.tiny.world import EVENTS, GOODS, SERVICES, THINGS, World, made_up

PAIRED = (
    "person",
    "first",
    "day",
    "time",
    "room",
    "city",
    "code",
    "amount",
    "percent",
    "minutes",
    "address",
    "company",
    "venue",
    "number",
    "event",
    "thing",
    "goods",
    "service",
    "cause",
    "reason",
)


def compare(w: World, kinds: tuple[Kind, ...]) -> Turn:
    """Pairs of values: same or different. Upper and lower case do not count."""
    rng = w.rng
    lines, verdicts = [], []
    for _ in range(rng.randint(2, 7)):
        type_ = rng.choice(PAIRED)
        left = DRAW[type_](w)
        same = rng.random() < 0.5
        right = left if same else wrong(type_, left, None, w)
        if same and rng.random() < 0.3:
            right = capital(right) if right[0].islower() else right
        lines.append(f"{left} | {right}")
        verdicts.append("same" if same else "different")
    if rng.random() < 0.5:
        return "compare", "Same or different?\n" + "\n".join(lines), "\n".join(verdicts)
    return (
        "compare",
        "Compare each pair.\n" + "\n".join(lines),
        "\n".join(f"{a}: {v}" for a, v in zip(lines, verdicts, strict=True)),
    )


def which_text(w: World, kinds: tuple[Kind, ...]) -> Turn:
    """Two texts of one kind: which of them says it?"""
    rng = w.rng
    kind = rng.choice(kinds)
    texts = [write(kind, w, (0, 0)) for _ in range(2)]
    at = rng.randrange(2)
    key = rng.choice([k for k in kind.asks])
    said = [t for group in kind.says for t in group if key in slots(t)]
    names = rng.choice([("A", "B"), ("first", "second"), ("1", "2")])
    shown = "\n\n".join(f"{n}: {' '.join(m.sentences)}" for n, m in zip(names, texts, strict=True))
    if kind.frame == "mail":
        key = rng.choice([k for k in kind.asks if k != "sender"])
        said = [t for group in kind.says for t in group if key in slots(t) and "sender" not in slots(t)]
    if not said or rng.random() < 0.5:
        return "which", f"{shown}\n\nIn which text does {texts[at].facts[key]} stand?", names[at]
    return "which", f"{shown}\n\nWhich text says this? {capital(texts[at].say(rng.choice(said)))}", names[at]


def rewrite(w: World, kinds: tuple[Kind, ...]) -> Turn:
    """A sentence in other words, with one detail changed, or two sentences put together."""
    rng = w.rng
    kind = rng.choice(kinds)
    facts = kind.draw(w)
    group = rng.choice([g for g in kind.says if len(g) > 1])
    one, two = rng.sample(group, 2)
    here, there = capital(fill(one, facts)), capital(fill(two, facts))
    style = rng.random()
    if style < 0.45 and set(slots(two)) <= set(slots(one)):
        asked = rng.choice(
            ["Say it in other words: {}", "Write it another way: {}", "Rewrite: {}", "{} Put it differently."]
        )
        return "rewrite", asked.format(here), there
    if style < 0.8:
        key = rng.choice([k for k in slots(one) if k in kind.asks])
        new = wrong(kind.asks[key].type, facts[key], None, w)
        asked = rng.choice(["Change {a} to {b}: {s}", "{s} Now with {b} instead of {a}.", "Put {b} for {a}: {s}"])
        return "change", asked.format(a=facts[key], b=new, s=here), capital(fill(one, {**facts, key: new}))
    other = capital(fill(rng.choice(rng.choice(kind.says)), facts))
    return "join", f"Put together, the second first: 1. {here} 2. {other}", f"{other} {here}"


def case(w: World, kinds: tuple[Kind, ...]) -> Turn:
    """Capital first letter, small letters, or capitals on all words; of known phrases and of made-up words."""
    rng = w.rng
    words = [rng.choice(rng.choice([EVENTS, THINGS, GOODS, SERVICES])) for _ in range(rng.randint(1, 4))]
    if rng.random() < 0.35:
        words = [" ".join(made_up(rng).lower() for _ in range(rng.choice([1, 2]))) for _ in words]
    asked, change = rng.choice(
        [
            ("With a capital letter", capital),
            ("Start with a capital letter", capital),
            ("As the start of a sentence", capital),
            ("Small letters", str.lower),
            ("All words with a capital letter", lambda s: " ".join(capital(x) for x in s.split())),
        ]
    )
    if change is str.lower:
        words = [capital(x) for x in words]
    sep = rng.choice(["; ", "\n"])
    return "case", f"{asked}: {sep.join(words)}", sep.join(change(x) for x in words)


def repeat(w: World, kinds: tuple[Kind, ...]) -> Turn:
    """Names and numbers said again: as they are, backwards, or one of them by its place or neighbour."""
    rng = w.rng
    types = rng.choices(["person", "first", "city", "code", "address", "amount", "event", "venue"], k=rng.randint(2, 8))
    items = list(dict.fromkeys(made_up(rng) if rng.random() < 0.3 else DRAW[t](w) for t in types))
    sep = rng.choice([", ", "; ", "\n"])
    shown = sep.join(items)
    style = rng.random()
    if style < 0.4 or len(items) < 2:
        return (
            "repeat",
            rng.choice(["Repeat: {}", "Say it again: {}", "Copy this: {}", "Write down: {}"]).format(shown),
            shown,
        )
    if style < 0.55:
        return "repeat", f"Backwards: {shown}", sep.join(reversed(items))
    at = rng.randrange(len(items))
    if style < 0.75 and at + 1 < len(items):
        return "repeat", f"{shown}\nWhat comes after {items[at]}?", items[at + 1]
    if style < 0.85:
        return "repeat", f"{shown}\nHow many are in this list?", str(len(items))
    place = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"][at]
    return "repeat", f"{shown}\nWhich is the {place}?", items[at]


def look_up(w: World, kinds: tuple[Kind, ...]) -> Turn:
    """A small table of names and values; the value of a name, or the name of a value."""
    rng = w.rng
    type_ = rng.choice(["number", "day", "time", "room", "code", "city", "thing", "goods", "amount"])
    rows: dict[str, str] = {}
    while len(rows) < rng.randint(2, 6):
        name, value = (made_up(rng) if rng.random() < 0.4 else w.person()), DRAW[type_](w)
        if value not in rows.values():
            rows[name] = value
    join = rng.choice([": ", " has ", " - ", " = ", " gets "])
    shown = "\n".join(f"{n}{join}{v}" for n, v in rows.items())
    name, value = rng.choice(list(rows.items()))
    if rng.random() < 0.6:
        return (
            "look up",
            f"{shown}\n\n{rng.choice(['What does {} have?', 'And {}?', 'Which one belongs to {}?']).format(name)}",
            value,
        )
    asked = rng.choice(["Who has {}?", "To whom does {} belong?", "Which name goes with {}?"])
    return "look up", f"{shown}\n\n{asked.format(value)}", name


DRILLS = ((compare, 26), (which_text, 14), (rewrite, 26), (case, 12), (repeat, 14), (look_up, 8))
"""The exercises and how often (percent)."""


def drill(w: World, kinds: tuple[Kind, ...]) -> Turn:
    return w.rng.choices([d for d, _ in DRILLS], [n for _, n in DRILLS])[0](w, kinds)
