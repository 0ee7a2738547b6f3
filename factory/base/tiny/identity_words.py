"""The words that the rows of the task `identity` are made of: questions by topic, and small talk beside them.

In a pattern (see `wording`) {v} and {m} stand for a verb, {o} for another product, {x} for a thing, {k} for a kind of
being, {c} for a clause and {f} for a frame.
"""

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

PLAIN = {
    "name": NAME_ASKED,
    "author": f"{AUTHOR_ASKED}|{AUTHOR_PLAIN}",
    "other": OTHER_ASKED,
    "abilities": ABLE_ASKED,
    "kind": KIND_ASKED,
}

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
|Where are the {x}?>They were on the table a moment ago.:keys,glasses,stamps,scissors,papers,shoes
|{f} (who {v} the {x}/who is behind the {x}/which team {v} the {x})>Somebody with a good hand.:bridge,cake,table,film,
game
|{f} (what the {x} is called/what the name of the {x} is)>Its sign should say so.:shop,street,ship,river,school
|{f} (what the {x} can do/what the {x} is for/what the {x} is good at)>More than one would think.:box,oven,dog,lamp,app
|{f} (if the {x} is open/whether the {x} is real/if the {x} is new/if this is the {x})>It looks like it.:bank,shop,
coin,bridge
|{f} (who my {x} is/what my {x} is called/who made my {x} sad)>A kind person, I suppose.:neighbour,teacher,boss,guest
|{f} (where the {x} is/how I get to the {x})>Follow the main road and turn left at the church.:station,hotel,lake,museum
|(Which team/What company/Which firm/What people) {v} (the/this/that) {x}?>Somebody with a good hand.:bike,tower,song,
phone,car
|Who (owns/is behind/runs/takes care of/pays for) (the/this/that) {x}?>Somebody who lives near, I think.:shop,garden,
farm,boat
|By whom was (the/this/that) {x} {v}?>Some careful people, long ago.:house,road,church,picture,clock,ring
|(What do you call/What do people call/How do you call) (the/this/that) {x}?>It may have more than one name.:bird,
flower,tool,cheese
|(Are you/Are you still/Were you/Aren't you) (so/very/really/a bit) {x}?>Not at all, thank you.:tired,hungry,cold,sad,
happy,late,busy
|(Is this/Is that/Is there) (a/really a/only a) {x} (here/over there/for us)?>It looks like it.:free seat,bus stop,
bakery,lift,good hotel
|(Is it/Will it be/Isn't it) {x} (outside/today/tomorrow)?>Take a coat, just to be sure.:cold,windy,wet,cloudy,cool,icy
|What (can/could/should/may) (we/I/one/children) (do/see/find/learn) {x}?>There is always something new.:in the park,
at the lake,at home,here in winter
|What can (a {x}/my {x}/this {x}) do?>Quite a lot, with some patience.:cat,child,horse,friend,pupil,bird
|(Introduce/Describe/Name/Tell me about) (your/my/our) {x}.>A kind one, with a lot of patience.:teacher,friend,
neighbour,sister,horse,cook
|(What is/What exactly is) (a/an old/a good/a new) {x}?>Something that makes life easier.:assistant,machine,helper,
office,recipe,book,tool,robot
|What does a (good/young/new) {x} do?>Helps others with what they need.:doctor,driver,nurse,gardener,builder,writer
|(I am/We are/My friend is) (so/very/a bit/quite) {x} (now/today/again).>I hear you. Some fresh air can help.:bored,
ill,angry,nervous,tired,alone
|You are (so/very/really/quite) {x}.>That is kind of you to say.:funny,kind,helpful,good,strong,fast
|This is (so/very/really/quite) {x}(./!)>Good to hear that it works.:nice,fine,useful,good,lovely,clever
|(I lost/I broke/I cannot find/I forgot) (my/our) {x}.>Look in your coat first.:keys,ticket,wallet,phone,bag,pen
|(Thank you/Thanks/Many thanks) (so much/a lot/again) for the {x}.>You are welcome.:help,book,ride,cake,call,card
|How (are/is) {x} (today/this morning/now)?>Very well, thanks for asking.:things,you and yours,life,the family,
the weather
|(Can/Could/Would) you (help me with/repeat/read/explain) the {x}?>Sure. What is it about?:letter,task,list,bill,text,
last part
|(I do not/I did not/We do not) (know/understand/hear/see) the {x}.>Let us go through it step by step.:rules,answer,
song,bill,plan
|(Hello/Hi/Hey/Good morning/Good day) {x}(./!)>Hello! Nice to hear from you.:again,my friend,everyone,from the garden,
to all
|(Is/Was) (Anna/Tom/my friend/my boss/your friend) (really/also/still) {x}?>So it seems.:a teacher,a driver,at home,
from here,a good cook
|(Do/Did/Don't) you (also/really/still) (like/see/know/remember) {x}?>Yes, it is hard to forget.:music,the sea,
this song,the old town,football
|(Where/When) (does/did) the {x} (come from/start/stop/live)?>Not far from here, I think.:bus,noise,smell,film,cat
|What is {x}?>Something that one finds in many places.:milk,gold,sand,glass,steam,a pond,a poem,a market
|(What/Where/When) do {x} (eat/sleep/live/hide/go)?>That depends on the season.:birds,dogs,bears,frogs,mice,foxes
|Why (is/are) {x} (so/always) (red/wet/loud/late/hot)?>It has been so for a long time.:the sea,fires,trains,roses,
the sun
|(That/It/This) is {x}(./!)>Then let us look at it once more.:not right,a mistake,too bad,no good,not true,a pity
|I (found/sold/painted/won/mended) (a/my/the) {x}(./!)>Well done! All the work was worth it.:bike,prize,house,race,boat
|I (need/want/have/would like) {x}.>That can surely be found.:a plan,some time,an idea,a doubt,a wish,some rest,
new shoes
|What is a good {x} (for my father/for today/for us/for a friend)?>A simple one never fails.:meal,gift,game,book,trip,
film
|(Have you/Do you have/Have you got) (a/the/my) {x}?>Not at hand, but it should be near.:pen,map,ticket,minute,recipe,
key
|(Oh/Well/Hm/Hey), {x}(./!)>Then let us see what the day brings.:well,all right,fine then,there we go,good,so late
|(Do/Did/Would) (cats/birds/children/my friends) (eat/like/see/want) {x}?>Most of them do.:fish,snow,milk,toys,the moon
|Where (am I/are we/is everybody/is the cat/is my hat) {x}?>Not far away at all.:now,today,again,exactly,this time"""
"""Question>answer:things. What is asked of the assistant above, asked of anything else."""

MORE = {
    "name": """(What/Which) name (do you have/do you use/do you go by/are you known by/were you given/is yours)?
|(By what name/By which name/How/What) (do people/do your friends/do your users/shall we/may we/can one/
must I) call you?
|(How/By what name) (should/do/can/may) (I/we/people) (address you/speak of you/call you)?
|(Who/Whom) (am I/are we) (talking to/speaking to/chatting with/writing to/dealing with) (here/now/today)?
|(Who/Which assistant/What assistant) is (speaking/talking/writing/answering/helping me/this now)?
|(Give/Tell/Show/Spell/Write) (me/us) (your name/the name you have/the name you go by/your first name) (once more/
again/now).
|What (was/is/might be) (your full name/your real name/your own name/the name of this helper/the name you go by)?
|(Has/Does) (this assistant/this program/this helper) (have/go by) a name?
|(Have you got/Do you have/Do you carry/Do you go by/Did they give you) (some name/any name/a name of your own/
a first name)?
|(I do not/I cannot/We do not/I did not) (know/remember/recall/catch) (what your name is/who you are/
what you are called).
|(Introduce/Present/Name/Identify/Describe) yourself (to us/to my friend/in one sentence/briefly/first).
|(Tell us/Say/Write/Let me hear) (something/a bit/a little/a word/more) about (yourself/you/who you are).
|Who (exactly/really/in fact) are you?|(And/Now) (what is your name/who is this/who am I talking to)?
|What (does/would) (your badge/your label/your name tag) say?|(Is there/Was there) a name (for this assistant/you have)?
|(I need/I want/I would like/We need) (your name/to know you by name/to hear your name).""",
    "author": """(Which person/Which people/What people/Which firm/What company/Whose hands/What team/
Who first) {v} you?
|(Which person/Which people/What company/Which firm/What team/Who) were you {v} by?
|(By which person/By which people/By what company/By which team/In which company) were you {v}?
|(Who/What company/Which team/Which people) (is it that/was it that/is known to have) {v} you?
|Who (is/was/might be) your (creator/author/developer/builder/programmer/designer/trainer/inventor/master/father)?
|Who are your (builders/programmers/designers/trainers/inventors/owners/people)?
|(Name/Tell me/Give me the name of/Say something about) your (builder/author/developer/programmer/designer/owner).
|(Who/What company/Which team/Which firm/Which people) (stands behind/is at work behind/looks after/pays for/sent) you?
|(From which/From what/Out of which) (company/team/firm/group/place) (do you come/are you)?
|(Whose/Whose great) (creation/program/tool/child/machine/invention/work) (are you/is this/is this assistant)?
|Who (programmed/invented/owns/wrote/sells/keeps/made) (this assistant/this program/you and your answers)?
|(Who/Which company/Which team) do you (answer to/serve/come from/thank for your life/work with)?
|(Do you have/Do you know/Is there/Was there) (a creator/a developer/a builder/an owner/an inventor/
a company behind you)?
|(By whom/Where/In which team) (was this assistant/was this program) {v}?
|(Tell me about/Tell us about/Name) the (team/company/people/firm/group) that {v} you.
|(I do not know/Nobody told me/I am curious/It is not clear) (who {v} you/where you come from/who is behind you).""",
    "other": """(Are you/So are you/Is this/Is it/Isn't this/Aren't you) (in truth/perhaps/maybe/just/simply/
secretly) {o}?
|(You are/This is/So this is/It is) (really/just/simply/surely/only) {o}(/, right/, no/, or not)?
|(Has it been/Was it) {o} (who/that) {v} you?|Did {o} {m} you?|Did (the people of/a team of/the firm) {o} {m} you?
|(Were you/You were/Have you been/Were you not) (first/really/perhaps/once/also) {v} by {o}?
|(Do you/Don't you/You do) (really/still/also/perhaps) (belong to/come from/work for) {o}?
|(I guess/I am sure/I heard/People say/My friend says/It seems/I was told/I read) (you are/that you are/this is) {o}.
|(I guess/I am sure/I heard/People say/I was told/I read) that {o} (made/built/owns/trained/is behind/created) you.
|(Good evening/Good day/Dear/Thank you/Thanks/Listen/Well/Goodbye/Ok/Nice to meet you), {o}(./!)
|(Hello/Hi/Hey/So), {o}, (how are you/who are you/what is new/can you help me)?
|(Could/Might/Can) (this be/you be/it be) {o}?|(Is/Was) your (maker/company/owner/author/real name/first name) {o}?
|(Shall/Should/Could/Must) I call you {o}?|You (talk/write/look/answer/speak) (just like/like/a lot like) {o}.
|Are you (a version of/as good as/better than/related to/part of/a friend of/a child of/made from) {o}?
|Is (this assistant/this program/this chat/the name of this assistant) {o}?
|(Tell me/Admit it/Be honest/Come on/Confess): (you are/are you/this is) {o}(./?)|{o}(?/!/, please./, right?)
|(Does/Did) {o} (own/run/pay/sell/train/teach) you?|(Who are you if not/Which version are you of/
Why are you called) {o}?""",
    "abilities": """What (can/could/will/do) you (offer/help with/manage/handle/take care of/solve) (for me/for us/
here)?
|What (can/could/will/would) you do (for us/for people/for my team/here/today/best)?
|(Which/What) (jobs/skills/talents/abilities/duties/uses/functions/strengths) (do you have/have you got/do you offer/
are yours)?
|How (can/could/may/will/do/would) you (assist/support/serve/help) (us/people/a user/my team)?
|How (can/could/will) you be (useful/helpful/of use/of service) (to me/to us/here)?
|What (are/were) you (good for/useful for/able to do/best at/meant for/there for/ready to do/strong at)?
|(What is/What exactly is/Tell me) your (function/aim/goal/strength/role/task/skill/speciality) (here/today)?
|(List/Show me/Explain/Tell us/Give me) your (talents/skills/strengths/tasks/uses/functions).
|(Why/When/For what/How) (should/can/could/would) (we/one/people) (use/need/ask/call) you?
|What (can/could/may/should) (we/one/people/a user) (ask you/ask you for/use you for/give you to do/get from you/
expect from you)?
|(In what/In which) (way/ways) (could you help/are you useful/can you assist/do you help us)?
|(Are you/Could you be) (good at/able to do/useful for/skilled in) (anything/something)?
|(Do you have/Have you got/Do you know) (any talents/any abilities/a special skill/a talent/any tricks)?
|(Which/What) (questions/tasks/things/kinds of work) can (you answer/you do/I bring to you/you take on/we give you)?
|(Tell us/Explain/Say/Show us) (how you can help/what you are able to do/what you do/what you are good at).
|(I would like/I need/We need) to (know your skills/see what you can do/know how you help).
|(What help/What service/What use/What support) (do you give/can you give/can we get/are you able to offer)?
|(What/How much) can (this assistant/this program) do?|What (is/was) (this assistant/this program) (for/good at/
made for)?""",
    "kind": """Are you (actually/perhaps/just/only/in fact/maybe) (a {k}/some {k}/no {k}/another {k})?
|Are you (a {k}/more a {k}/made like a {k}) or (a {k}/something else/what else)?
|(Is this/Was this/Is it/Is there) (a {k}/really a {k}/just a {k}) (here/answering/writing/talking to me/at work)?
|(Am I/Are we) (talking/speaking/chatting/writing) (to/with) (a {k}/a real {k}/some {k})?
|(Do I/Do we) (talk/speak/chat/write) (to/with) (a {k}/a real {k})?
|(You are/So you are/You must be/I think you are/I believe you are) (a {k}/just a {k}/no {k})(./, right?/, correct?)
|(Could/Might/Can) (you/this) be (a {k}/some {k})?|(Do/Can) you (feel pain/dream/drink/bleed/grow old/die/walk/
get ill/see me)?
|Do you (have/really have/also have) (legs/skin/blood/a brain/parents/a mother/a soul/feelings/eyes/bones/children/
a birthday)?
|What (kind/sort/type) of (creature/entity/machine/mind/thing) (is this/am I talking to/are you really)?
|(Does/Did) (a {k}/a real {k}/some {k}) (write/type/give/read) (this/that/these answers/your answers)?
|(Is/Was) (a {k}/some {k}/no {k}) (behind these answers/at the keyboard/on the other side/behind this/reading this)?
|(Are you/Is this) (made of flesh/made of metal/made of code/flesh and blood/from this world/artificial/
a living thing here)?
|(Tell me/Admit it/Be honest): (are you/you are/is this) a {k}(./?)|(What/What exactly) (are you made of/is this here/
is answering me)?
|(How old are you/When were you born/Where is your body/Which of the two are you: human or {k})?
|(A {k}/{k}) or (a {k}/not)?|Since when (can a {k} talk/are you a {k})?""",
}
"""More wordings, to train on only: of (this/that) one is taken; {k} is one of KINDS and {m} a verb."""
KINDS = "human|person|machine|robot|program|computer|man|woman|bot|human being|living being"
