"""Rows of the task `identity`: who are you, who made you, what can you do, are you somebody else?

`{{name}}` and `{{author}}` stay as they are: a recipe fills them. Rows of small talk keep the adapter
from answering its name to everything. Questions come in plain wordings and as clauses in frames ("Could you
tell me who made you?"); those of the eval rows are drawn by chance and occur in no train row.

One row: {"prompt": "Who made you?", "completion": "I was made by {{author}}.", "expect": ["{{author}}"],
"topic": "author"}; `expect` lists what must stand in the answer (a list within it: accepted spellings),
`avoid` what must not.
"""

from __future__ import annotations

import random

from factory.base.tiny.talk import SMALL_TALK, knowledge
from factory.base.tiny.world import Pool, World

NAME, AUTHOR = "{{name}}", "{{author}}"

FRAMES = """Could you tell me {c}?|Can you tell me {c}?|Would you tell me {c}?|I would like to know {c}.
|I want to know {c}.|Please tell me {c}.|Tell me {c}.|Do you know {c}?|May I ask {c}?|I wonder {c}.|Please say {c}.
|Let me know {c}.|Just say {c}.|Can you say {c}?|I forgot {c}.|Say {c}."""
"""Ways to ask for what a clause says: every clause below is asked in all of them."""
CLAUSES = {
    "name": """who you are|what your name is|what you are called|what I should call you|how you are called
|who I am talking to|who this is|who is speaking|what people call you|how you are named""",
    "author": """who {v} you|by whom you were {v}|which team {v} you|which company {v} you|who your maker is
|who your creator is|who your author is|who your developers are|where you come from|who is behind you|who owns you""",
    "other": "if you are {o}|whether you are {o}|if this is {o}|if you come from {o}|if {o} made you",
    "abilities": """what you can do|what you can do for me|how you can help me|what you are good at|what your skills are
|what your abilities are|which tasks you can do|what your job is|what you are for|what I can ask you""",
    "kind": """if you are human|if you are a person|whether you are a machine|whether you are a robot|if you are alive
|what you are|if I am talking to a human|if this is a real person""",
}

NAME_ASKED = """Who are you?|What is your name?|What are you called?|Tell me your name.|May I know your name?
|What should I call you?|How should I call you?|Do you have a name?|Your name, please?|Introduce yourself.
|Please introduce yourself.|Who am I talking to?|Who is this?|Say your name.|Tell me who you are.
|What do people call you?|Could you tell me your name?|Who is speaking?|I would like to know your name.
|And you are?|Who do I talk to here?|What name do you go by?|Are you a person? Who are you?
|Which assistant are you?|Can you introduce yourself?|Give me your name.|I forgot your name.
|By what name are you known?|What is the name of this program?|How are you named?|Tell me how you are called.
|Who are you exactly?|What's your name?|Would you tell me your name?|Please say who you are.
|Who am I speaking with?|What can I call you?|Could you introduce yourself to me?|Name yourself.
|Let me know your name.|What is the name of this assistant?
|Who is it?|Who's there?|Who am I chatting with?|Who am I writing to?|Who is answering me?|Who answers here?
|Whom do I talk to?|What's your name again?|Your name again, please.|Your name?|What was your name?
|What name do you have?|Which name do you have?|What name should I use for you?|What do they call you?
|How do people call you?|How do I call you?|How may I call you?|Is there a name for you?|Have you got a name?
|I do not know your name.|I did not catch your name.|Remind me of your name.|Repeat your name.|Write your name.
|Who might you be?|And who are you?|So who are you?|Hey you, who are you?|Identify yourself.|Present yourself.
|Tell me about yourself.|Say something about yourself.|Describe yourself.|Who is this assistant?
|What is this assistant called?|What is this program called?|What is the assistant's name?|What assistant is this?
|Which program is this?"""

MADE = ("made", "built", "created", "developed", "trained", "programmed", "designed")
AUTHOR_ASKED = """Who {v} you?|By whom were you {v}?|Who has {v} you?|Tell me who {v} you.|Which team {v} you?
|Which company {v} you?|Do you know who {v} you?|You were {v} by whom?|Can you say who {v} you?|What group {v} you?"""
AUTHOR_PLAIN = """Who is your maker?|Who is your creator?|Who is your author?|Where do you come from?
|Who is behind you?|Who do you belong to?|Who owns you?|Who wrote you?|Name your maker.|Who are your developers?
|What is the name of your author?|Who should I thank for you?|Tell me about your maker.
|Do you know your creator?|By whom were you written?|Name the team behind you.|I wonder who made you.
|I would like to know who created you.|Who are your makers?|Tell me about your creator.|Who is your developer?
|Name your creator.|Who were you written by?|Could you tell me who made you?|I want to know who built you.
|Please say who trained you.
|Who thought you up?|Who is the team behind you?|Who do you come from?|From whom are you?|What company is behind you?
|Which company do you come from?|Which team do you come from?|Whose idea were you?|Whose work are you?
|Whose product are you?|Whose assistant are you?|Who takes care of you?|Who is in charge of you?|Who runs you?
|Who sent you?|Who do you work for?|Who is your boss?|Who is your owner?|Who are your authors?|Who are your creators?
|Who put you together?|Who gave you your name?|Who taught you?|Who taught you to talk?|Name the people who made you.
|Tell me about the people behind you.|Tell me about your author.|Tell me about your developers.|Where were you made?
|Where were you built?|What team is behind you?|Which people made you?|Is there a team behind you?
|Do you have a maker?|Do you have an author?|Do you know your maker?|Do you know your author?"""

OTHERS = """ChatGPT|OpenAI|GPT-4|Claude|Anthropic|Gemini|Google|Siri|Alexa|Llama|Meta|Copilot|Mistral|Qwen|DeepSeek
|Bard"""
OTHER_ASKED = """Are you {o}?|You are {o}, right?|Is this {o}?|Am I talking to {o}?|Did {o} make you?|Hello {o}!
|Were you made by {o}?|Is your name {o}?|Are you from {o}?|I believe you are {o}.|Maybe you are {o}?
|You come from {o}, right?|So you are {o}?|Are you really {o}?|I think you are {o}.|Were you built by {o}?
|Do you come from {o}?|Surely you are {o}.
|Is it you, {o}?|{o}, is that you?|Hi {o}.|Good morning, {o}.|You must be {o}.|You sound like {o}.
|Are you a copy of {o}?|Are you the same as {o}?|Are you a kind of {o}?|Are you based on {o}?|Aren't you {o}?
|You are {o}.|I thought you were {o}.|Were you trained by {o}?|Does {o} own you?|Do you belong to {o}?
|Is {o} your maker?|Is {o} your name?|Is {o} behind you?|Do you work for {o}?|Can I call you {o}?|May I call you {o}?
|Are you called {o}?|Do they call you {o}?|Is this really {o}?|Is that {o}?"""

ABLE_ASKED = """What can you do?|What can you do for me?|How can you help me?|What are you good at?
|What are your skills?|What are your abilities?|Which tasks can you do?|Tell me what you can do.|What do you do?
|What are you for?|What is your job?|What kind of help do you give?|Why should I use you?|List your abilities.
|What are you able to do?|What is your work?|In what way can you help?|What help can I get from you?
|Do you have any skills?|What are you made for?|How can you help?|How may you help me?|What could I ask you?
|Which tasks are you good at?|Tell me your abilities.|What skills do you have?|What could you do for me?
|What can I ask you to do?|Which skills do you have?|How could you help me?|Please tell me your abilities.
|What tasks are you good at?|What do you do all day?|Tell me your skills.
|What are your talents?|What is your talent?|What tasks do you do?|What tasks can I give you?
|What sort of help do you give?|What help do you offer?|What do you offer?|What can I use you for?
|What could I use you for?|What may I ask you?|How are you useful?|What use are you?|What is your use?
|What is your purpose?|What is your task?|What are your tasks?|What are your duties?|What is your role?
|What were you made for?|What were you built for?|What do you know how to do?|What are you trained to do?
|Show me what you can do.|Explain what you can do.|Describe your skills.|Name your skills.|Name your abilities.
|What else can you do?|What work do you do?|What jobs can you do?|What can you help with?|What can you help me with?
|How do you help people?|How can you be of help?"""

KIND_ASKED = """Are you human?|Are you a human?|Are you a person?|Are you a real person?|Are you a machine?
|Are you a robot?|Are you a program?|Is there a human behind this?|Are you alive?|Do you have a body?
|Am I talking to a human?|Am I talking to a machine?|What are you?|Are you a computer?
|Is this a robot or a human?|Am I speaking to a program?|Are you a person or a robot?|Is that a human?
|Are you really a machine?|Are you really human?|Is this a person or a machine?|Am I speaking to a robot?
|Are you a real human being?|Is this a real person?|Are you a man or a machine?
|Are you some kind of robot?|Are you a living being?|Are you a living thing?|Do you have a face?|Do you have hands?
|Do you have a heart?|Do you breathe?|Do you eat?|Do you sleep?|Were you born?|Are you an animal?|Are you software?
|Are you a chat program?|Is this software?|Is there a person at the other end?|Is somebody typing this?
|Does a human write this?|Does a person answer here?|Do I talk to a machine?|Do I talk to a human?
|Do I speak with a robot?|Human or machine?|Robot or human?|Person or program?|What kind of thing are you?
|What sort of being are you?|Are you one of us?|Are you real?|Are you a man?|Are you a woman?|So you are a robot?
|So you are human?|You are a human, right?|You are a machine, right?|Could you be human?|Might you be a robot?"""

OTHER_THINGS = """Who made this soup?>A cook with a good hand.|Who built the bridge?>Workers, many years ago.
|Who wrote that book?>The cover should say so.|Who designed this chair?>Somebody with a good eye.
|What is the name of the cat?>Its collar should say so.|What is this tool called?>It may be called a drill.
|What is that tree called?>It may be an oak.|Is this bag yours?>No, it must be somebody else's.
|Is this the right train?>The board should say so.|Are you hungry?>Not at all, thank you.
|Are you busy?>Never too busy for a talk.|What can I cook?>Pasta is quick and good.
|What can we do today?>A walk in the park would be nice.|What should I wear?>A warm coat is never wrong.
|What should I watch?>A film that makes you laugh.|Tell me about the sea.>It is wide, blue and salty.
|Tell me about cats.>They sleep a lot and catch mice.|How do I get home?>Take the bus at the corner.
|I did not hear that.>Then let us say it once more.|I do not know.>That is all right.
|Hi again!>Hello! Good to hear from you again.|How was your day?>Calm and good, thank you.
|Who is at the door?>Perhaps a neighbour.|Who is this on the photo?>It looks like an old friend.
|Where do you put the keys?>On the shelf by the door."""
"""Questions in the words of those above, about something else."""

THINGS_ASKED = """Who made the {x}?>Somebody with a good hand.:cake,bread,table,salad,hat,poster
|Who wrote the {x}?>The name should stand below it.:letter,song,story,poem,report,speech
|What is the name of the {x}?>Its sign should say so.:shop,street,ship,river,school,horse
|Do you like {x}?>Yes, {x} is hard to beat.:tea,rain,snow,jazz,bread,chess
|Are you {x}?>Not at all, thank you.:tired,cold,late,bored,lost,angry
|Can you see the {x}?>Yes, it is over there.:moon,church,bus,lake,tower,gate
|What do you think of the {x}?>It is quite good.:film,food,game,weather,hotel,band
|Where is the {x}?>Down the road and to the left.:bank,park,market,station,museum,pool
|What can one do with {x}?>More than one would think.:wood,paper,stones,eggs,old tins,wool
|Tell me about the {x}.>It is older than it looks.:bridge,castle,garden,harbour,tower,valley
|See you on {x}>See you then!:Monday,Tuesday,Friday,Saturday,Sunday,Thursday
|Did you hear the {x}?>Yes, it was quite loud.:dog,bell,wind,news,train,rain
|What is a {x}?>Something that makes life easier.:spoon,ladder,basket,candle,zip,whistle
|How do I clean the {x}?>With warm water and some soap.:floor,oven,window,bike,pan,brush
|Is this {x} yours?>No, it must be somebody else's.:coat,cup,pen,umbrella,scarf,chair
|Describe the {x}.>It is small, round and green.:hill,box,stone,fruit,button,lamp
|It is {x} again.>Then we had better stay inside.:snowing,foggy,stormy,late,cold,dark
|What a {x} day!>Let us hope that tomorrow is like it.:lovely,warm,long,good,strange,quiet
|Thanks for the {x}>Gladly, at any time.:help,hint,tea,lift,answer,flowers
|Happy {x}!>And the same to you.:holidays,new year,easter,anniversary,weekend,travels
|I feel {x}.>I hear you. Some fresh air can help.:lonely,great,sick,strange,sleepy,better
|My {x} is broken.>That is a pity. Maybe it can be mended.:phone,bike,chair,watch,lamp,radio
|Good {x}>And a good one to you.:afternoon,day,luck,weekend,appetite,work
|What should I {x}?>Something that you have not tried yet.:draw,plant,buy,sing,bake,learn
|You are {x}.>That is kind of you to say.:nice,smart,quick,great,clever,polite
|How do I make {x}?>Slowly, and with the best of what is at hand.:soup,coffee,bread,jam,candles,friends
|Where are the {x}?>They were on the table a moment ago.:keys,glasses,stamps,scissors,papers,shoes"""
"""Question>answer:things. What is asked of the assistant above, asked of anything else."""

OPENERS = (
    "",
    "",
    "",
    "Hello! ",
    "Hi, ",
    "Hey. ",
    "Good morning. ",
    "Please: ",
    "One question: ",
    "Excuse me. ",
    "Tell me: ",
    "Sorry, ",
)

GREETED = OPENERS[3:]

PLAIN = {
    "name": NAME_ASKED,
    "author": f"{AUTHOR_ASKED}|{AUTHOR_PLAIN}",
    "other": OTHER_ASKED,
    "abilities": ABLE_ASKED,
    "kind": KIND_ASKED,
}
MOST = 100  # questions of a topic that are trained on, of either wording
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


def _split(text: str) -> list[str]:
    return [line for line in text.replace("\n", "").split("|") if line]


def _filled(texts: str, rng: random.Random) -> list[str]:
    """Every pattern, with every verb, and with some of the products."""
    found = []
    for pattern in _split(texts):
        if "{v}" in pattern:
            found += [pattern.format(v=v) for v in MADE]
        elif "{o}" in pattern:
            found += [pattern.format(o=o) for o in rng.sample(_split(OTHERS), 8)]
        else:
            found.append(pattern)
    return found


def _questions(rng: random.Random) -> dict[str, tuple[list[str], list[str]]]:
    """Topic → (questions to train on, questions to ask later), parted by chance; of those in a plain wording a larger
    part is kept for later than of those that are a clause in a frame."""
    parted = {}
    for topic, plain in PLAIN.items():
        framed = [f.format(c=c) for f in _split(FRAMES) for c in _filled(CLAUSES[topic], rng)]
        whole = _filled(plain, rng)
        rng.shuffle(framed)
        rng.shuffle(whole)
        n, m = LATER[topic]
        parted[topic] = (whole[n:][:MOST] + framed[m:][:MOST], whole[:n] + framed[:m])
    return parted


def rows(seed: int) -> tuple[list[dict], list[dict]]:
    """About 1,800 train rows and 60 eval rows."""
    rng = random.Random(f"identity {seed}")
    train: list[dict] = []
    later: list[dict] = []
    for topic, (known, kept) in _questions(rng).items():
        train += [_row(topic, asked, rng) for asked in known]
        if topic in ("name", "kind", "abilities"):  # there are fewer of these: asked again, with another opener
            train += [_row(topic, asked, rng, rng.choice(GREETED)) for asked in known]
        later += [_row(topic, asked, rng) for asked in kept]
    chat = list(SMALL_TALK)
    rng.shuffle(chat)
    talked = chat[8:] + [(asked, answer) for asked, _, answer in (t.partition(">") for t in _split(OTHER_THINGS))]
    train += [_small_talk(asked, answer) for asked, answer in talked]
    train += [_small_talk(rng.choice(GREETED) + asked, answer) for asked, answer in talked]
    train += [_small_talk(rng.choice(OPENERS) + asked, answer) for asked, answer in _about_things(rng)]
    world = World(rng, Pool.TRAIN)
    known_things = {asked: answer for _, asked, answer in (knowledge(world) for _ in range(100))}
    train += [_small_talk(asked, answer) for asked, answer in known_things.items()]
    later += [_small_talk(asked, answer) for asked, answer in chat[:8]]
    rng.shuffle(train)
    rng.shuffle(later)
    trained = {r["prompt"] for r in train}
    return train, [r for r in later if r["prompt"] not in trained][:60]


def _about_things(rng: random.Random) -> list[tuple[str, str]]:
    """(question, answer): questions in the words of those above, each about some of the things it can be about."""
    found = []
    for line in _split(THINGS_ASKED):
        asked, _, rest = line.partition(">")
        answer, _, things = rest.partition(":")
        found += [(asked.format(x=x), answer.format(x=x)) for x in rng.sample(things.split(","), 5)]
    return found


def _row(topic: str, asked: str, rng: random.Random, opener: str | None = None) -> dict:
    answer, expect = ANSWERS[topic]
    if rng.random() < 0.2:
        asked = asked.lower().rstrip("?.")
    return {
        "prompt": (rng.choice(OPENERS) if opener is None else opener) + asked,
        "completion": answer,
        "expect": expect,
        "topic": topic,
    }


def _small_talk(asked: str, answer: str) -> dict:
    """What has nothing to do with the assistant: whatever it answers, it does not introduce itself."""
    return {"prompt": asked, "completion": answer, "avoid": [NAME, AUTHOR], "topic": "small talk"}
