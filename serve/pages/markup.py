"""HTML that cannot be broken by what stands in it: every text is escaped unless it was built here."""

from functools import cache, partial
from pathlib import Path
from typing import Any

from markupsafe import Markup

from serve.pages.texts import say


def tag(name: str, /, *inside: str | None, **attributes: str) -> Markup:
    """`<name …>…</name>`. `class_` is class."""
    given = Markup("").join(Markup(' {}="{}"').format(key.rstrip("_"), value) for key, value in attributes.items())
    return Markup("<{0}{1}>{2}</{0}>").format(name, given, Markup("").join(part for part in inside if part))


@cache
def macros(name: str, language: str) -> Any:
    """The macros of the template `name` beside this file. `say` gives them the page's texts; all others are escaped."""
    from jinja2 import Environment, FileSystemLoader

    page = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)
    page.filters["share"] = lambda share: "–" if share is None else f"{100 * share:.0f} %"
    page.globals |= {"say": partial(say, language), "percents": lambda x: f"{100 * min(max(x, 0.0), 1.0):.1f}"}
    return page.get_template(f"{name}.html.j2").module
