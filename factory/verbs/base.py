"""`factory base`: prepare a base in 4 bits and show it."""

from __future__ import annotations

from typing import Any

from factory.base.build import prepare, summary
from factory.terminal import out


def base(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Quantise (if needed) and show a base: where it came from, its licence, fingerprint and size."""
    found = summary(prepare(arguments.get("base", "auto")))
    for key, value in found.items():
        out(quiet).print(f"[bold]{key:<12}[/] {value}")
    return found
