"""Message kinds from services to people: a parcel comes, a service is down, a customer complains, a bill is
due, a limit is passed. Data for `messages.write`."""

from __future__ import annotations

from factory.base.tiny.messages import Ask, Kind
from factory.base.tiny.world import CAUSES, GOODS, PROBLEMS, SERVICES, WISHES, World


def _delivery(w: World) -> dict[str, str]:
    day, due = w.days(2)
    time, end = w.times(2)
    return dict(
        goods=w.rng.choice(GOODS), code=w.code(), carrier=w.carrier(), day=day, due=due, time=time, end=end,
        address=w.address(), person=w.person(), amount=w.amount(),
    )  # fmt: skip


DELIVERY = Kind(
    "delivery", _delivery, "note",
    body=(
        ("Your order {code} ({goods}) is on its way with {carrier}.",
         "{carrier} has picked up your {goods}, order {code}.",
         "Good news, {person}: the {goods} from order {code} was handed to {carrier}.",
         "The {goods} you ordered ({code}) was sent with {carrier}."),
        ("It will reach you on {day} between {time} and {end}.", "Delivery is planned for {day}, {time} to {end}.",
         "The driver comes on {day} between {time} and {end}.", "Expect it on {day} from {time} to {end}."),
        ("If nobody is at home, it waits at {address} until {due}.", "Missed it? Pick it up at {address} by {due}.",
         "Should you be out, collect it from {address} before {due}.",
         "Parcels we cannot hand over stay at {address} until {due}."),
        ("The bill for {person} is {amount}.", "{person} has paid {amount}.",
         "Total: {amount}, in the name of {person}."),
    ),
    asks=dict(
        goods=Ask("goods", "item", ("What was ordered?", "What is on its way?", "What is in the parcel?")),
        code=Ask("code", "order number", ("What is the order number?", "Which order is it?")),
        carrier=Ask("carrier", "carrier", ("Who brings it?", "Which company delivers it?", "What is the carrier?")),
        day=Ask("day", "delivery day", ("On which day does it come?", "When is the delivery?")),
        time=Ask("time", "from", ("From what time on can it come?", "When is the earliest time?")),
        end=Ask("time", "until", ("What is the latest time on that day?", "Until what time can the driver come?")),
        address=Ask("address", "pick-up place", ("Where can it be picked up?", "Where does it wait?")),
        due=Ask("day", "pick up by", ("Until when can it be picked up?", "What is the last day to collect it?")),
        person=Ask("person", "customer", ("Who is the customer?", "In whose name is the bill?")),
        amount=Ask("amount", "total", ("How much is it?", "What is the total?", "What does it cost?")),
    ),
    says=(
        ("The {goods} comes on {day}.", "{Goods} will arrive on {day}.", "{carrier} brings the {goods} on {day}."),
        ("It comes between {time} and {end}.", "The driver is there from {time} to {end}."),
        ("Order {code} is with {carrier}.", "{carrier} has order {code}.", "The carrier of {code} is {carrier}."),
        ("It can be picked up at {address} until {due}.", "{address} keeps it until {due}.",
         "Collect the {goods} at {address} by {due}."),
        ("The price is {amount}.", "It costs {amount}.", "{person} pays {amount}."),
    ),
    titles=("your parcel", "order {code}", "{carrier}: delivery on {day}", "your {goods}"),
)  # fmt: skip


def _incident(w: World) -> dict[str, str]:
    time, update = w.times(2)
    service, other = w.rng.sample(SERVICES, 2)
    return dict(
        service=service, other=other, time=time, update=update,
        cause=w.rng.choice(CAUSES), person=w.person(), number=str(w.rng.randint(2, 40)), day=w.days(1)[0],
        code=w.code(),
    )  # fmt: skip


INCIDENT = Kind(
    "incident", _incident, "note",
    body=(
        ("The {service} has been down since {time} on {day}.", "Since {day}, {time}, the {service} does not answer.",
         "We see errors in the {service}; it started on {day} at {time}.",
         "{Service} outage: users cannot reach it since {time} on {day}."),
        ("The cause is {cause}.", "It was brought about by {cause}.", "We traced it to {cause}.",
         "{Cause} led to this."),
        ("{person} is working on it.", "{person} leads the repair.", "Our engineer {person} has taken over.",
         "Please direct questions to {person}, who is fixing it."),
        ("Until then please use the {other}.", "As a workaround, use the {other}.",
         "The {other} still works, use it for now."),
        ("The next update comes at {update}.", "We will write again at {update}.", "More news at {update}.",
         "Expect an update at {update}."),
        ("Incident {code}, {number} customers hit.", "{number} customers are affected (incident {code}).",
         "So far {number} customers called; the number is {code}."),
    ),
    asks=dict(
        service=Ask("service", "service", ("What is down?", "Which service has a problem?", "What does not work?")),
        time=Ask("time", "since", ("Since what time is it down?", "When did the problem start?")),
        day=Ask("day", "day", ("On which day did it start?", "What day did it break?")),
        cause=Ask("cause", "cause", ("What is the cause?", "Why is it down?", "What led to the problem?")),
        person=Ask("person", "engineer", ("Who is working on it?", "Who fixes it?", "Who leads the repair?")),
        other=Ask("service", "workaround", ("What can be used instead?", "What still works?")),
        update=Ask("time", "next update", ("When is the next update?", "At what time is there more news?")),
        number=Ask("number", "customers", ("How many customers are affected?", "How many customers have trouble?")),
        code=Ask("code", "incident number", ("What is the number of the incident?", "Which incident is it?")),
    ),
    says=(
        ("The {service} is down since {time}.", "{Service} has not worked since {time}.",
         "{Service} broke at {time} on {day}."),
        ("The reason is {cause}.", "{Cause} is behind it.", "It comes from {cause}."),
        ("{person} repairs it.", "{person} takes care of the {service}.", "The engineer is {person}."),
        ("Use the {other} instead.", "{Other} can be used.", "The {other} works."),
        ("There is news at {update}.", "Next update: {update}.", "At {update} we hear more."),
        ("{number} customers are hit.", "It hit {number} customers."),
    ),
    titles=("{service} down", "incident {code}", "problem with the {service}", "service notice"),
)  # fmt: skip


def _ticket(w: World) -> dict[str, str]:
    day, due = w.days(2)
    return dict(
        person=w.person(), goods=w.rng.choice(GOODS), code=w.code(), problem=w.rng.choice(PROBLEMS),
        wish=w.rng.choice(WISHES), day=day, due=due, amount=w.amount(), city=w.city(),
    )  # fmt: skip


TICKET = Kind(
    "ticket", _ticket, "note",
    body=(
        ("Hello, my name is {person} and I live in {city}.", "{person} from {city} here.",
         "This is {person}, writing from {city}."),
        ("On {day} I got the {goods} from order {code}, but it {problem}.",
         "The {goods} (order {code}, came on {day}) {problem}.",
         "I bought a {goods}, order {code}. It came on {day} and {problem}.",
         "My {goods} {problem}. Order {code}, delivered on {day}."),
        ("I paid {amount} and would like {wish} by {due}.", "Please give me {wish} by {due}; I paid {amount}.",
         "It cost {amount}. Can I have {wish} before {due}?",
         "For {amount} I expect better. I want {wish} until {due}."),
    ),
    asks=dict(
        person=Ask("person", "customer", ("Who is writing?", "What is the name of the customer?")),
        city=Ask("city", "city", ("Where does the customer live?", "From which city is the customer?")),
        goods=Ask("goods", "product", ("Which product is it about?", "What did the customer buy?")),
        code=Ask("code", "order number", ("What is the order number?", "Which order is it?")),
        problem=Ask("problem", "problem", ("What is wrong with it?", "What is the problem?")),
        wish=Ask("wish", "wish", ("What does the customer want?", "What is asked for?")),
        day=Ask("day", "day of delivery", ("On which day did it come?", "When was it delivered?")),
        due=Ask("day", "answer by", ("By when does the customer want it?", "What is the deadline?")),
        amount=Ask("amount", "price", ("How much did the customer pay?", "What was the price?")),
    ),
    says=(
        ("The {goods} {problem}.", "{Goods}: it {problem}.", "{person} says that the {goods} {problem}."),
        ("{person} wants {wish} by {due}.", "By {due} {person} asks for {wish}.",
         "The customer wishes for {wish} until {due}."),
        ("{person} lives in {city}.", "The customer from {city} is {person}."),
        ("Order {code} cost {amount}.", "{person} paid {amount} for order {code}.", "The price was {amount}."),
        ("It came on {day}.", "{Goods} was delivered on {day}.", "On {day} the {goods} came."),
    ),
    titles=("order {code}", "my {goods}", "problem with my {goods}", "complaint"),
)  # fmt: skip


def _payment(w: World) -> dict[str, str]:
    due, day = w.days(2)
    return dict(
        company=w.company(), code=w.code(), amount=w.amount(), fee=w.amount(), due=due, day=day, person=w.person(),
        sender=w.person(),
    )  # fmt: skip


PAYMENT = Kind(
    "payment", _payment, "mail",
    body=(
        ("Our invoice {code} over {amount} is still open.", "We have not yet received {amount} for invoice {code}.",
         "This is a reminder of invoice {code}: {amount}.",
         "Invoice {code} from {company} has not been paid. The amount is {amount}."),
        ("It was sent to {person} on {day}.", "{person} got the invoice on {day}.",
         "The invoice went to {person} on {day}."),
        ("Please pay {company} by {due}.", "{company} asks you to pay before {due}.",
         "Kindly send the money to {company} no later than {due}.", "The last day to pay {company} is {due}."),
        ("After that we add a fee of {fee}.", "Late payments cost {fee} more.",
         "Otherwise a fee of {fee} will be charged.", "A late fee of {fee} applies later."),
    ),
    asks=dict(
        company=Ask("company", "company", ("Which company must be paid?", "Who gets the money?")),
        code=Ask("code", "invoice number", ("What is the invoice number?", "Which invoice is open?")),
        amount=Ask("amount", "amount", ("How much must be paid?", "What is the amount?")),
        due=Ask("day", "pay by", ("By when must it be paid?", "What is the last day to pay?")),
        fee=Ask("amount", "late fee", ("What is the fee?", "How much is the fee for late payment?")),
        day=Ask("day", "day of the invoice", ("On which day was the invoice sent?", "When was it sent?")),
        person=Ask("person", "customer", ("To whom was the invoice sent?", "Who got the invoice?")),
        sender=Ask("person", "sender", ("Who sent this message?", "Who wrote this?")),
    ),
    says=(
        ("{company} wants {amount} by {due}.", "Pay {amount} to {company} by {due}.",
         "{amount} must be with {company} by {due}."),
        ("Invoice {code} is open.", "{code} has not been paid.", "The open invoice is {code}."),
        ("The late fee is {fee}.", "Paying late costs {fee}."),
        ("The invoice went to {person} on {day}.", "On {day} {person} got the invoice.",
         "{person} has had the invoice since {day}."),
        ("{sender} wrote for {company}.", "The mail is from {sender}."),
    ),
    titles=("invoice {code}", "payment reminder", "open invoice {code}", "{company}: payment"),
)  # fmt: skip


def _alert(w: World) -> dict[str, str]:
    time, update = w.times(2)
    limit, percent = sorted(w.rng.sample(range(10, 99), 2))
    return dict(
        service=w.rng.choice(SERVICES), number=str(w.rng.randint(2, 40)), percent=f"{percent}%", limit=f"{limit}%",
        time=time, update=update, minutes=w.minutes(), person=w.person(), cause=w.rng.choice(CAUSES), city=w.city(),
    )  # fmt: skip


ALERT = Kind(
    "alert", _alert, "note",
    body=(
        ("Alert from {city}: {service} at {percent} since {time} (limit {limit}).",
         "At {time} the load of the {service} in {city} went to {percent}; the limit is {limit}.",
         "{Service} in {city} has been over its limit of {limit} since {time}: {percent} now.",
         "Warning: the {service} in {city} reached {percent} at {time}. Limit: {limit}."),
        ("It has lasted {minutes}.", "This has gone on for {minutes}.", "Open for {minutes}."),
        ("Likely reason: {cause}.", "We think it is {cause}.", "It looks like {cause}."),
        ("{person} must restart server {number} before {update}.",
         "Please restart server {number} before {update}, {person}.",
         "Server {number} needs a restart by {person} until {update}.",
         "Action: {person} restarts server {number}, at the latest at {update}."),
    ),
    asks=dict(
        service=Ask("service", "service", ("Which service is it about?", "What is over its limit?")),
        city=Ask("city", "place", ("In which city is it?", "Where does the alert come from?")),
        percent=Ask("percent", "load", ("How high is the load?", "What is the value now?")),
        limit=Ask("percent", "limit", ("What is the limit?", "How high may it be?")),
        time=Ask("time", "since", ("Since when is it too high?", "When did it start?")),
        minutes=Ask("minutes", "how long", ("How long has it lasted?", "For how long is it open?")),
        cause=Ask("cause", "cause", ("What is the likely reason?", "What could be the cause?")),
        number=Ask("number", "server", ("Which server must be restarted?", "What is the number of the server?")),
        person=Ask("person", "who acts", ("Who must act?", "Who should restart it?")),
        update=Ask("time", "act before", ("By what time must it be done?", "What is the latest time for the restart?")),
    ),
    says=(
        ("The {service} is at {percent}.", "{Service} reached {percent} at {time}.",
         "{percent} was seen in the {service}."),
        ("The limit is {limit}.", "{Service} may go up to {limit}."),
        ("{person} restarts server {number}.", "Server {number} is restarted by {person}.",
         "{person} has to act before {update}."),
        ("It must be done by {update}.", "The latest time is {update}."),
        ("The cause may be {cause}.", "{Cause} is the likely cause."),
        ("It comes from {city}.", "The alert is about {city}."),
        ("It has lasted {minutes}.", "It is {minutes} old."),
    ),
    titles=("alert", "{service} over limit", "{service} at {percent}", "action needed"),
)  # fmt: skip

SERVICE = (DELIVERY, INCIDENT, TICKET, PAYMENT, ALERT)
