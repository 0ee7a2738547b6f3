"""Questions about a message, extraction, and verification: one turn each, ready to be put into a conversation.

A turn is `(name, question, answer)`. Finding comes first: with 40 % of the turns verifying, a base of this
size still answered yes or no at chance and found less. Half of what is verified is wrong, and wrong in
hard ways (`messages.wrong`): a value that stands elsewhere in the text, or one digit off. Longer answers
extract first and compare after, which is the easier order to learn.
"""

from __future__ import annotations

import re

from factory.base.tiny.messages import Ask, Message, capital, fill, slots, wrong
from factory.base.tiny.world import World

Turn = tuple[str, str, str]


def question(m: Message, w: World) -> Turn:
    """A question whose answer is the value alone, or a whole sentence."""
    key = w.rng.choice(list(m.kind.asks))
    ask, value = m.kind.asks[key], m.facts[key]
    asked = w.rng.choice(ask.questions)
    if w.rng.random() < 0.1:
        said = [t for group in m.kind.says for t in group if key in slots(t)]
        if said:
            return "sentence", f"{asked} Answer with a sentence.", m.say(w.rng.choice(said))
    if w.rng.random() < 0.15:
        return "question", f"{capital(ask.noun)}?", value
    return "question", asked, value


def quote(m: Message, w: World) -> Turn:
    """The sentence of the text in which a value stands."""
    key = w.rng.choice(list(m.kind.asks))
    value = m.facts[key]
    hits = [s for s in m.sentences if value.lower() in s.lower()]
    if len(hits) != 1:
        return question(m, w)
    asked = w.rng.choice(
        ['Which sentence has "{}"?', 'Quote the sentence with "{}".', 'In which sentence does "{}" stand?']
    )
    return "quote", asked.format(value), hits[0]


def extract(m: Message, w: World) -> Turn:
    """Several facts by their nouns, one a line."""
    asks = m.kind.asks
    keys = w.rng.sample(list(asks), min(len(asks), w.rng.randint(2, 4)))
    asked = w.rng.choice(["Find: {}.", "Give me these: {}.", "Extract {}.", "From the text: {}?", "Note down {}."])
    found = "\n".join(f"{asks[k].noun}: {m.facts[k]}" for k in keys)
    return "extract", asked.format(", ".join(asks[k].noun for k in keys)), found


def details(m: Message, w: World) -> Turn:
    """All facts, one a line: the densest lesson in finding things, ten of them for one reading of the text."""
    asked = w.rng.choice(["List all details.", "List every detail.", "Give all details."])
    return "details", asked, "\n".join(f"{ask.noun}: {m.facts[key]}" for key, ask in m.kind.asks.items())


def fill_in(m: Message, w: World) -> Turn:
    """A sentence with gaps, filled from the text; the gap at its start gets a capital letter."""
    template = w.rng.choice(w.rng.choice(m.kind.says))
    gaps = re.sub(r"\{(\w)(\w*)\}", lambda s: f"[{_noun(m, s[1].lower() + s[2])}]", template)
    asked = w.rng.choice(
        ["Fill in: {}", "Complete from the text: {}", "Fill the gaps: {}", "Put in what is missing: {}"]
    )
    return "fill", asked.format(capital(gaps)), capital(m.say(template))


def _noun(m: Message, key: str) -> str:
    return m.kind.asks[key].noun if key in m.kind.asks else key


def detail(m: Message, w: World) -> Turn:
    """Does this detail stand in the text? Alone, or with the sentence it stands in."""
    rng = w.rng
    key = rng.choice(list(m.kind.asks))
    ask, value = m.kind.asks[key], m.facts[key]
    asked = rng.choice(
        [
            'Does "{}" stand in the text?',
            'Is "{}" in the text?',
            'Does the text say "{}"?',
            'Is "{}" mentioned?',
            "{}: is it there?",
        ]
    )
    true = rng.random() < 0.5
    if not true:
        value = _foreign(ask, value, m, w)
    if true and rng.random() < 0.3:
        quoted = next(s for s in (*m.sentences, m.text) if value.lower() in s.lower())
        if quoted != m.text:
            return "detail+", asked.format(value) + " Quote it.", f"yes: {quoted}"
    if not true and rng.random() < 0.3:
        return "detail+", asked.format(value) + " Quote it.", f'no, "{value}" is not there'
    return "detail", asked.format(value), "yes" if true else "no"


def _foreign(ask: Ask, value: str, m: Message, w: World) -> str:
    """A value of the same type that does not stand in the text."""
    other = wrong(ask.type, value, None, w)
    while other.lower() in m.text.lower():
        other = wrong(ask.type, value, None, w)
    return other


def claim(m: Message, w: World) -> Turn:
    """Is this statement right? The verdict alone, or with what the text says."""
    rng = w.rng
    template = rng.choice(rng.choice(m.kind.says))
    keys = [k for k in slots(template) if k in m.kind.asks]
    key = rng.choice(keys)
    ask, value = m.kind.asks[key], m.facts[key]
    true = rng.random() < 0.5
    stated = value if true else wrong(ask.type, value, m, w)
    statement = capital(fill(template, {**m.facts, key: stated}))
    style = rng.random()
    if style < 0.4:
        asked = rng.choice(
            ["Is this right? {}", "True or not: {}", "Does the text say this? {}", "Check: {}", "{} Is that so?"]
        )
        return "claim", asked.format(statement), "yes" if true else "no"
    if style < 0.7:
        asked = rng.choice(["{} What does the text say?", "Compare with the text: {}", "Check {noun}: {}"])
        verdict = f"{value}, so yes" if true else f"{value}, not {stated}"
        return "claim+", asked.format(statement, noun=f"the {ask.noun}"), f"{ask.noun}: {verdict}"
    asked = rng.choice(
        ["Does the {noun} match? {}", "Is the {noun} right here? {}", "Check the {noun} in this note: {}"]
    )
    return "claim+", asked.format(statement, noun=ask.noun), f"{value} | {stated}: {'same' if true else 'different'}"


def each(m: Message, w: World) -> Turn:
    """A note of two to four statements, checked detail by detail, in the order of the note."""
    rng = w.rng
    groups = rng.sample(m.kind.says, min(len(m.kind.says), rng.randint(2, 4)))
    said, lines, bad, seen = [], [], 0, set()
    with_text, quoting = rng.random() < 0.5, rng.random() < 0.5
    for template in (rng.choice(g) for g in groups):
        stated = dict(m.facts)
        for key in slots(template):
            if key not in m.kind.asks or key in seen:
                continue
            seen.add(key)
            true = rng.random() < 0.65
            if not true:
                stated[key] = wrong(m.kind.asks[key].type, m.facts[key], m, w)
                bad += 1
            no = f"no, {m.facts[key]}" if with_text else "no"
            name = stated[key] if quoting else f"{m.kind.asks[key].noun} {stated[key]}"
            lines.append(f"{name}: {'yes' if true else no}")
        said.append(capital(fill(template, stated)))
    how = "Check each detail" if quoting else "Check each detail by name"
    asked = f"{how}{', and say what is right' if with_text else ''}: {' '.join(said)}"
    end = rng.random() < 0.5
    if end:
        asked += "\nThen say if all is right."
        lines.append("all right" if not bad else f"{bad} wrong")
    return "each", asked, "\n".join(lines)


def odd_one(m: Message, w: World) -> Turn:
    """Which of these details does not stand in the text?"""
    rng = w.rng
    keys = rng.sample(list(m.kind.asks), 3)
    shown = [m.facts[k] for k in keys]
    answer = "none"
    if rng.random() < 0.7:
        at = rng.randrange(3)
        answer = shown[at] = _foreign(m.kind.asks[keys[at]], shown[at], m, w)
    asked = rng.choice(
        [
            "Which of these is not in the text? {}",
            "One of these may be wrong, which? {}",
            "What does not stand in the text? {}",
        ]
    )
    return "odd", asked.format("; ".join(shown)), answer


def missing(m: Message, w: World) -> Turn:
    """Which details of a list are missing from a short note?"""
    rng = w.rng
    groups = rng.sample(m.kind.says, 2)
    note = " ".join(capital(m.say(rng.choice(g))) for g in groups)
    keys = rng.sample(list(m.kind.asks), rng.randint(2, 4))
    names = [f"{m.kind.asks[k].noun} {m.facts[k]}" for k in keys]
    lines = [
        f"{n}: {'there' if m.facts[k].lower() in note.lower() else 'missing'}" for n, k in zip(names, keys, strict=True)
    ]
    if rng.random() < 0.5:
        return "missing", f"Note: {note}\nWhich of these are in the note? {'; '.join(names)}", "\n".join(lines)
    gone = [n for n, line in zip(names, lines, strict=True) if line.endswith("missing")]
    return (
        "missing",
        f"Note: {note}\nWhich of these does the note leave out? {'; '.join(names)}",
        "; ".join(gone) or "none",
    )


def form(m: Message, w: World) -> Turn:
    """The outside of a short note: how many sentences, does it end with a full stop, is it a copy."""
    rng = w.rng
    many = rng.randint(1, 4)
    sentences = [capital(m.say(rng.choice(g))) for g in rng.sample(m.kind.says, min(many, len(m.kind.says)))]
    style = rng.random()
    if style < 0.35:
        return "form", f"How many sentences are in this note? {' '.join(sentences)}", str(len(sentences))
    if style < 0.65:
        whole = rng.random() < 0.5
        note = " ".join(sentences)
        note = note if whole else note[: rng.randint(len(note) // 2, len(note) - 1)]
        return "form", f"Does this note end with a full stop? {note}", "yes" if note.endswith(".") else "no"
    copied = rng.random() < 0.5
    note = " ".join(m.sentences[:many]) if copied else " ".join(sentences)
    return "form", f"Is this note copied word by word from the text? {note}", "yes" if copied else "no"


TURNS = (
    (question, 16),
    (quote, 2),
    (extract, 18),
    (details, 18),
    (fill_in, 24),
    (detail, 8),
    (claim, 5),
    (each, 4),
    (odd_one, 1),
    (missing, 2),
    (form, 2),
)
"""What is asked about a message, and how often (percent)."""


def turn(m: Message, w: World) -> Turn:
    return w.rng.choices([t for t, _ in TURNS], [n for _, n in TURNS])[0](m, w)
