"""Message kinds between people: a meeting moves, somebody needs something, friends make a plan, a calendar
changes, a table is booked, a train is late. Data for `messages.write`."""

from __future__ import annotations

from factory.base.tiny.messages import Ask, Kind
from factory.base.tiny.world import EVENTS, REASONS, THINGS, World


def _move(w: World) -> dict[str, str]:
    old_day, day, due = w.days(3)
    old_time, time = w.times(2)
    return dict(
        sender=w.person(), person=w.person(), event=w.rng.choice(EVENTS), old_day=old_day, day=day, due=due,
        old_time=old_time, time=time, room=w.room(), thing=w.rng.choice(THINGS), reason=w.rng.choice(REASONS),
    )  # fmt: skip


MOVE = Kind(
    "move", _move, "mail",
    body=(
        ("The {event} has moved from {old_day} {old_time} to {day} {time} in {room}.",
         "Because of {reason}, we will hold the {event} on {day} at {time} in {room} instead of "
         "{old_day} at {old_time}.",
         "Please note that the {event} planned for {old_day} at {old_time} now takes place on {day} at {time}, {room}.",
         "We had to shift the {event}: it will be held in {room} on {day} at {time}, not on {old_day} at {old_time}.",
         "{Event} is no longer on {old_day} at {old_time}. We meet on {day} at {time} in {room}.",
         "Due to {reason}, the {event} on {old_day} at {old_time} cannot happen. The new date is {day} at {time} in "
         "{room}."),
        ("Please send the {thing} to {person} by {due}.", "{Person} needs the {thing} by {due}.",
         "Could someone get the {thing} to {person} before {due}?",
         "Don't forget that {person} is waiting for the {thing}, due on {due}.",
         "If you have the {thing}, pass it to {person} no later than {due}.",
         "The {thing} must reach {person} by {due}."),
    ),
    asks=dict(
        sender=Ask("person", "sender", ("Who sent this message?", "Who wrote this?", "From whom is this mail?")),
        event=Ask("event", "event",
            ("What event is it about?", "Which event has moved?", "What takes place at another time?")),
        day=Ask("day", "new day", ("On which day does it take place now?", "What is the new day?", "When is it now?")),
        time=Ask("time", "new time",
            ("At what time does it start now?", "What is the new time?", "When does it begin on the new day?")),
        old_day=Ask("day", "old day", ("On which day was it planned before?", "What was the old day?")),
        old_time=Ask("time", "old time", ("At what time was it planned before?", "What was the old time?")),
        room=Ask("room", "room", ("Where is it held?", "In which room is it?", "Where do people meet?")),
        thing=Ask("thing", "thing to send", ("What has to be sent?", "What is needed?", "Which thing is asked for?")),
        person=Ask("person", "receiver",
            ("Who needs it?", "Who is it to be sent to?", "Who is waiting for something?")),
        due=Ask("day", "deadline", ("By when is it due?", "What is the deadline?", "Until when can it be sent?")),
    ),
    says=(
        ("The {event} is now on {day} at {time}.", "{Event} takes place on {day} at {time}.",
         "On {day} at {time} there is the {event}.", "{Event} was put on {day}, {time}."),
        ("The {event} is in {room}.", "{Event} happens in {room}.", "We meet for the {event} in {room}."),
        ("The {event} was planned for {old_day}.", "{Event} used to be on {old_day}.",
         "Before, the {event} was on {old_day} at {old_time}."),
        ("{person} needs the {thing} by {due}.", "The {thing} goes to {person} by {due}.",
         "Give {person} the {thing} until {due}."),
        ("The {thing} is due on {due}.", "{Thing} must be ready by {due}.", "The deadline for the {thing} is {due}."),
        ("{sender} wrote about the {event}.", "The mail about the {event} is from {sender}."),
    ),
    titles=("{event} moved", "{event}", "new date for the {event}", "change: {event}", "{event} in {room}"),
)  # fmt: skip


def _request(w: World) -> dict[str, str]:
    due, day = w.days(2)
    return dict(
        sender=w.person(), person=w.person(), thing=w.rng.choice(THINGS), event=w.rng.choice(EVENTS), due=due,
        day=day, time=w.times(1)[0], number=str(w.rng.randint(2, 40)),
    )  # fmt: skip


REQUEST = Kind(
    "request", _request, "mail",
    body=(
        ("We are getting ready for the {event} on {day}.", "The {event} on {day} is coming closer.",
         "As you know, the {event} is on {day}.", "I am putting things together for the {event} on {day}.",
         "{Event} is planned for {day} and we still miss something."),
        ("I still need the {thing} from you by {due} at {time}.", "Could you send me the {thing} by {due}, {time}?",
         "Please let me have the {thing} no later than {due} at {time}.",
         "The {thing} should be with me by {due} at {time}.",
         "My question is short: can I get the {thing} before {due} at {time}?"),
        ("Make {number} copies, please, and give one to {person}.", "{Person} would like {number} copies.",
         "Also bring {number} printed copies for {person}.", "We need {number} copies; {person} will collect them."),
    ),
    asks=dict(
        sender=Ask("person", "sender", ("Who sent this message?", "Who is asking?", "Who wrote this mail?")),
        thing=Ask("thing", "thing", ("What is asked for?", "What does the sender need?", "Which thing is missing?")),
        due=Ask("day", "deadline", ("By which day is it needed?", "What is the deadline?", "When is it due?")),
        time=Ask("time", "hour", ("By what time is it needed?", "At what time is it due?")),
        event=Ask("event", "event", ("For which event is it?", "What is being prepared?")),
        day=Ask("day", "day of the event", ("On which day is the event?", "When does the event take place?")),
        number=Ask("number", "number of copies", ("How many copies are needed?", "How many copies should be made?")),
        person=Ask("person", "other person", ("Who gets the copies?", "Who else is named?")),
    ),
    says=(
        ("{sender} needs the {thing}.", "{sender} asks for the {thing}.", "The {thing} is for {sender}."),
        ("The {thing} is due on {due} at {time}.", "{Thing} must come by {due}, {time}.",
         "The deadline for the {thing} is {due} at {time}."),
        ("The {event} is on {day}.", "{Event} takes place on {day}.", "On {day} we have the {event}."),
        ("{person} gets {number} copies.", "{number} copies go to {person}.",
         "There are {number} copies for {person}."),
    ),
    titles=("{thing} needed", "{thing}", "{thing} for the {event}", "reminder: {thing}", "question about the {thing}"),
)  # fmt: skip


def _chat(w: World) -> dict[str, str]:
    asker, other, late = w.first(), w.first(), w.first()
    while len({asker, other, late}) < 3:
        asker, other, late = w.first(), w.first(), w.first()
    day, old_day = w.days(2)
    time, late_time = w.times(2)
    return dict(
        asker=asker, other=other, late=late, venue=w.venue(), day=day, old_day=old_day, time=time,
        late_time=late_time, thing=w.rng.choice(THINGS),
    )  # fmt: skip


CHAT = Kind(
    "chat", _chat, "chat",
    body=(
        ("{asker}: Are we still meeting on {old_day}?", "{asker}: Who is free on {old_day}?",
         "{asker}: Does {old_day} work for you?", "{asker}: Shall we meet on {old_day}?"),
        ("{other}: Sorry, I can't. How about {day} at {time}?", "{other}: No, {day} at {time} is better for me.",
         "{other}: I have to work then. {day}, {time}?", "{other}: Not for me, let's take {day} at {time}."),
        ("{asker}: OK, {day} it is. I booked a table at {venue}.", "{asker}: Fine with me! Let's go to {venue}.",
         "{asker}: Good, see you at {venue} then.", "{asker}: Great, {venue} has a table for us."),
        ("{late}: I can only come at {late_time}.", "{late}: I'm in, but not before {late_time}.",
         "{late}: My bus gets in late, I'll join at {late_time}."),
        ("{asker}: No problem. {other}, please bring the {thing}.", "{asker}: And {other} brings the {thing}, right?",
         "{other}: All right. I will bring the {thing}.", "{other}: Then I'll take the {thing} with me."),
    ),
    asks=dict(
        day=Ask("day", "day", ("On which day do they meet?", "Which day did they agree on?", "When is the meeting?")),
        time=Ask("time", "time", ("At what time do they meet?", "What time did they agree on?")),
        venue=Ask("venue", "place", ("Where do they meet?", "Where is the table?", "Which place did they choose?")),
        other=Ask("first", "who brings something", ("Who brings something?", "Who could not come on the first day?")),
        thing=Ask("thing", "thing to bring", ("What will be brought along?", "What should be brought?")),
        late=Ask("first", "who is late", ("Who comes later?", "Who is late?")),
        late_time=Ask("time", "late arrival",
            ("When does the late person come?", "At what time does the last one join?")),
        old_day=Ask("day", "first idea", ("Which day was asked about first?", "Which day did not work?")),
        asker=Ask("first", "who asked", ("Who asked first?", "Who started the chat?")),
    ),
    says=(
        ("They meet on {day} at {time}.", "The group meets on {day}, {time}.", "On {day} at {time} they all meet."),
        ("They meet at {venue}.", "{venue} is the place.", "The table is at {venue}."),
        ("{other} brings the {thing}.", "The {thing} comes with {other}.", "{Thing}: {other} has it."),
        ("{late} joins at {late_time}.", "{late} comes late, at {late_time}.", "At {late_time} {late} will be there."),
        ("{old_day} did not work.", "They do not meet on {old_day}."),
    ),
)  # fmt: skip


def _calendar(w: World) -> dict[str, str]:
    day, due = w.days(2)
    time, end = w.times(2)
    return dict(
        event=w.rng.choice(EVENTS), organiser=w.person(), old_room=w.room(), room=w.room(), day=day, time=time,
        end=end, due=due, reason=w.rng.choice(REASONS),
    )  # fmt: skip


CALENDAR = Kind(
    "calendar", _calendar, "note",
    body=(
        ("Updated invitation: {event} on {day}, {time} to {end}.",
         "{Event}, {day} from {time} to {end}: details changed.",
         "{organiser} changed the {event} on {day} ({time} to {end}).",
         "Your calendar changed: {event}, {day}, {time} to {end}."),
        ("New place: {room} (before: {old_room}).", "It is now in {room} and not in {old_room}.",
         "The place changed from {old_room} to {room}.", "Because of {reason}, it moves from {old_room} to {room}."),
        ("Organiser: {organiser}. Please answer by {due}.", "Please tell {organiser} by {due} if you will come.",
         "{organiser} asks for your answer by {due}.", "Reply to {organiser} until {due}."),
    ),
    asks=dict(
        event=Ask("event", "event",
            ("Which event changed?", "What is the invitation for?", "What is in the calendar?")),
        day=Ask("day", "day", ("On which day is it?", "What day is the event?")),
        time=Ask("time", "start", ("When does it start?", "At what time does it begin?")),
        end=Ask("time", "end", ("When does it end?", "At what time is it over?")),
        room=Ask("room", "new place", ("Where is it now?", "What is the new place?")),
        old_room=Ask("room", "old place", ("Where was it before?", "What was the old place?")),
        organiser=Ask("person", "organiser", ("Who organises it?", "Who wants an answer?", "Who is the organiser?")),
        due=Ask("day", "answer by", ("By when should one answer?", "What is the last day to reply?")),
    ),
    says=(
        ("The {event} is on {day}.", "{Event} takes place on {day}.", "On {day} there is the {event}."),
        ("It runs from {time} to {end}.", "The {event} starts at {time} and ends at {end}.",
         "{Event} begins at {time}."),
        ("The {event} is now in {room}.", "{Event} went to {room}.", "{Room} is the new place for the {event}."),
        ("It was in {old_room} before.", "The old place was {old_room}."),
        ("{organiser} wants an answer by {due}.", "Answer {organiser} by {due}.",
         "The last day to tell {organiser} is {due}."),
    ),
    titles=("calendar update", "{event} changed", "change of place", "invitation: {event}"),
)  # fmt: skip


def _booking(w: World) -> dict[str, str]:
    day, due = w.days(2)
    return dict(
        venue=w.venue(), person=w.person(), day=day, due=due, time=w.times(1)[0], number=str(w.rng.randint(2, 14)),
        address=w.address(), code=w.code(), amount=w.amount(),
    )  # fmt: skip


BOOKING = Kind(
    "booking", _booking, "note",
    body=(
        ("Dear {person}, your table at {venue} is reserved for {number} people on {day} at {time}.",
         "Hello {person}, we look forward to seeing you at {venue} on {day} at {time} with {number} people.",
         "{Venue}: booking for {person}, {number} people, {day}, {time}.",
         "Thank you, {person}! {Venue} has noted your booking for {number} people on {day}, {time}."),
        ("You find us at {address}.", "Our address is {address}.", "We are at {address}, next to the park."),
        ("Please confirm by {due} with code {code}.", "To keep the table, confirm with code {code} before {due}.",
         "If you do not confirm by {due} (code {code}), the table is given away.",
         "Confirm until {due}; your code is {code}."),
        ("For late changes we charge {amount}.", "A table that stays empty costs {amount}.",
         "If you do not come, the fee is {amount}."),
    ),
    asks=dict(
        venue=Ask("venue", "place", ("Where is the table?", "Which place was booked?")),
        person=Ask("person", "guest", ("Who booked the table?", "Who is the guest?", "In whose name is the booking?")),
        day=Ask("day", "day", ("For which day is the booking?", "On what day is the table?")),
        time=Ask("time", "time", ("At what time is the table?", "When should the guests come?")),
        number=Ask("number", "number of people", ("How many people come?", "For how many is the table?")),
        due=Ask("day", "confirm by", ("By when must it be confirmed?", "What is the last day to confirm?")),
        code=Ask("code", "code", ("What is the code?", "Which code confirms it?")),
        address=Ask("address", "address", ("What is the address?", "Where is it?")),
        amount=Ask("amount", "fee", ("What is the fee?", "How much does an empty table cost?")),
    ),
    says=(
        ("There is a table at {venue} on {day} at {time}.", "{venue} expects the guests on {day}, {time}.",
         "The booking at {venue} is for {day} at {time}."),
        ("The table is for {number} people.", "{number} people will come."),
        ("{person} has to confirm by {due}.", "Confirm by {due} with code {code}.",
         "The code {code} is good until {due}."),
        ("The fee is {amount}.", "An empty table costs {amount}."),
        ("The address is {address}.", "It is at {address}."),
    ),
    titles=("your booking", "booking {code}", "table at {venue}", "please confirm"),
)  # fmt: skip


def _travel(w: World) -> dict[str, str]:
    old_time, time = w.times(2)
    start, goal = w.city(), w.city()
    while goal == start:
        goal = w.city()
    return dict(
        start=start, goal=goal, day=w.days(1)[0], old_time=old_time, time=time, train=w.code(),
        platform=str(w.rng.randint(2, 40)), minutes=w.minutes(), reason=w.rng.choice(REASONS), person=w.person(),
    )  # fmt: skip


TRAVEL = Kind(
    "travel", _travel, "note",
    body=(
        ("Your train {train} from {start} to {goal} on {day} leaves at {time} instead of {old_time}.",
         "Train {train} ({start} to {goal}, {day}) is late: it departs at {time}, not at {old_time}.",
         "Because of {reason}, train {train} to {goal} will leave {start} on {day} at {time} and not at {old_time}.",
         "Change to your trip from {start} to {goal} on {day}: {train} now goes at {time} (planned: {old_time})."),
        ("It starts from platform {platform}.", "Please go to platform {platform}.", "The new platform is {platform}."),
        ("Be there {minutes} before.", "Doors close early, so come {minutes} before.",
         "We ask you to arrive {minutes} ahead."),
        ("For questions ask {person} at the desk.", "{person} can change your ticket.",
         "If you need another ticket, call {person}."),
    ),
    asks=dict(
        train=Ask("code", "train", ("Which train is it?", "What is the number of the train?")),
        start=Ask("city", "start", ("Where does the trip start?", "From which city does it leave?")),
        goal=Ask("city", "goal", ("Where does the train go?", "What is the last city?", "Where does the trip end?")),
        day=Ask("day", "day", ("On which day is the trip?", "What day does it leave?")),
        time=Ask("time", "new time", ("When does it leave now?", "What is the new time?")),
        old_time=Ask("time", "old time", ("When was it planned to leave?", "What was the old time?")),
        platform=Ask("number", "platform", ("From which platform does it leave?", "What is the platform?")),
        minutes=Ask("minutes", "how early", ("How early should one be there?", "How long before should one come?")),
        person=Ask("person", "contact", ("Who can help?", "Who changes tickets?", "Who answers questions?")),
    ),
    says=(
        ("Train {train} goes from {start} to {goal}.", "{train} runs to {goal} from {start}.",
         "The trip is from {start} to {goal}."),
        ("The train to {goal} leaves at {time}.", "It departs at {time} on {day}.", "{train} is now at {time}."),
        ("It was planned for {old_time}.", "The old time was {old_time}."),
        ("The platform is {platform}.", "Go to platform {platform}.", "It leaves from platform {platform}."),
        ("{person} helps with tickets.", "Ask {person} for help."),
        ("Come {minutes} early.", "One should be there {minutes} before."),
    ),
    titles=("change to your trip", "train {train}", "{start} to {goal}", "new time"),
)  # fmt: skip

OFFICE = (MOVE, REQUEST, CHAT, CALENDAR, BOOKING, TRAVEL)
