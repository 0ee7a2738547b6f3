"""Answers side by side as cards; of those that are queries what the model must see first, and what they give."""

from collections.abc import Sequence

from markupsafe import Markup

from factory.errors import FactoryError
from factory.sql.ask import Asked, shipped, source
from serve.pages.ask import Answer
from serve.pages.markup import macros, tag
from serve.pages.texts import say
from serve.pages.versions import Known, called

SHOWN = 30  # rows
PATIENCE = 3.0  # seconds after which waiting is explained


def cards(language: str, answers: Sequence[Answer], tasks: dict[str, list[Known]], done: bool = False) -> Markup:
    """One card per answer. Votes can be given once all are `done`."""
    named = [(answer, called(answer.version, tasks) if answer.version else "") for answer in answers]
    return Markup(macros("cards", language).cards(named, done, PATIENCE))


def databases(task: str | None) -> list[str]:
    """What can be asked with this task; empty for tasks that write no queries."""
    return shipped(task) if task else []


def show_schema(answers: Sequence[Answer], task: str | None, db: str | None, question: str) -> None:
    """Put what matters of the database before the question. InputError: the question is too long."""
    for answer in answers if task and db in databases(task) else ():
        if answer.task == task:
            answer.system = str(source(task or "", db or "").messages(question)[0]["content"])


def run_queries(language: str, answers: Sequence[Answer], task: str | None, db: str | None) -> None:
    """Run what was answered, each for itself, and keep its table with the answer."""
    for answer in answers if task and db in databases(task) else ():
        if answer.task == task and answer.text:
            answer.result = _table(language, task or "", db or "", answer.text)


def _table(language: str, task: str, db: str, answer: str) -> Markup:
    try:
        found = source(task, db).run(answer)
    except FactoryError as error:
        found = Asked(answer, refused=str(error))
    if found.result is None:
        return tag("p", say(language, "sql_refused", why=found.refused), class_="fault", role="alert")
    return Markup(macros("cards", language).result(found.result, SHOWN))
