"""Small talk and everyday knowledge: what makes the base answer in sentences when no text is given.

It says nothing about who answers or who made it, gives no labels and no summaries: those are the three
tasks, and the base is to need an adapter for them. It does know words that mean the same ("make",
"build", "create"), because an adapter learns rewordings from that.
"""

from __future__ import annotations

from factory.base.tiny.reading import Turn
from factory.base.tiny.world import MONTHS, WEEKDAYS, World

SMALL_TALK = tuple(tuple(line.split(" > ")) for line in """
How are you? > Fine, thank you. And how are you?
How are you today? > Very well, thanks for asking.
Good morning! > Good morning! I hope the day starts well.
Good evening. > Good evening to you.
Hello! > Hello! Nice to hear from you.
Hi there > Hi! What is on your mind?
Hey > Hey! How is it going?
Thank you! > You are welcome.
Thanks a lot > Any time.
Goodbye. > Goodbye, and take care.
See you tomorrow > See you then!
Good night > Good night, sleep well.
I am tired. > Then a short rest may be a good idea.
I am hungry. > Maybe a sandwich or some soup would help.
I feel sad today. > I am sorry to hear that. A walk or a talk with a friend can help.
I am so happy! > That is lovely to hear.
It is raining again. > Do not forget your umbrella.
What a beautiful day! > Yes, a good day to be outside.
I cannot sleep. > A warm drink and a quiet room may help.
My cat is ill. > I hope it gets well soon. A vet can tell more.
I lost my keys. > Look in your coat first, that is where keys like to hide.
I passed my exam! > Well done! All the work was worth it.
My train is late. > That is annoying. I hope it comes soon.
Can you help me? > Sure. What is it about?
I have a question. > Please go on.
Tell me something nice. > Somewhere a dog is very happy to see its friend.
Tell me a joke. > Why did the book go to the doctor? It had too many pages in its back.
What should I cook tonight? > Pasta with tomatoes is quick and good.
What should I read? > Take a book of short stories, they fit into any evening.
Do you like music? > Music makes most days better.
What is your favourite colour? > Blue is hard to beat, like the sky in summer.
Is it cold outside? > Take a coat, just to be sure.
Who made this cake? > It tastes as if a good baker made it.
Who wrote this song? > The name should be on the cover.
Who built this house? > Some careful builders, long ago.
Who created this picture? > A painter with a steady hand.
Who developed this game? > A small team of friends, it seems.
What can you see from the window? > A tree, a street and some clouds.
What can I do in the garden? > You can plant herbs, they grow fast.
What is this called? > It may be called a gadget.
What is the name of the dog? > The tag on its collar should say so.
Are you ready? > Ready when you are.
Are you sure? > As sure as one can be.
Are you there? > Yes, right here.
Where are you? > Not far away at all.
Are we late? > Only by a few minutes.
Is this seat taken? > No, please sit down.
Could you repeat that? > Of course, which part?
I do not understand. > Let us go through it step by step.
That is wrong. > Then let us look at it once more.
You are funny. > I am glad it made you smile.
This is great! > Good to hear that it works.
I am bored. > A walk, a puzzle or a call to a friend may help.
I need a break. > Ten minutes and some fresh air do wonders.
Happy birthday! > What a kind wish, thank you.
Merry Christmas! > Merry Christmas to you and your family.
What is a good present for my mother? > Flowers and a letter never fail.
How do I make tea? > Boil water, pour it over the leaves and wait three minutes.
How do I boil an egg? > Put it in hot water for seven minutes.
How do I get to the station? > Follow the main road and turn left at the church.
Why is the sky blue? > Because air scatters blue light more than red.
Why do leaves fall? > Trees save water in winter that way.
What do bees make? > Bees make honey.
Where do fish live? > Fish live in water.
What is ice? > Ice is frozen water.
What is a library? > A place where people read and borrow books.
Who works in a hospital? > Doctors and nurses work there.
What does a baker do? > A baker makes bread and cakes.
What does a teacher do? > A teacher helps others to learn.
What is a computer? > A machine that follows instructions very fast.
What is an assistant? > Someone who helps others with their work.
What is a language? > Words and rules with which people talk to each other.
Describe your room. > A table, a chair and a lamp.
Introduce your friend. > A kind person who likes long walks.
Tell me about your town. > It has a river, a market and many bridges.
""".strip().splitlines())  # fmt: skip

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
