"""`factory base`: prepare a base in 4 bits and show it, or make the embedded one again."""

from __future__ import annotations

from typing import Any

from factory.base.build import prepare, summary
from factory.base.catalog import TINY
from factory.errors import InputError
from factory.home import shown
from factory.terminal import err, out


def base(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Quantise (if needed) and show a base; with `build=tiny` pre-train the embedded one first."""
    if "build" in arguments:
        if arguments["build"] != "tiny":
            raise InputError(f"build={arguments['build']}: only the embedded base can be built: build=tiny")
        from factory.base.tiny.pretrain import build

        build(TINY)
        err.print(f"written: {shown(TINY)}")
    found = summary(prepare(arguments.get("base", "tiny" if "build" in arguments else "auto")))
    for key, value in found.items():
        out(quiet).print(f"[bold]{key:<12}[/] {value}")
    return found
