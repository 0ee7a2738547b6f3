"""A hook of mkdocs: what every verb says with `--help` is the reference of the commands, so it cannot drift."""

from __future__ import annotations

from typing import Any

from factory.cli import usage
from factory.verbs.table import VERBS


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page commands.md with all verbs; other pages as they are."""
    if page.file.src_uri != "commands.md":
        return markdown
    return markdown + "".join(f"\n## {name}\n\n```\n{usage(name)}\n```\n" for name in VERBS)
