"""`factory adopt` and `factory export`: adapters that come in from elsewhere, versions that leave in other forms."""

from pathlib import Path
from typing import Any

from factory.home import shown
from factory.pipeline import exchange
from factory.pipeline.grade import gate_of
from factory.recipe import load
from factory.registry import aliases, store
from factory.registry.places import parse
from factory.terminal import out, percent


def adopt(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Take in a plain PEFT adapter for a task: preflight, grade on the task's eval rows, then register."""
    place = parse(arguments["from"])
    recipe = load(arguments["task"], changes)
    version, ordinal, base, report = exchange.adopt(place, recipe, arguments.get("weights", ""))
    card = report.scorecard
    out(quiet).print(
        f"{place} is {aliases.label(version)} here: good {percent(card.good)}, poor {percent(card.poor)} of "
        f"{card.n} eval rows; gate: {report.gate.decision}. Next:\n  factory "
        f"{'promote' if report.gate.decision == 'PROMOTE' else 'show'} version={version.task}@v{ordinal}"
    )
    return {
        "task": version.task,
        "version": version.name,
        "ordinal": ordinal,
        "base": base.label,
        "fingerprint": base.fingerprint,
        "adopted": store.noted(version, "adopted"),
        "scorecard": card.brief(),
        "gate": gate_of(report),
    }


def export(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Write a version in another form into a folder, with what it was checked by; a whole model is graded again."""
    made = exchange.export(aliases.resolve(arguments["version"]), arguments["form"], arguments.get("to", ""))
    card = made.get("scorecard", {})
    score = f"; good {percent(card.get('good'))}, poor {percent(card.get('poor'))} of its own" if card else ""
    out(quiet).print(f"{shown(Path(made['folder']))}: {', '.join(made['files'])}{score}")
    return made
