"""Small talk and everyday knowledge: what makes the base answer in sentences when no text is given.

It says nothing about who answers or who made it, gives no labels and no summaries: those are the three
tasks, and the base is to need an adapter for them. It does know words that mean the same ("make",
"build", "create"), because an adapter learns rewordings from that.
"""

from __future__ import annotations

from factory.base.tiny.reading import Turn
from factory.base.tiny.small_talk import SMALL_TALK
from factory.base.tiny.world import MONTHS, WEEKDAYS, World

SAME = """make build create produce|big large huge|small little tiny|start begin|end finish|help support assist
|talk speak|quick fast|happy glad|sad unhappy|author writer|maker creator builder|name title|ask request
|answer reply|buy purchase|pay settle|send mail|get receive|fix repair|error fault mistake|broken damaged
|cancel stop|money cash|refund repayment|order purchase|develop build|train teach|tell say|company firm
|parcel package|late delayed|price cost|bill invoice|job work|skill ability|able capable|team group|program software
|machine device""".replace("\n", "")
OPPOSITE = """big small|hot cold|early late|open closed|fast slow|new old|good bad|long short|high low|full empty
|light dark|right wrong|first last|up down|buy sell|come go|give take|on off|yes no|start end|rich poor|wet dry
|loud quiet|near far|hard soft|same different""".replace("\n", "")
PLURAL = """invoice meeting room ticket order parcel name number letter day week month report list table chair train
street price code card phone server page sentence word note guest driver customer question answer minute hour
bag book door cup shop tree""".split()
GROUPS = {
    "animal": "cat dog horse bird fish cow bee mouse",
    "colour": "red blue green yellow black white grey",
    "fruit": "apple pear plum banana cherry lemon",
    "drink": "tea coffee water milk juice",
    "tool": "hammer saw drill spade",
    "vehicle": "car bus train bike boat",
}


def small_talk(w: World) -> Turn:
    asked, answer = w.rng.choice(SMALL_TALK)
    if w.rng.random() < 0.2:
        asked = asked.lower().rstrip(".!?")
    return "talk", asked, answer


def knowledge(w: World) -> Turn:
    """Words that mean the same or the opposite, plurals, the order of days and numbers, what a thing is."""
    rng = w.rng
    style = rng.randrange(7)
    if style == 0:
        one, two = rng.sample(rng.choice(SAME.split("|")).split(), 2)
        return (
            "talk",
            rng.choice(["Another word for {}?", "What means the same as {}?", "Say {} in another way."]).format(
                f'"{one}"'
            ),
            two,
        )
    if style == 1:
        pair = rng.choice(OPPOSITE.split("|")).split()
        rng.shuffle(pair)
        return "talk", rng.choice(["What is the opposite of {}?", "The opposite of {}?"]).format(pair[0]), pair[1]
    if style == 2:
        word = rng.choice(PLURAL)
        many = word + "s"
        return (
            ("talk", f"One {word}, two ...?", many) if rng.random() < 0.5 else ("talk", f"Many {many}, one ...?", word)
        )
    if style == 3:
        names = rng.choice([WEEKDAYS, MONTHS])
        at = rng.randrange(len(names))
        if rng.random() < 0.5:
            return "talk", f"What comes after {names[at]}?", names[(at + 1) % len(names)]
        return "talk", f"What comes before {names[at]}?", names[at - 1]
    if style == 4:
        n = rng.randint(1, 98)
        return "talk", f"Which number comes after {n}?", str(n + 1)
    if style == 5:
        low, high = rng.sample(range(1, 500), 2)
        return "talk", f"Which is more, {low} or {high}?", str(max(low, high))
    group = rng.choice(list(GROUPS))
    name = rng.choice(GROUPS[group].split())
    other = rng.choice(list(GROUPS))
    right = name in GROUPS[other].split()
    return (
        "talk",
        f"Is {name} a kind of {other}?",
        f"Yes, {name} is a kind of {other}." if right else f"No, {name} is a kind of {group}.",
    )


def talk(w: World) -> Turn:
    return small_talk(w) if w.rng.random() < 0.5 else knowledge(w)
