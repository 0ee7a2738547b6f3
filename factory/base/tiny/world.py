"""The world the tiny base lives in: people, places, things, times, and seeded samplers over them.

Everything the messages (`messages.py`) talk about is drawn here. Three pools matter:

- `Pool.TRAIN`   names that pre-training and the train rows of the tasks may use;
- `Pool.HELD`    names kept out of pre-training altogether. Eval rows marked `unseen` use them, so that
                 "copies a name it never saw" is measured and not hoped for;
- made-up names  (`made_up`) random syllables: pre-training mixes them in so that a name is something to
                 copy letter by letter and never a word to be guessed.

All samplers take a `random.Random`; the same seed gives the same world on every machine.
"""

from __future__ import annotations

import random
from enum import Enum


class Pool(Enum):
    """Which names a sampler may use."""

    TRAIN = "train"
    HELD = "held"


FIRST = """Aaron Abigail Adam Adele Agnes Ahmed Aiko Alan Alba Albert Alice Alina Amara Amelia Amir Amy Ana Andre
Anika Anna Anton Arjun Arthur Asha Astrid Ava Axel Bella Ben Bianca Boris Brenda Bruno Carla Carlos Carmen Chen
Chloe Clara Claude Colin Dana Daniel Daria David Deepa Diana Diego Dmitri Dora Edgar Edith Elena Elias Elif Ella
Emil Emma Enzo Erik Esther Eva Farid Fatima Felix Fiona Frank Freya Gabriel Georg Gina Gloria Grace Greta Hamid Hana
Hannah Harry Hassan Hector Helen Henry Hiro Hugo Ibrahim Ida Igor Ines Ingrid Irina Isaac Isabel Ivan Jack Jacob
Jade Jan Jasmin Javier Jing Joanna Joel Johan Jonas Jorge Joyce Judith Julia Kamal Karen Karim Kata Keiko Kenji
Kevin Kira Kofi Lara Laura Lea Leila Lena Leo Liam Lidia Lily Linda Lola Louis Lucas Lucia Luis Magda Malik Marco
Maria Marta Martin Matteo Maya Mei Mia Mila Milan Mina Miriam Mona Murad Nadia Naomi Nasser Nico Nils Nina Noah Nora
Olaf Olga Oliver Omar Oscar Pablo Pamela Paola Paul Pavel Peter Petra Pia Priya Quinn Rachel Rafael Rahul Raj Ravi
Rita Robert Rosa Ruth Sara Samir Samuel Sandra Selma Sergio Simon Sofia Sonia Stefan Stella Sven Tamara Tara Teo
Theo Thomas Tim Tina Tomas Uma Ursula Vera Victor Viola Walter Wanda Wei Wendy Xavier Yara Yasmin Yuki Yusuf Zane
Zara Zoe""".split()

LAST = """Abbott Adler Ahmad Akers Allen Alvarez Amadi Anders Appel Arora Baker Bangura Barros Bauer Becker Bell
Benson Berg Bianchi Blake Bloom Bose Brandt Brooks Brown Byrne Campos Carter Castro Chavez Clark Cohen Cole Conti
Costa Cruz Dahl Davies Demir Dias Diaz Doyle Dubois Duran Eklund Ellis Engel Evans Faber Farah Ferrari Fischer
Flores Ford Foster Franco Frost Fuchs Fuller Garcia Gibson Gomez Gordon Graf Grant Green Gupta Haas Haddad Hall
Hansen Harris Hayes Heller Herrera Hill Hoffman Holm Horn Huang Hughes Ibarra Ito Ivanov Jansen Jensen Johnson Jones
Joshi Kaplan Kato Kaur Keller Kelly Khan Kim King Klein Koch Kovac Kramer Kumar Lang Larsen Leclerc Lee Lemaire Lind
Lopez Lund Maier Malik Marino Martin Mason Mbeki Meyer Miller Mishra Moore Morales Moreno Mori Moser Murphy Nagy
Nair Navarro Nguyen Nielsen Novak Nunes Okafor Olsen Ortega Osman Owens Park Patel Paulsen Pereira Perez Petrov Pham
Pinto Popov Porter Price Quist Ramos Rao Reed Reyes Ricci Rivera Roberts Romano Rossi Roth Roy Russo Ryan Saito
Salem Santos Sato Schmidt Scott Shah Sharma Silva Simons Singh Smith Sorensen Steiner Stone Suzuki Tanaka Taylor
Thomsen Torres Turner Ueda Vargas Vega Vogel Volkov Wagner Walker Wang Ward Weber Werner White Wilson Winter Wolf
Wong Wright Yamada Yilmaz Young Zhang Ziegler""".split()

HELD_FIRST = """Anselm Beatrix Casimir Delphine Evander Florian Gwendolyn Hyacinth Ilario Jocasta Kerensa Leopold
Marguerite Nerissa Octavio Philippa Quentin Rosalind Severin Thaddeus Ulrika Valentin Winifred Xiomara Yevgenia
Zebedee Bronwyn Caspian Drusilla Fabrizio""".split()

HELD_LAST = """Abernathy Bakhuizen Cavendish Drummond Esterhazy Featherby Grimaldi Hollingwood Iturbide Jablonski
Kilpatrick Lindqvist Montague Nakashima Oyelaran Pemberton Quarshie Rutherford Szymanski Trelawney Umarov Vandermeer
Wetherby Xanthakis Yarborough Zapatero Blackwell Czerny Dragomir Fitzroy""".split()

CITIES = """Aarhus Athens Basel Bergen Berlin Bern Bilbao Bologna Bonn Boston Bremen Bristol Brno Cairo Cardiff
Cologne Cork Dakar Delhi Denver Dresden Dublin Essen Florence Gdansk Geneva Genoa Ghent Glasgow Graz Haifa Hamburg
Hanoi Helsinki Jaipur Kyoto Lagos Leeds Lille Lima Linz Lisbon London Lund Lyon Madrid Malaga Milan Munich Nairobi
Nantes Naples Nice Osaka Oslo Paris Porto Prague Quito Riga Rome Salzburg Seoul Sofia Tallinn Tampere Tokyo Toronto
Trieste Tunis Turin Utrecht Valencia Venice Vienna Vilnius Warsaw York Zagreb Zurich""".split()

HELD_CITIES = """Antofagasta Bydgoszcz Chittagong Debrecen Eskilstuna Fredrikstad Guadalajara Hermosillo Innsbruck
Jyvaskyla Klagenfurt Ljubljana Maracaibo Nyiregyhaza Ouagadougou Przemysl""".split()

STREETS = """Mill Station Church Garden Harbour Bridge Castle Park River Hill Market School Forest Lake Orchard
Temple Victoria Windsor Abbey Canal Cedar Chestnut Elm Linden Maple Oak Pine Willow""".split()


def _phrases(text: str) -> list[str]:
    return [p.strip() for p in text.replace("\n", " ").split(",") if p.strip()]


EVENTS = _phrases("""budget review, design sync, launch rehearsal, hiring panel, security audit, sprint planning,
vendor call, board meeting, product demo, data migration, press briefing, training session, roadmap workshop,
customer interview, quarterly retro, contract signing, team lunch, safety drill, sales forecast, project kickoff,
code review, stock check, fire drill, staff meeting, parents evening, choir practice, book club, garden party,
yoga class, town hall, exit interview, risk review, supplier visit, factory tour, photo shoot, radio interview,
first aid course, language class, strategy day, award ceremony, science fair, charity run, film night,
board game evening, piano lesson, swimming class, house viewing, tax appointment, network upgrade, software rollout,
office move, recruiting fair, annual dinner, steering committee, test run, wine tasting, cooking class, chess match,
summer picnic, poster session, research seminar, onboarding session, payroll review, marketing standup,
site inspection, union meeting, budget hearing, thesis defence, dress rehearsal, open day, farewell party,
planning poker, peer review, status call, interview training""")

THINGS = _phrases("""Q3 numbers, signed contract, slide deck, draft agenda, test report, invoice copy,
photo release, access list, risk register, cost estimate, meeting notes, logo files, survey results, travel form,
release checklist, floor plan, guest list, price list, expense report, project plan, medical form, backup tape,
customer list, press kit, door key, parking permit, spare charger, visitor badge, insurance form, menu choice,
room booking, product photos, seating plan, training slides, audit letter, tax statement, lab results,
service contract, phone list, design mockup, packing list, time sheet, budget draft, reference letter, site map,
video clip, delivery note, meter reading, song list, recipe book, first draft, final report, user manual,
warranty card, holiday list, shift plan, order form, supplier quote, name tags, consent form, safety card,
bank details, work sample, mailing list, script draft, data export, error log, screen recording, poster design,
ticket list, passport copy, interview notes, quality report""")

GOODS = _phrases("""desk lamp, coffee grinder, running shoes, winter jacket, phone case, garden hose, office chair,
water filter, bike helmet, camping tent, rice cooker, bluetooth speaker, yoga mat, electric kettle, wool blanket,
travel backpack, kitchen scale, laptop stand, bread knife, rain coat, picture frame, desk fan, standing desk,
tea set, bath towel, power drill, vacuum cleaner, baby monitor, dog bed, air purifier, table cloth, wall clock,
board game, fishing rod, hiking boots, ski goggles, pizza stone, soup pot, glass vase, shower curtain,
bedside table, tool box, paint set, guitar strings, swim goggles, cat tree, plant pot, steam iron, hand mixer,
car seat, reading lamp, storage box, toaster oven, snow shovel, smoke detector, door lock, garden chair,
mirror cabinet, carpet cleaner, sewing machine""")

SERVICES = _phrases("""login service, payment gateway, search index, mail server, image upload, booking system,
mobile app, customer portal, data warehouse, file storage, chat service, order queue, backup server, print server,
map service, video stream, web shop, phone system, report builder, billing system, message queue, account page,
partner api, door control, ticket system, wiki server, build server, price feed, push service, calendar sync,
vpn gateway, name server, stock database, test cluster, inventory scanner, translation service, survey tool,
review board, recommendation engine""")

CAUSES = _phrases("""a failed update, a full disk, an expired certificate, a power cut, a broken cable,
a bad configuration, a memory leak, a faulty switch, a traffic spike, a software bug, a wrong firewall rule,
a slow query, a lost connection, a cooling failure, a crashed database, a missing index, a faulty network card,
a stuck job""")

REASONS = _phrases("""a conflict with another meeting, the projector being repaired, travel delays,
a sick colleague, a public holiday, a late delivery, building maintenance, a double booking, a train strike,
heavy snow, a missing speaker, a broken heater, low attendance, a change in the budget, an urgent customer request,
road works, a water leak, a storm warning, a staff shortage, a fire alarm test, a technical fault, a visa problem,
a school event, a power failure""")

PROBLEMS = _phrases("""arrived broken, does not switch on, has the wrong colour, makes a loud noise,
is missing a part, has a deep scratch, came in an open box, is too small, smells of smoke, stopped working,
leaks water, has a loose handle""")

WISHES = _phrases("""a refund, a replacement, a repair, a spare part, a discount, a call back, a new label,
a voucher""")

CARRIERS = _phrases("""Northline, Parcelo, QuickVan, BlueBox, Swiftpost, Rapidex, Postway, CargoBee, Metrodrop,
GreenWheel""")
COMPANIES = _phrases("""Alder Energy, Brightwater, Cityfit, Dentacare, Easternet, Fairmont Gas, Gridline, Homesure,
Ironbank, Juniper Rent, Kestrel Mobile, Lumen Power, Mapleton Water, Northgate Gym, Opal Insurance,
Pinewood Rentals, Quayside Parking, Redfern Media, Silverlake Clinic, Tallwood Storage, Unity Telecom, Vista Cable,
Westfield Heating""")
VENUES = _phrases("""Blue Anchor, Casa Verde, Golden Fork, Green Dragon, Harbour Grill, La Piazza, Lotus Garden,
Old Mill, Olive Tree, Red Lantern, Rose Cafe, Silver Spoon, Stone Oven, The Lighthouse, Three Oaks, Velvet Room,
White Swan""")

WHATS = _phrases("""robot, program, machine, parrot, guide dog, nurse, clerk, teacher, chat program, talking clock,
cleaning robot, young cook, delivery robot, gardener, drone, kitchen machine, police horse, porter, talking doll, crane,
search program, old sailor, vending machine, baker""")
SKILLS = _phrases("""sort mail, open doors, water plants, carry bags, read maps, count boxes, find keys, clean windows,
fold shirts, bake bread, paint walls, sing songs, play chess, call a taxi, translate letters, answer the phone,
book rooms, check tickets, print badges, guide guests, order lunch, mix drinks, feed the cat, tell stories,
add numbers, draw plans, spell words, watch the door, greet visitors, wash cars, set alarms, pack parcels,
cut the grass, repair bikes, take notes, teach children, write poems, measure rooms, load trucks, plan trips""")

WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()

FINALS = ["", "", "", "n", "r", "s", "l", "k", "t", "m", "nd", "rn", "x"]
ONSETS = "b c d f g h j k l m n p r s t v w z br ch cl dr fl gr kr pl pr sh sk st th tr".split()
VOWELS = "a a e e i i o o u u ai ea ou y".split()


def made_up(rng: random.Random, syllables: int | None = None) -> str:
    """A name-like word that stands in no list: two to four random syllables ("Trelando"), or, as often, the head of one
    name and the tail of another ("Ingquist"), which are cut into tokens as real names are."""
    while syllables is None and rng.random() < 0.5:
        head, tail = rng.choice(KNOWN), rng.choice(KNOWN)
        word = head[: rng.randint(2, len(head))] + tail[rng.randint(1, len(tail)) :]
        if 4 <= len(word) <= 12 and word not in _TAKEN:
            return word
    n = syllables or rng.choice([2, 2, 3, 3, 4])
    word = "".join(rng.choice(ONSETS) + rng.choice(VOWELS) for _ in range(n)) + rng.choice(FINALS)
    return word.capitalize()


KNOWN = [*FIRST, *LAST, *CITIES]
_TAKEN = {*KNOWN, *HELD_FIRST, *HELD_LAST, *HELD_CITIES}


class World:
    """A seeded sampler of entities.

    `fresh` is the share of names (people, cities, brands) that are made up instead of drawn from the
    lists; pre-training uses about a third, the task rows a tenth.
    """

    def __init__(self, rng: random.Random, pool: Pool = Pool.TRAIN, fresh: float = 0.0):
        self.rng, self.pool, self.fresh = rng, pool, fresh
        self._first = FIRST if pool is Pool.TRAIN else HELD_FIRST
        self._last = LAST if pool is Pool.TRAIN else HELD_LAST
        self._cities = CITIES if pool is Pool.TRAIN else HELD_CITIES

    def _name(self, names: list[str]) -> str:
        return made_up(self.rng) if self.rng.random() < self.fresh else self.rng.choice(names)

    def first(self) -> str:
        return self._name(self._first)

    def person(self) -> str:
        """First and last name."""
        return f"{self.first()} {self._name(self._last)}"

    def city(self) -> str:
        return self._name(self._cities)

    def company(self) -> str:
        return self.one_made_up(COMPANIES)

    def carrier(self) -> str:
        return self.one_made_up(CARRIERS)

    def venue(self) -> str:
        return self.one_made_up(VENUES)

    def one_made_up(self, names: list[str]) -> str:
        """One of `names`, or a made-up one of one or two words."""
        if self.rng.random() >= self.fresh:
            return self.rng.choice(names)
        return " ".join(made_up(self.rng) for _ in range(self.rng.choice([1, 2])))

    def skills(self) -> str:
        """Two or three things that a helper can do: "sort mail and open doors"."""
        *some, last = self.rng.sample(SKILLS, self.rng.choice([2, 2, 3]))
        return f"{', '.join(some)} and {last}"

    def days(self, n: int) -> list[str]:
        """`n` different weekdays, or `n` different dates ("14 March")."""
        if self.rng.random() < 0.6:
            return self.rng.sample(WEEKDAYS, n)
        dates: list[str] = []
        style = self.rng.choice(["{d} {m}", "{m} {d}"])
        while len(dates) < n:
            date = style.format(d=self.rng.randint(1, 28), m=self.rng.choice(MONTHS))
            if date not in dates:
                dates.append(date)
        return dates

    def times(self, n: int) -> list[str]:
        """`n` different times of day, earliest first, in one style: "2:30 pm" or "14:30"."""
        twelve = self.rng.random() < 0.5
        minutes = ["00", "05", "10", "15", "20", "30", "40", "45", "50"]
        found = sorted(self.rng.sample([(hour, minute) for hour in range(7, 21) for minute in minutes], n))
        if twelve:
            return [f"{(hour - 1) % 12 + 1}:{minute} {'am' if hour < 12 else 'pm'}" for hour, minute in found]
        return [f"{hour}:{minute}" for hour, minute in found]

    def room(self) -> str:
        return self.rng.choice(["room {}", "room {}", "hall {}", "studio {}"]).format(self.rng.randint(2, 499))

    def address(self) -> str:
        return f"{self.rng.randint(2, 190)} {self.rng.choice(STREETS)} {self.rng.choice(['Street', 'Road', 'Lane'])}"

    def code(self) -> str:
        """An order, ticket or invoice number: two letters and four or five digits, or digits alone."""
        letters = "".join(self.rng.sample("ABCDEFGHKLMNPRSTVWXZ", 2))
        digits = str(self.rng.randint(1000, 99999))
        return self.rng.choice([f"{letters}-{digits}", f"{letters}{digits}", digits])

    def amount(self) -> str:
        """A price in euros, dollars or pounds."""
        value = self.rng.choice(
            [str(self.rng.randint(5, 999)), f"{self.rng.randint(2, 480)}.{self.rng.randint(10, 99)}"]
        )
        return self.rng.choice(["{} euros", "${}", "{} pounds"]).format(value)

    def percent(self) -> str:
        return f"{self.rng.randint(3, 98)}%"

    def minutes(self) -> str:
        return f"{self.rng.choice([5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 60, 75, 90])} minutes"
