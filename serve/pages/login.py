"""The sign-in page: a plain form that needs no script."""

from __future__ import annotations

from serve.pages.markup import Safe, join, tag
from serve.pages.texts import say


def login_page(language: str, trouble: str = "") -> str:
    def field(name: str, kind: str, autocomplete: str) -> Safe:
        entry = tag("input", id=name, name=name, type=kind, required=True, autocomplete=autocomplete)
        return join(tag("label", say(language, f"r_{name}"), for_=name), entry)

    form = tag(
        "form",
        tag("h1", say(language, "r_title")),
        tag("p", say(language, "r_login_lead"), class_="quiet"),
        tag("p", trouble, class_="fault", role="alert") if trouble else None,
        field("name", "text", "username"),
        field("password", "password", "current-password"),
        tag("button", say(language, "r_login"), class_="primary"),
        method="post",
        action="/login",
        class_="card login",
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", say(language, "r_title")),
        tag("link", rel="stylesheet", href="/static/style.css"),
        tag("link", rel="stylesheet", href="/static/rate.css"),
        tag("link", rel="icon", href="/static/icon.svg"),
    )
    # The colours of the dark mode hang on a class that Gradio sets by itself on its own pages.
    dark = Safe("<script>if(matchMedia('(prefers-color-scheme: dark)').matches)document.body.className='dark'</script>")
    return "<!doctype html>" + tag("html", head, tag("body", dark, tag("main", form, class_="page")), lang=language)
