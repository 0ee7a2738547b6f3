"""`factory base`: prepare a base in 4 bits and show it."""

from typing import Any

from rich.markup import escape

from factory.base.build import prepare, summary
from factory.terminal import out
from serve.process import tool_parser


def base(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Quantise (if needed) and show a base: where it came from, its licence, fingerprint, size and what it can take."""
    ready = prepare(arguments.get("base", "auto"))
    found = {**summary(ready), "tools": tool_parser(ready) or None}
    for key, value in found.items():
        out(quiet).print(f"[bold]{key:<14}[/] {escape(str(value))}", soft_wrap=True)
    return found
