"""A message kind about a helper, such as a robot or a guide dog: what it is called, who made it, what it can do. Its
questions come in many wordings, so that the base learns what people mean who ask the same in other words.

The helper is always spoken about: nobody in the corpus says who answers.
"""

from __future__ import annotations

from factory.base.tiny.messages import Ask, Kind
from factory.base.tiny.world import WHATS, World, made_up

ABOUT = ("it", "it", "this one", "that thing", "this helper")
"""How the helper is spoken of in questions."""


def _profile(w: World) -> dict[str, str]:
    return dict(
        name=made_up(w.rng), what=w.rng.choice(WHATS), maker=w.company(), skills=w.skills(), city=w.city(),
        person=w.person(), day=w.days(1)[0],
    )  # fmt: skip


def _worded(text: str) -> tuple[str, ...]:
    """Every wording of every line about everything: `…` stands for the helper, `{a|b}` for one of these words."""
    found: list[str] = []
    for line in text.replace("\n", "").split("; "):
        head, brace, rest = line.partition("{")
        words, _, tail = rest.partition("}")
        for word in words.split("|") if brace else [""]:
            found += [(head + word + tail).replace("…", about) for about in dict.fromkeys(ABOUT)]
    return tuple(dict.fromkeys(found))


MADE = "{made|built|created|developed|trained|programmed|designed}"

PROFILE = Kind(
    "profile", _profile, "note",
    body=(
        ("{name} is a {what} made by {maker}.", "This is {name}, a {what} that {maker} has built.",
         "Meet {name}: a {what} from {maker}.", "We got a new {what}. Its name is {name}, and {maker} developed it.",
         "The {what} at the desk is called {name}. {maker} created it.", "{name} comes from {maker}. It is a {what}.",
         "{maker} has trained a {what} by the name of {name}."),
        ("It can {skills}.", "It is able to {skills}.", "Ask it to {skills}.", "It was made to {skills}.",
         "Its job is to {skills}.", "It helps people and can {skills}."),
        ("It is in {city} and came on {day}.", "It has been in {city} since {day}.",
         "It came to {city} on {day}.", "You find it in {city} from {day} on."),
        ("{person} looks after it.", "If it does not work, call {person}.", "Questions go to {person}."),
    ),
    asks=dict(
        name=Ask("made_up", "name", _worded(
            "What is the name of …?; What is … called?; Tell me the name of ….; May I know the name of …?; "
            "What should one call …?; How do people call …?; Does … have a name?; The name of …, please?; "
            "Say the name of ….; By what name is … known?; What name does … go by?; Give me the name of ….; "
            "I forgot the name of ….; How is … named?; Tell me how … is called.; Let me know the name of ….; "
            "I would like to know the name of ….; Could you tell me the name of …?; Who is …?; Introduce ….; "
            "Tell me who … is.; Which one is …?; Please say who … is.; Name ….")),
        maker=Ask("company", "maker", _worded(
            f"Who {MADE} …?; By whom was … {MADE}?; Who has {MADE} …?; Tell me who {MADE} ….; "
            f"Which team {MADE} …?; Which company {MADE} …?; Do you know who {MADE} …?; … was {MADE} by whom?; "
            f"Can you say who {MADE} …?; I wonder who {MADE} ….; I would like to know who {MADE} ….; "
            "Who is the {maker|creator|author|developer} of …?; Who are the {makers|creators|developers} of …?; "
            "Where does … come from?; Who is behind …?; Who does … belong to?; Who owns …?; "
            "Name the {maker|creator|team} of ….; Tell me about the {maker|creator} of ….")),
        skills=Ask("skills", "skills", _worded(
            "What can … do?; What can … do for people?; How can … help?; What is … good at?; "
            "What are the {skills|abilities|tasks} of …?; Which tasks can … do?; Tell me what … can do.; "
            "What does … do?; What is … for?; What is the job of …?; Why should one use …?; "
            "List the {skills|abilities} of ….; What is … able to do?; In what way can … help?; "
            "What could one ask … to do?; What was … made for?; What kind of help does … give?")),
        what=Ask("what", "kind", _worded(
            "What is …?; Is … a human or a machine?; What kind of helper is …?; Is … a person?; Is … alive?; "
            "Is … human?; Is … a robot or a human?; What sort of thing is …?")),
        city=Ask("city", "place", ("Where is it?", "In which city is it?", "Where can one find it?")),
        day=Ask("day", "day", ("On which day did it come?", "Since when is it there?")),
        person=Ask("person", "keeper", ("Who looks after it?", "Whom should one call if it does not work?")),
    ),
    says=(
        ("It is called {name}.", "Its name is {name}.", "The name is {name}."),
        ("It was made by {maker}.", "{maker} built it.", "It comes from {maker}.", "{maker} is the maker."),
        ("{name} was made by {maker}.", "{maker} built {name}.", "{name} is from {maker}."),
        ("It can {skills}.", "{name} is able to {skills}.", "It helps to {skills}."),
        ("It is a {what}.", "{name} is a {what}.", "One calls it a {what}."),
        ("It is in {city}.", "{name} works in {city}."),
        ("{person} looks after {name}.", "The keeper is {person}."),
    ),
    titles=("{name}", "our new {what}", "about {name}", "the {what} in {city}"),
)  # fmt: skip
