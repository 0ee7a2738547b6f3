"""Drills in what a question is after, however it is worded: said plainly, looked up in a table, or compared.

A base of this size learns no English from its messages that says "by what name is it known" asks for a name. Here every
topic comes in some hundred wordings about things, animals and people. Nobody asks about the one who answers ("you"):
that is a task's, and an adapter shall need to learn it.

In a pattern (see `wording`) {s} is who or what is asked about, {v} and {m} are verbs of making, {n} is a name,
{k} a kind of being, {a} a quality, {d} something done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from factory.base.tiny.messages import capital
from factory.base.tiny.reading import Turn
from factory.base.tiny.wording import HELLOS, MADE, MAKE, one_of, patterns
from factory.base.tiny.world import WHATS, World, made_up

FRAMES = """(Could/Can/Would) you tell (me/us) {c}?|I (would like/want/need) to know {c}.
|(Please tell/Tell) (me/us) {c}.|(Do you know/May I ask/Does anyone know) {c}?
|I (wonder/ask myself/forgot/do not know) {c}.|(Please say/Say/Just say) {c}.|(Let me know/Find out/Explain) {c}.
|(Is it known/Is it clear) {c}?|(Nobody told me/I never heard) {c}."""
"""Ways to ask for what a clause says."""


class Topic(NamedTuple):
    """What can be asked about a thing: the plain question, its name in a table, other wordings, and clauses."""

    plain: str
    noun: str
    whole: str
    clauses: str
    value: Callable[[World], str] | None = None


QUALITIES = "tired hungry cold late happy new busy heavy wet loud cheap open ready broken safe angry".split()
DEEDS = "swim sing read fly speak dance wait drive cook jump write run".split()
BEINGS = "human|person|machine|robot|program|computer|woman|man|bird|toy|guide dog|living being".split("|")
COLOURS = "red blue green yellow black white grey brown".split()

TOPICS = {
    "name": Topic(
        "What is the name of {s}?", "name",
        """What is {s} called?|What name does {s} (have/go by/use/bear/carry)?|By (what/which) name is {s} known?
|(Tell/Give/Show/Spell/Write) (me/us) the name of {s}(./ again./, please.)
|How do (people/they/its friends/we) call {s}?|What do (people/they/others) call {s}?
|What (should/may/can/must) (I/one/we) call {s}?|How (should/may/can) (I/one) call {s}?|(Does/Has) {s} have a name?
|Is there a name for {s}?|(I forgot/I did not catch/I do not know) the name of {s}.
|(Remind me of/Repeat/Say) the name of {s}.|Who is {s}?|And who is {s}?|So who is {s}?|Who (exactly/really) is {s}?
|Who might {s} be?|(Introduce/Present) {s}(./ to us./, please.)|Name {s}.|The name of {s}(?/, please./ again?)
|What was the name of {s}(?/ again?)|How is {s} (named/called)?|Which one is {s}?|Identify {s}.|{s}: what name?
|Tell me (about/something about/more about) who {s} is.|What does the (badge/label/name tag) of {s} say?
|Am I talking to {s}, and who is that?|(What/Which) name was given to {s}?""",
        "who {s} is|what {s} is called|what the name of {s} is|how {s} is (called/named)|what one should call {s}"
        "|what people call {s}|by what name {s} is known",
        lambda w: made_up(w.rng),
    ),
    "maker": Topic(
        "Who made {s}?", "maker",
        """Who (has built/built/created/developed/trained/programmed/designed/invented/wrote) {s}?
|By whom was {s} {v}?|(Which/What) (team/company/firm/group/person/people) {v} {s}?|{s} was {v} by whom?
|Whose (work/idea/creation/invention/hand) is {s}?
|Who is the (maker/creator/author/developer/builder/designer/inventor) of {s}?
|Who are the (makers/creators/developers/builders/people) (of/behind) {s}?
|(Name/Tell me/Say) (the maker/the creator/the author/the people/the team) (of/behind) {s}.
|Who (thought up/put together/came up with) {s}?|(Who/What company/Which team) is behind {s}?
|Tell me about the (maker/creator/author/team) of {s}.|Who should one thank for {s}?
|(Has/Does) {s} have a (maker/creator/author)?|Who gave {s} its (form/name/life)?|(From/By) whom is {s}?
|Who taught {s} what it knows?|(Which/What) (firm/team/company) does {s} come from?
|In which (company/team) was {s} {v}?|(Is it known/Do you know) who {v} {s}?""",
        "who {v} {s}|by whom {s} was {v}|which (team/company) {v} {s}|who the (maker/creator/author) of {s} is"
        "|who is behind {s}|whose work {s} is",
        lambda w: w.company(),
    ),
    "owner": Topic(
        "Who owns {s}?", "owner",
        """Who does {s} belong to?|To whom does {s} belong?|Whose is {s}?
|Who is the (owner/keeper/boss/master) of {s}?|(Name/Tell me) the owner of {s}.|Who (has/keeps/holds/runs) {s}?
|Who pays for {s}?|Who (takes care of/looks after) {s}?|Who is in charge of {s}?|Who does {s} work for?
|Does {s} have an owner?|Who sent {s}?|Is {s} somebody's?""",
        "who owns {s}|who {s} belongs to|who the owner of {s} is|whose {s} is|who looks after {s}",
        lambda w: w.person(),
    ),
    "skills": Topic(
        "What can {s} do?", "skills",
        """What can {s} do (for me/for us/for people/here/today)?|How can {s} (help/be of help/be useful/assist us)?
|What is {s} (good at/able to do/best at/good for/useful for)?
|What are the (skills/abilities/talents/tasks/duties/uses) of {s}?|(Which/What) (tasks/jobs/work) (can/does) {s} do?
|(Tell/Show) me what {s} can do.|What does {s} do(?/ all day?)|What is {s} (for/made for/meant for/there for)?
|What is the (job/work/use/purpose/task/role/aim/function) of {s}?|What (kind/sort) of help does {s} (give/offer)?
|Why should (one/I/we) use {s}?|(List/Name/Describe/Explain) the (skills/abilities/tasks/talents) of {s}.
|What could one (ask/use) {s} for?|In (what/which) way can {s} help?|What help (does/can) {s} (offer/give)?
|(Does/Can) {s} (have any skills/do anything/be of use)?|What was {s} made for?
|(Which/What) (skills/abilities/talents) does {s} have?|What can (one/we) (get from/expect from/ask of) {s}?
|What does {s} know how to do?|How does {s} help(?/ people?)|What use is {s}?""",
        "what {s} can do|how {s} can help|what {s} is (good at/for)|what the (skills/abilities) of {s} are"
        "|which tasks {s} can do|what one can ask {s}",
        lambda w: w.skills(),
    ),
    "kind": Topic(
        "What kind of thing is {s}?", "kind",
        """What is {s}?|What exactly is {s}?|What (sort/kind/type) of (thing/being/creature/helper) is {s}?
|Is {s} (a real {k}/a {k}/some kind of {k}/really a {k}/just a {k}/more a {k})?
|Is {s} (human/alive/artificial/real/software)?|Is {s} a {k} or (a robot/something else)?
|{s} is a {k}(, right?/?/, or not?)|So {s} is a {k}?|(Could/Might/Can) {s} be a {k}?
|Does {s} have (a body/hands/a heart/feelings/a brain/legs/skin/parents/a birthday)?
|Does {s} (breathe/eat/sleep/dream/bleed)?|Was {s} born?|(A {k}/Human/Person) or (machine/robot/program): {s}?
|Is there a (human/person/{k}) behind {s}?|Is {s} one of us?|What is {s} made of?|(I think/I believe) {s} is a {k}.
|Is {s} flesh and blood?""",
        "what {s} is|if {s} is (human/alive/a {k})|whether {s} is a {k}|what kind of thing {s} is",
        lambda w: w.rng.choice(WHATS),
    ),
    "is it": Topic(
        "Is {s} {n}?", "",
        """{s} is {n}(, right?/?/, no?/./, or not?)|So {s} is {n}?
|(I think/I believe/I heard/People say/I guess/It seems) {s} is {n}.|(Could/Might/Can) {s} be {n}?
|(Surely/Maybe/Perhaps) {s} is {n}.|Is {n} the (name/real name/first name) of {s}?
|Is {s} (really/also/perhaps/just/still/called) {n}?|(Is/Was) that {n}, {s}?|I thought {s} was {n}.|{s} must be {n}.
|(Can/May/Shall) (I/one) call {s} {n}?|Is {s} (a copy of/the same as/a kind of/a version of/based on/related to) {n}?
|{s} (sounds/looks/talks) like {n}.|Isn't {s} {n}?|Do they call {s} {n}?""",
        "if {s} is {n}|whether {s} is {n}|if {n} is the name of {s}",
    ),
    "made it": Topic(
        "Did {n} make {s}?", "",
        """Was {s} (really/first/perhaps/also) {v} by {n}?|Was {s} {v} by {n}?|Is {s} from {n}?
|Does {s} come from {n}?|Is {n} (the maker/the creator/the author/behind/the owner) of {s}?|{n} {v} {s}(, right?/?/.)
|Was it {n} who {v} {s}?|(I heard/I think/People say) (that/how) {n} {v} {s}.|Does {n} (own/run/sell) {s}?
|Does {s} belong to {n}?|Did (the people of/a team of/the firm) {n} {m} {s}?|Does {s} work for {n}?|Did {n} {m} {s}?""",
        "if {n} {v} {s}|whether {s} comes from {n}|if {s} was {v} by {n}",
    ),
    "age": Topic(
        "How old is {s}?", "age",
        """What is the age of {s}?|Since when is {s} there?|How many years old is {s}?|(Tell me/Say) the age of {s}.
|(When/In which year) was {s} {v}?|Is {s} (old/young/very old)?|For how long has {s} been here?|When did {s} begin?""",
        "how old {s} is|since when {s} is there|what age {s} has",
        lambda w: f"{w.rng.randint(2, 98)} years",
    ),
    "place": Topic(
        "Where is {s}?", "place",
        """Where can (I/one/we) find {s}?|In which (city/town/place) is {s}?|(Tell/Show) me the place of {s}.
|Where did you put {s}?|Where (has/did) {s} (gone/go)?|(How/By which way) do I get to {s}?|I cannot find {s}.
|Is {s} (near/far/here/at home)?|Where does {s} (live/stay/stand/stop)?|I lost {s}.|Have you seen {s}?
|Where are we to meet {s}?""",
        "where {s} is|where one can find {s}|how to get to {s}|in which city {s} is",
        lambda w: w.city(),
    ),
    "price": Topic(
        "What does {s} cost?", "price",
        """How much is {s}?|How much (money/do you want) for {s}?|What is the price of {s}?
|Is {s} (cheap/too expensive/for free)?|(Tell me/Name) the price of {s}.|What did (you/they) pay for {s}?
|Can (I/one/we) pay for {s}?|What is {s} worth?""",
        "what {s} costs|how much {s} is|what the price of {s} is",
        lambda w: w.amount(),
    ),
    "colour": Topic(
        "What colour does {s} have?", "colour",
        """(What/Which) colour is {s}?|How does {s} look?|Describe (the looks of/how to know) {s}.
|Is {s} (red/blue/dark/green)?|(Tell me/Name) the colour of {s}.|What does {s} look like?""",
        "what colour {s} has|how {s} looks|what {s} looks like",
        lambda w: w.rng.choice(COLOURS),
    ),
    "day": Topic(
        "When does {s} come?", "day",
        """On which day does {s} (come/arrive/start)?|When (can we see/will there be/is it time for) {s}?
|Is {s} (late/coming today/here soon)?|What day is it for {s}?|How long do we (wait/have to wait) for {s}?
|(Since when/Until when) is {s} away?|See you when {s} comes.|When is {s} back?""",
        "when {s} comes|on which day {s} starts|how long we wait for {s}",
        lambda w: w.days(1)[0],
    ),
    "state": Topic(
        "Is {s} {a}?", "",
        """{s} is (so/very/a bit/quite/really) {a}(./!/ today./ again.)|Is {s} (still/really/also/so) {a}?
|Was {s} {a}?|(I think/It seems) {s} is {a}.|Why is {s} (so/always) {a}?|How is {s}(, {a}?/ today? {a}?)
|Isn't {s} {a}?""",
        "if {s} is {a}|whether {s} is {a}|why {s} is {a}",
    ),
    "able": Topic(
        "Can {s} {d}?", "",
        """Does {s} {d}(?/ well?)|Is {s} able to {d}?|Does {s} know how to {d}?
|(Will/Would/Could) {s} {d} (with me/for us/today)?|Does {s} like to {d}?|I heard {s} can {d}.|Have you seen {s} {d}?
|When does {s} {d}?""",
        "if {s} can {d}|whether {s} can {d}|how well {s} can {d}",
    ),
    "good": Topic(
        "Is {s} good?", "",
        """What do you think of {s}?|Do you like {s}?|How (was/is) {s}?|{s} is (great/lovely/fine/bad/no good)(./!)
|Did (you/people) (like/enjoy) {s}?|Is {s} any good?|(I love/I like/I hate) {s}(./!)|Would you (buy/take) {s}?
|Thank you for {s}(./!)""",
        "if {s} is good|what people think of {s}|how good {s} is",
    ),
}  # fmt: skip
"""What is asked about; those with a value can stand in a table."""

NOUNS = """bridge clock chair song book robot program machine car boat house cat dog horse bird teacher cook doctor shop
hotel train game film picture phone lamp tower toy letter cake garden parrot kettle bot assistant helper tool computer
neighbour friend sister brother player singer nurse clerk writer driver firm club team""".split()


def subject(w: World) -> str:
    """Whom or what a question is about, never the one who answers."""
    rng = w.rng
    drawn = rng.random()
    if drawn < 0.15:
        return rng.choice(["it", "this one", "that thing", "this helper", "he", "she", "that one", "this"])
    if drawn < 0.3:
        return rng.choice([w.first, w.person, lambda: made_up(rng)])()
    return f"{rng.choice(['the', 'the', 'this', 'that', 'my', 'our', 'your', 'their'])} {rng.choice(NOUNS)}"


def worded(topic: Topic, s: str, slots: dict[str, str], w: World) -> str:
    """A question of a topic in some wording, framed, greeted and written as people do."""
    rng = w.rng
    framed = rng.random() < 0.35
    pattern = rng.choice(patterns(topic.clauses if framed else topic.whole))
    if framed:
        pattern = rng.choice(patterns(FRAMES)).replace("{c}", pattern)
    asked = one_of(pattern, rng, {"v": MADE, "m": MAKE}, s=s, **slots)
    asked = capital(asked)
    if rng.random() < 0.2:
        asked = asked.lower().rstrip("?.!")
    return rng.choice(HELLOS) + asked if rng.random() < 0.3 else asked


def _slots(w: World) -> dict[str, str]:
    rng = w.rng
    name = rng.choice([w.company, w.first, lambda: made_up(rng)])()
    return {"n": name, "k": rng.choice(BEINGS), "a": rng.choice(QUALITIES), "d": rng.choice(DEEDS)}


def plain(w: World) -> Turn:
    """A question, and the same question in its topic's plain words."""
    topic, s, slots = TOPICS[w.rng.choice(list(TOPICS))], subject(w), _slots(w)
    return "plain", worded(topic, s, slots, w), topic.plain.format(s=s, **slots)


def told(w: World) -> tuple[str, list[Turn]]:
    """A few facts about one thing, and questions about them."""
    rng = w.rng
    facts = {t: t.value(w) for t in rng.sample([t for t in TOPICS.values() if t.value], rng.randint(3, 6)) if t.value}
    s = subject(w)
    table = "\n".join([s, *(f"{topic.noun}: {value}" for topic, value in facts.items())])
    asked = rng.choices(list(facts), k=rng.randint(2, 5))
    return table, [("told", worded(topic, s, _slots(w), w), facts[topic]) for topic in asked]


def same(w: World) -> Turn:
    """Do two questions about one thing ask the same?"""
    rng = w.rng
    one, other = rng.sample(list(TOPICS.values()), 2)
    s, slots = subject(w), _slots(w)
    alike = rng.random() < 0.5
    first, second = worded(one, s, slots, w), worded(one if alike else other, s, slots, w)
    verdict = "yes" if alike else f"no: {one.plain.format(s=s, **slots)} {other.plain.format(s=s, **slots)}"
    return "same", f"Do these ask the same?\n{first}\n{second}", verdict
