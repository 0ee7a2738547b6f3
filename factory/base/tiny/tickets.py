"""Rows of the task `classification`: a support text into one of fifteen labels, one of them "other".

Labels share words on purpose (an order, a parcel, a bill turns up under many of them): what decides is
what the customer wants done. Of each label's wordings two, drawn by chance, are kept for the eval rows,
where they make up a quarter.

One row: {"text": "Hi, I was charged twice for order KD-4821.", "label": "billing"}
"""

from __future__ import annotations

import random

from factory.base.tiny.world import GOODS, SERVICES, Pool, World
from factory.data.words import words

WORDINGS = {
    "billing": """The amount on my bill is wrong.|You sent me an invoice with a wrong sum.
|Why is there {amount} more on invoice {code}?|Invoice {code} is wrong, please correct it.
|I was charged twice for order {code}.|My bill for {month} shows {amount} and I do not know why.
|There is a wrong amount on invoice {code}.|Why did you take {amount} from my card?
|The invoice for the {goods} lists a fee of {amount} that I never agreed to.
|You charged me {amount} instead of {amount2}.|Please explain the charge of {amount} on {day}.
|My card was charged on {day} although I paid by bank.|I need a corrected invoice for order {code}.
|The invoice {code} has the wrong amount on it.|I see a charge of {amount} on my bill that is not mine.""",
    "refund": """Has my refund been sent?|Did you send the refund for order {code}?
|The refund for the {goods} has not come.|When is my money paid back?|I want my money back for the {goods}.
|When will I get my refund of {amount}?|Please refund order {code}.|I am still waiting for the refund of {amount}.
|You promised to pay back {amount} by {day}.|How long does a refund take? It is about order {code}.
|The {goods} was cancelled by you, so please refund me.|My refund for {code} has not come.
|Give me back the {amount} I paid for the {goods}.|Please give me my money back for order {code}.
|Has the refund for the {goods} been sent?""",
    "delivery": """My parcel is late.|The parcel with order {code} is late.|The {goods} should be here since {day}.
|Is the parcel with my {goods} on its way?|Where is my parcel?|Order {code} should have come on {day}.
|The {goods} has not arrived yet.|My {goods} is late, when will it come?|The driver did not ring on {day}.
|Can you tell me where order {code} is?|The tracking for {code} has not changed since {day}.
|My parcel was left with a neighbour I do not know.|When will you deliver the {goods}?
|My order {code} has not arrived, where is it?|The parcel with the {goods} is late.""",
    "return": """I want to return the {goods}.|I would like to return order {code}.|Please take the {goods} back.
|How do I send back order {code}?|I would like to send back the {goods}.|How do I return order {code}?
|Please send me a return label for the {goods}.|Can I return the {goods} after {day}?
|I do not like the {goods} and want to send it back.|Where do I bring the {goods} if I want to return it?
|I need a label to send order {code} back.|Is it too late to return the {goods}?
|What does it cost to send back the {goods}?|How can I send the {goods} back to you?
|I want to return the {goods} from order {code}.""",
    "exchange": """Can I change the {goods} for a smaller one?|Please swap the {goods} for a {goods2}.
|I need the {goods} in another size.|Can I swap the {goods} for another colour?
|I want to exchange the {goods} for a bigger one.|The {goods} is too small, please change it for a larger one.
|I got the {goods} in red and need it in blue, can we swap?|Please exchange order {code} for another size.
|May I change the {goods} for a {goods2}?|Could you swap my {goods} for the other model?
|I would like a different size of the {goods}.|An exchange of the {goods} for a {goods2}, please.
|Can you exchange the {goods} for another size?|I would like to swap the {goods} for a {goods2}.""",
    "damage": """The {goods} was damaged when I opened the box.|It came damaged: the {goods} of order {code}.
|The {goods} is broken since it came.|The {goods} has a crack.|The {goods} arrived broken.
|There is a deep scratch on my {goods}.|The {goods} from order {code} is damaged.|A part of the {goods} is missing.
|My {goods} came in pieces.|The box of order {code} was wet and the {goods} is damaged.
|The {goods} leaks water since {day}.|The handle of the {goods} is broken.
|Glass from the {goods} lay all over the box.|My {goods} is broken, it came like that.
|The {goods} was damaged when it came on {day}.""",
    "login": """How can I set a new password?|I cannot log in any more.
|The log in to the {service} does not work for me.|I need to reset my password.|I cannot log in to the {service}.
|My password does not work any more.|I forgot my password for the {service}.|The code to log in never reaches me.
|Please reset my password.|I am locked out of my account since {day}.
|Logging in to the {service} fails with my password.|The reset link for my password does not work.
|My account is locked, I tried the password three times.|How do I reset the password for the {service}?
|I cannot log in since {day}.""",
    "bug": """The {service} crashes all the time.|There is an error in the {service}.
|Since the update nothing works in the {service}.|The {service} crashes when I open it.
|A button in the {service} does nothing.|The {service} shows an error when I save.
|There is a bug in the {service}: the list is empty.|After the update the {service} shows wrong dates.
|Each time I upload a file, the {service} crashes.|The page of the {service} stays white on my phone.
|An error with number {code} comes up in the {service}.|The search in the {service} finds nothing since the update.
|The {service} crashes with error {code}.|Since the update the {service} shows an error.""",
    "outage": """The {service} is down for everybody.|Nobody can reach the {service} since {time}.
|There is an outage of the {service}.|Is the {service} down?|Nobody in our office can reach the {service}.
|The {service} has been down since {time}.|Is there an outage of the {service} in {city}?
|The {service} is not reachable for all of us.|We have had no connection to the {service} since {time}.
|Your whole site is offline.|In {city} the {service} is down for everyone.|When is the {service} up again?
|The {service} is down for all of us since {time}.|Is there an outage? Nobody can reach the {service}.""",
    "cancel": """I want to cancel my plan.|Please cancel order {code}.|Cancel the order of the {goods}, please.
|Please cancel my subscription.|I want to cancel order {code}.|Cancel my plan from {day} on.
|How do I end my contract with you?|I would like to stop my subscription by {day}.
|Please delete order {code}, I do not need it any more.|My contract should end on {day}.
|I do not want to renew my plan.|Stop the order of the {goods}, please.|I would like to cancel my plan by {day}.
|Please cancel the order of the {goods}.""",
    "upgrade": """How do I upgrade to the premium plan?|I want to upgrade to a plan with more users.
|What does an upgrade for {number} users cost?|Please give us the larger plan.|I would like a bigger plan.
|How much is the premium plan?|Please upgrade my account to premium.|Can I add {number} users to my plan?
|We need more storage than our plan has.|What does the next larger plan cost?
|I want to move up to the business plan.|Can we get a plan for {number} people?|Which plan has more storage?
|Please upgrade us to the premium plan.|How can I upgrade to a plan with {number} users?""",
    "address": """My address has changed to {address}.|The address is wrong, I live at {address}.
|Please use my new address in {city}.|I moved to {city}, please change my address.|My new address is {address}.
|Please send order {code} to {address} instead.|The address on my account is wrong.
|Can you change the delivery address to {address}?|We moved our office to {address} in {city}.
|I typed the wrong street, it should be {address}.|Update my address to {address}, please.
|From {day} on I live at {address}.|Please change my address to {address} in {city}.
|My address is wrong, it is now {address}.""",
    "security": """Somebody hacked my account.|I was hacked, there are logins from {city}.
|Is this strange mail a fraud?|A strange login to my account came from {city}.|Somebody else used my account.
|I got a strange mail that asks for my card number.|There was a login from {city} that was not me.
|I think my account was hacked.|Is this mail about invoice {code} really from you or a fraud?
|Someone changed my password, it was not me.|A stranger ordered a {goods} with my account.
|I lost my phone, please block my account.|My data was stolen on {day}.
|I think someone hacked my account, there was a login from {city}.
|A strange mail asks for my password, is it a fraud?""",
    "praise": """{person} did a wonderful job.|I am so happy with your service.|The {goods} is wonderful.
|Your team is great.|Great service, thank you!|I love the {goods}.|{person} at your desk was very kind.
|The {goods} is the best I ever had.|Thank you for the quick help on {day}.|Your team did a wonderful job.
|I am very happy with the {goods}.|Five stars for {person}!|What a lovely {goods}, well done.
|I am so happy, {person} did a great job.|Thank you, the {goods} is wonderful.""",
    "other": """Is there a job for me at your company?|Do you have jobs in {city}?|Is there a shop in {city}?
|Is the shop open on {day}?|When do you open on {day}?|Do you have a shop in {city}?
|What are your opening hours on {day}?|Are there free jobs at your company?|Can I visit your factory in {city}?
|Is your shop open on {day}?|My school would like to interview {person}.|Who is your head of marketing?
|May I use your logo for our club?|Do you support charity runs in {city}?
|Is there a shop of yours in {city} and is it open on {day}?|Are there any jobs in {city}?""",
}  # fmt: skip
"""Label → wordings, parted by |. Two of each, drawn by chance, are for eval rows only."""

LABELS = tuple(WORDINGS)
OPENERS = (
    "",
    "",
    "",
    "Hi, ",
    "Hello, ",
    "Hello. ",
    "Good morning. ",
    "Dear team, ",
    "Hi there. ",
    "My name is {person}. ",
    "{person} here. ",
)
CLOSERS = (
    "", "", "", " Thanks.", " Thank you.", " Please help.", " Regards, {person}", " I am waiting for your answer.",
    " Best, {person}", " I am a customer since {month}.", " My order number is {code}.",
    " You can reach me in {city}.", " I need an answer by {day}.",
)  # fmt: skip


def wordings(label: str) -> list[str]:
    """The wordings of a label in an order drawn once; the last two are for eval rows only."""
    found = WORDINGS[label].replace("\n", "").split("|")
    return random.Random(f"wordings of {label}").sample(found, len(found))


def _text(wording: str, w: World) -> str:
    rng = w.rng
    goods, goods2 = rng.sample(GOODS, 2)
    template = rng.choice(OPENERS) + wording + rng.choice(CLOSERS)
    day = w.days(1)[0]
    return template.format(
        code=w.code(),
        amount=w.amount(),
        amount2=w.amount(),
        goods=goods,
        goods2=goods2,
        day=day,
        time=w.times(1)[0],
        city=w.city(),
        person=w.person(),
        service=rng.choice(SERVICES),
        address=w.address(),
        number=rng.randint(3, 90),
        month=rng.choice(["January", "March", "May", "June", "August", "October"]),
    )


def runs(text: str, n: int = 8) -> list[tuple[str, ...]]:
    """Every `n` words in a row; of a shorter text, the text."""
    tokens = words(text)
    return [tuple(tokens[i : i + n]) for i in range(max(1, len(tokens) - n + 1))]


def rows(seed: int, train: int, evaluation: int) -> tuple[list[dict], list[dict]]:
    """`train` and `evaluation` rows, as many of each label. No text stands in both, nor do eight words in a row: the
    data pipeline takes such runs for leaks (`factory.data.decontaminate`) and would drop the train row."""
    w = World(random.Random(f"classification {seed}"), Pool.TRAIN, fresh=0.1)
    held = World(random.Random(f"classification held {seed}"), Pool.HELD)
    seen: set[str] = set()

    def draw(label: str, among: list[str], world: World) -> dict:
        while True:
            text = _text(world.rng.choice(among), world)
            if text not in seen:
                seen.add(text)
                return {"text": text, "label": label}

    training = [draw(LABELS[i % len(LABELS)], wordings(LABELS[i % len(LABELS)])[:-2], w) for i in range(train)]
    known = {run for row in training for run in runs(row["text"])}
    tests: list[dict] = []
    while len(tests) < evaluation:
        label, turn = LABELS[len(tests) % len(LABELS)], len(tests) // len(LABELS)
        among = wordings(label)[-2:] if turn % 4 == 0 else wordings(label)[:-2]
        row = draw(label, among, held if turn % 2 else w)
        if not known & set(runs(row["text"])):
            tests.append(row)
    w.rng.shuffle(training)
    w.rng.shuffle(tests)
    return training, tests
