"""HTML that cannot be broken by what stands in it: every text is escaped unless it was built here."""

import html
from functools import cache, partial
from pathlib import Path
from typing import Any

from serve.pages.texts import say


class Safe(str):
    """HTML that `tag` has made; anything else is text."""


def tag(name: str, /, *inside: str | None, **attributes: str | int | float | bool | None) -> Safe:
    """`<name …>…</name>`. `class_` is class, `data_x` is data-x; True stands alone, None and False are left out."""
    given = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{html.escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    end = "" if name in ("meta", "link", "input") else f"{join(*inside)}</{name}>"
    return Safe(f"<{name}{given}>{end}")


def join(*parts: str | None) -> Safe:
    """Parts one after the other, texts escaped."""
    return Safe("".join(part if isinstance(part, Safe) else html.escape(part) for part in parts if part))


@cache
def macros(name: str, language: str) -> Any:
    """The macros of the template `name` beside this file. `say` gives them the page's texts; all others are escaped."""
    from jinja2 import Environment, FileSystemLoader

    page = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)
    page.filters["share"] = lambda share: "–" if share is None else f"{100 * share:.0f} %"
    page.globals |= {"say": partial(say, language), "percents": lambda x: f"{100 * min(max(x, 0.0), 1.0):.1f}"}
    return page.get_template(f"{name}.html.j2").module
