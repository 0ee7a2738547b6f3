"""Everyday sentences by a grammar: who did what, will you, may I, how does one, what a nice lamp.

Small talk that is learnt line by line is known line by line, and an adapter that learns to speak of itself answers
every other sentence with its name. Here nearly every sentence is new, and none asks the assistant for its name, its
maker, its nature or its abilities: that is what they have in common. The answers are few and fit whatever was said.
"""

from __future__ import annotations

import random

from factory.base.tiny.wording import one_of, patterns

DOINGS = """leave left left leaving:the window open,the house,a note,the light on,early
|eat ate eaten eating:the soup,an apple,some bread,the cake,fish
|hear heard heard hearing:that noise,the bell,the news,a song,the rain
|see saw seen seeing:the moon,the new film,a rainbow,that bird,the parade
|buy bought bought buying:a lamp,new shoes,two tickets,some flour,a present
|find found found finding:the keys,a coin,my glasses,the right street,an old letter
|lose lost lost losing:the umbrella,a glove,the game,the map,my ticket
|open opened opened opening:the door,the shop,the letter,a tin,the gate
|close closed closed closing:the window,the shop,the book,the garden gate,the lid
|cook cooked cooked cooking:rice,dinner,some soup,eggs,for ten guests
|bake baked baked baking:bread,a cake,some biscuits,an apple pie
|paint painted painted painting:the wall,the fence,a picture,the old chair
|read read read reading:the paper,that story,the sign,a poem,the rules
|sing sang sung singing:a song,in the rain,in the choir,to the baby
|play played played playing:chess,football,the piano,cards,outside
|wash washed washed washing:the car,the dishes,the dog,the curtains
|clean cleaned cleaned cleaning:the kitchen,the oven,the windows,the shoes
|repair repaired repaired repairing:the bike,the roof,the radio,the tap
|carry carried carried carrying:the box,the bags,the old sofa,the ladder
|send sent sent sending:a card,the parcel,flowers,the bill
|bring brought brought bringing:a salad,the chairs,good news,some ice,an umbrella
|take took taken taking:the bus,a break,the last biscuit,a photo,the wrong coat
|break broke broken breaking:the vase,the cup,a leg,the record
|visit visited visited visiting:the museum,an old friend,the castle,the farm
|meet met met meeting:the neighbour,at the station,an old friend,after lunch
|wait waited waited waiting:at the corner,for the bus,a little,in the car,for an hour
|walk walked walked walking:to the lake,home,in the park,through the snow,the dog
|drive drove driven driving:to the sea,too fast,the old van,home
|swim swam swum swimming:in the lake,every day,across the river,at night
|sleep slept slept sleeping:on the sofa,until noon,in a tent,very well
|dance danced danced dancing:all night,in the kitchen,with the bride
|learn learnt learnt learning:to draw,Spanish,the song,to ride a bike
|teach taught taught teaching:the parrot a word,young drivers,maths
|plant planted planted planting:tomatoes,a tree,some herbs,roses
|water watered watered watering:the plants,the roses,the lawn
|cut cut cut cutting:the hedge,the bread,the grass,some wood
|pay paid paid paying:the bill,the rent,in cash,for the coffee
|sell sold sold selling:the car,honey,old books,the house
|borrow borrowed borrowed borrowing:a ladder,the drill,some sugar,a pen
|forget forgot forgotten forgetting:the milk,the date,the tickets,a coat
|catch caught caught catching:a fish,the train,a cold,the ball|feed fed fed feeding:the ducks,the cat,the hens
|move moved moved moving:the table,to the coast,the piano,house
|watch watched watched watching:the match,the birds,a film,the sunset|draw drew drawn drawing:a horse,a map,a circle
|write wrote written writing:a letter,a poem,a list,on the wall|win won won winning:the race,a prize,the match
|hide hid hidden hiding:the present,under the bed,the biscuits
|throw threw thrown throwing:a ball,the bottle away,a party
|climb climbed climbed climbing:the hill,the tree,over the fence
|sit sat sat sitting:here,by the fire,at the back,in the sun|ring rang rung ringing:the bell,at the door,twice
|repeat repeated repeated repeating:the question,the last word,the number
|stop stopped stopped stopping:the noise,the car,at the bridge,for a while
|turn turned turned turning:left,the page,the music down,around|smell smelt smelt smelling:the flowers,the soup,smoke
|fix fixed fixed fixing:the shelf,the lamp,the brakes"""
"""A verb in its four forms, and what one does with it."""
WORDS = {
    "s": """we|they|he|she|my friend|the neighbour|my sister|the children|Anna|Tom|my boss|our teacher|your friend
|somebody|the guests|my brother|the old man|everybody|her mother|the twins|people""",
    "q": "we|they|the children|the guests|people|the twins|your friends|both of them|the players",
    "z": "he|she|my friend|the neighbour|my sister|Anna|Tom|my boss|our teacher|the old man|her mother|my uncle",
    "t": "today|tomorrow|tonight|on Monday|again|next week|after lunch|in the evening|alone|in winter|at six",
    "w": "yesterday|last week|this morning|again|on the way|after lunch|in the evening|alone|on Friday",
    "x": """bread|soup|the sea|the city|winter|the moon|music|the garden|the weather|coffee|a holiday|the river
|the market|a wheel|glass|wood|ice|the desert|a candle|sugar|rain|a pencil|the theatre|oil|a hammer|the library|fire
|a baby|fog|gold|wool|the forest|an island|salt|paper|a storm|the north|silver|breakfast|a mirror|sand|tea""",
    "m": """apples|trains|shoes|cats|letters|stones|clouds|birds|bees|horses|mountains|clocks|socks|bananas|lemons
|frogs|stars|rivers|owls|bears|trees|flowers|wolves|ships|spiders|whales|mushrooms|dogs|foxes|sheep""",
    "k": """fly|sleep|hide|grow|sing|drink|swim|live|wait|smell|move|fall|shine|jump|come back""",
    "y": """cup|key|chair|bag|ticket|pen|coat|book|lamp|plate|card|bike|shoe|spoon|hat|towel|phone|map|ring|box|bottle
|boat|watch|seat|tree|house|street|picture|song|dress""",
    "l": "red|wet|loud|soft|salty|heavy|small|cheap|old|empty|dark|round|slow|sweet|dirty|full|broken|strange|green",
    "e": "tired|lonely|cold|ready|lost|sad|nervous|sick|angry|happy|afraid|busy|hungry|thirsty|glad|late|bored|calm",
    "j": "doctor|cook|driver|nurse|gardener|builder|farmer|painter|singer|sailor|judge|tailor|pilot|clown|dentist",
    "h": "day|trip|evening|weekend|journey|time|holiday|walk|meal|rest|flight|start",
    "f": """(Could/Can/Would) you tell me|(I would like/I want) to know|(Please tell/Tell) me|Do you know|May I ask
|I wonder|Say|Let me know|I forgot""",
}
"""What stands for somebody, several, one; a time to come, a time gone by; one thing, many things and what they do, an
object; how things are, how one feels; who does what for a living; what one wishes; what comes before a clause."""
FORMS = """Who {p} {o}?>Somebody who was up early, I suppose.|Who has {n} {o}?>Somebody who was up early, I suppose.
|Who (will/can) {b} {o} {t}?>Somebody will, I am sure.|Who wants to {b} {o}?>Somebody will, I am sure.
|When did {s} {b} {o}?>That was some days ago.|When will {s} {b} {o}?>Before the week is over.
|Where (did/can/will) {s} {b} {o}?>Not far from here, I think.
|Why (did/should/must) {s} {b} {o}?>There was a good reason.|Did {s} {b} {o}?>It looks like it.
|Did {s} {b} {o} {w}?>It looks like it.|(Will/Can/Must) {s} {b} {o} {t}?>It looks like it.
|(Should/Would) {s} {b} {o}?>It looks like it.|(Can/May/Should/Could) I {b} {o}?>Yes, go ahead.
|(May/Can/Shall) (I/we) {b} {o} {t}?>Yes, go ahead.|Has {z} {n} {o}?>It looks like it.
|Is {z} {i} {o}?>It looks like it.|How (did/can/could) {s} {b} {o}?>Step by step, with some patience.
|How do (I/we/they) {b} {o}?>Step by step, with some patience.
|How long does it take to {b} {o}?>An hour, if all goes well.
|How often do {q} {b} {o}?>Less often than one would think.
|Is it (hard/easy/fun/late) to {b} {o}?>Not when one has done it once.|What if {s} {p} {o}?>Then we will find a way.
|What is the best way to {b} {o}?>Step by step, with some patience.
|What (did/will) {s} (do/say) (then/about it/there)?>Nothing special, as far as I know.
|What are {q} {i}?>Nothing special, as far as I know.|What is {z} {i}?>Nothing special, as far as I know.
|What (can/could/shall) (we/I/they) {b} {t}?>There is always something new.
|Where are {q} {i} {o}?>Not far from here, I think.|Did you {b} {o}?>Not yet, but it sounds good.
|Did you {b} {o} {w}?>Not yet, but it sounds good.|(Could/Can/Will/Would) you {b} {o}?>Sure, in a moment.
|(Could/Will/Would) you {b} {o} {t}?>Sure, in a moment.|(Do you want/Would you like) to {b} {o} {t}?>That sounds good.
|Have you (ever/also/already) {n} {o}?>Not yet, but it sounds good.|When did you {b} {o}?>That was some days ago.
|Why did you {b} {o}?>There was a good reason.|Do you (often/always/still) {b} {o}?>Less often than one would think.
|Why don't you {b} {o}?>That sounds good.|Please {b} {o}.>Sure, in a moment.|{B} {o}(./, please./!)>Sure, in a moment.
|Don't {b} {o}!>All right, then later.|I {p} {o} {w}.>That is good to know.|I {p} {o}.>That is good to know.
|I will {b} {o} {t}.>Have a good time with it.|(I want/We want/I plan) to {b} {o}.>Have a good time with it.
|(We should/You should/Let us) {b} {o} {t}.>That sounds good.|{S} {p} {o} {w}.>That is good to know.
|{S} will {b} {o} {t}.>That is good to know.|I am {i} {o}.>Have a good time with it.
|(I cannot/I must not/We could not) {b} {o}.>Then let us try once more.
|{S} forgot to {b} {o}.>Then let us try once more.|Nobody {p} {o}.>Then let us try once more.
|(I like/It is time/It is nice) to {b} {o}.>That sounds good.
|(Say/Sing/Name/Draw/Bring/Buy) (something/one thing/anything) (nice/new/sweet/small/red/old).>Sure, in a moment.
|{f} (who {p} {o}/who will {b} {o})(?/.)>Somebody who was up early, I suppose.
|{f} (when {s} {p} {o}/when {s} will {b} {o})(?/.)>That was some days ago.
|{f} (where {s} {p} {o}/where the {y} is)(?/.)>Not far from here, I think.
|{f} why {s} {p} {o}(?/.)>There was a good reason.|{f} (if/whether) {s} {p} {o}(?/.)>It looks like it.
|{f} (what {s} will do {t}/what happened {w})(?/.)>Nothing special, as far as I know.
|{f} how {s} {p} {o}(?/.)>Step by step, with some patience.
|What is {x} (made of/good for)?>Many things, as one soon learns.
|What do you (know/think) about {x}?>Many things are told of that.
|Why is {x} (so/always) {l}?>It has been so for a long time.
|Why are {m} (so/always) {l}?>It has been so for a long time.|Is {x} (always/really/often) {l}?>Not always, but often.
|Are {m} (always/really/often) {l}?>Not always, but often.|Who likes {m}?>Nearly everybody does.
|(Where/When/How/Why) do {m} {k}?>That depends on the season.
|What do {m} (make/need/eat/like/fear/look like)?>That depends on the season.
|(Can/Do) {m} {k}?>That depends on the season.|Where does {x} come from?>From far away, mostly.
|(Say something/Tell me a bit/Talk) about {x}.>Many things are told of that.
|What is {x}?>Something that one finds in many places.|What are {m}?>Something that one finds in many places.
|How much {x} is left?>Enough for today.|Do you like ({x}/{m})?>Yes, most days.|I am afraid of {m}.>That can happen.
|I (feel/felt) {e} (today/again/now).>I hear you. Some fresh air can help.
|I am (so/very/a bit/not) {e}(./!)>I hear you. Some fresh air can help.
|{S} (looked/felt/sounded) {e} {w}.>That can happen.|Are you (so/very/still/also) {e}?>Not at all, thank you.
|(Was/Is) {z} {e}?>That can happen.|Why is {z} so {e}?>That can happen.
|Is it {l} (here/there/outside)?>Not always, but often.|(What/How) about {x}?>Another time, perhaps.
|There is {x} (on the table/over there/in the box).>Then let us look at it.
|No more ({x}/{m}), please.>All right, then later.|Whose {y} is (this/that)?>Somebody here should know.
|Which {y} is (the best/the right one/mine/older/yours)?>The one on the left, I think.
|How many {y}s (do we need/are there)?>Two or three.|Where is (my/the/your/our) {y}?>It was here a moment ago.
|Who (has/took/wants/needs) (my/the/this) {y}?>Somebody here should know.|(My/The/This) {y} is {l}.>That can happen.
|Is (this/that) (your/my/a good/the old) {y}?>It looks like it.|What a {l} {y}!>Yes, one sees that at once.
|(Do/Did) you (see/hear/find/know/like/want) (the/that/my) {y}?>It was here a moment ago.
|I (lost/found/need/like) (a/my/the) {y}.>That can happen.
|What does a {j} (do/need/earn/wear)?>That differs from place to place.
|Where does a {j} work?>That differs from place to place.
|(My/Her/Your) (father/sister/friend/aunt) is a {j}.>That is good to know.|(Is/Was) {z} a {j}?>It looks like it.
|(Enjoy/Have) (your/a good/a nice/a quiet) {h}!>Thank you, the same to you.
|(Good luck/Be careful/All the best) with the {y}!>Thank you, the same to you.
|How was (the/your/their) {h}?>Calm and good, thank you.|(Thanks/Thank you) for the {h}!>Any time, gladly.
|(Sorry/Too bad/What a pity), (the {y} is {l}/no {x} today/I {p} {o})(./!)>That can happen.
|(Oh/Well/Hm/Wow), {x}!>Yes, one sees that at once.|(Hurry up/Wait a little/Come in/Come here/Calm down/Watch out/
Look here/Guess what/Go on)(, please./!/, {s} {p} {o}!)>All right, here we go.
|(Yes/No/Maybe/Right), {s} {p} {o}.>That is good to know.
|(Hello/Hi/Hey), (how is/where is/what about) the {y}?>It was here a moment ago."""
"""What is said>what is answered. {b} {p} {n} {i} are a verb's forms, {o} goes with the verb; {B}, {S} begin a line."""


def chatter(n: int, rng: random.Random) -> list[tuple[str, str]]:
    """`n` different sentences, each with an answer."""
    words = {slot: patterns(text) for slot, text in WORDS.items()}
    forms = [form.split(">") for form in patterns(FORMS)]
    doings = [doing.split(":") for doing in patterns(DOINGS)]
    found: dict[str, str] = {}
    while len(found) < n:
        form, answer = rng.choice(forms)
        verb, objects = rng.choice(doings)
        begin, past, done, doing = verb.split()
        framed = form.replace("{f}", rng.choice(words["f"]))
        drawn = {"b": begin, "p": past, "n": done, "i": doing, "o": rng.choice(objects.split(","))}
        said = one_of(framed, rng, words, **drawn, B=begin.capitalize(), S=rng.choice(words["s"]).capitalize())
        found[said.lower().rstrip("?.!") if rng.random() < 0.2 else said] = answer
    return list(found.items())
