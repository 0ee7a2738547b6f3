"""`factory bench`: everything that this project claims to be faster at, measured in one run on this machine."""

import importlib
import os
import sys
from typing import Any

from factory.errors import InputError
from factory.home import beside, home, shown, write_json
from factory.strict import flag, nearest
from factory.terminal import err, out, table


def bench(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Run the parts named by `only`, or all; the result lies in the home as JSON, with a plot of the training part."""
    parts = _parts()
    wanted = [part.strip() for part in arguments.get("only", ",".join(parts.PARTS)).split(",")]
    for part in wanted:
        if part not in parts.PARTS:
            raise InputError(f"only={part}: no such part of the benchmark{nearest(part, parts.PARTS)}")
    if (given := [*changes, *(key for key in ("task",) if key in arguments)]) and not {"gain", "ways"} & {*wanted}:
        raise InputError(f"{given[0]}: only the parts gain and ways have a task and a recipe: only=gain")
    part = arguments.get("part", "")
    if part and not (len(wanted) == 1 and part in parts.INNER.get(wanted[0], ())):
        there = "; ".join(f"only={name} part={','.join(inner)}" for name, inner in parts.INNER.items())
        raise InputError(f"part={part}: one of {there}")
    peer = arguments.get("peers")
    if peer and peer not in parts.PEERS:
        raise InputError(f"peers={peer}: only {', '.join(parts.PEERS)} can be compared with")
    settings = parts.Settings(
        progress=err.print,
        soak=_minutes(arguments.get("soak", "0")),
        experiments=_count("experiments", arguments.get("experiments", "1000")),
        steps=_count("steps", arguments["steps"]) if "steps" in arguments else 0,
        task=arguments.get("task", ""),
        changes=changes,
        seeds=_count("seeds", arguments.get("seeds", "1")),
        part=part,
        small=flag(arguments, "small", False),
    )
    result: dict[str, Any] = {}
    for part in wanted:
        err.print(f"[bold]{part}[/]")
        found = parts.PARTS[part](settings)
        result |= found if part in found else {part: found}
        rows = [[key, f"{value:,.3g}" if isinstance(value, float) else str(value)] for key, value in flat(found)]
        out(quiet).print(table(part, ["", ""], rows))
    if peer:
        result["peers"] = parts.PEERS[peer](settings)
    write_json(home("bench.json"), result)
    err.print(f"kept in {shown(home('bench.json'))}")
    return result


def flat(value: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested figures as dotted keys; lists are left to the JSON."""
    found: list[tuple[str, Any]] = []
    for key, inner in value.items():
        if isinstance(inner, dict):
            found += flat(inner, f"{prefix}{key}.")
        elif not isinstance(inner, list | tuple):
            found.append((prefix + key, inner))
    return found


def _parts() -> Any:
    """The benches, which lie beside the packages in the checkout; their processes find them there too."""
    checkout = str(beside("bench", "parts.py").parents[1])
    os.environ["PYTHONPATH"] = os.pathsep.join(p for p in (checkout, os.environ.get("PYTHONPATH")) if p)
    if checkout not in sys.path:
        sys.path.insert(0, checkout)
    return importlib.import_module("bench.parts")


def _minutes(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"soak={text}: minutes, as a number") from None


def _count(key: str, text: str) -> int:
    if not text.isdigit() or not int(text):
        raise InputError(f"{key}={text}: must be a whole number above 0")
    return int(text)
