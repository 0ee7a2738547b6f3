"""`factory grade`: a version's scorecard beside production's or the base's, and what the gate says."""

from typing import Any

from evals import show
from factory.home import shown
from factory.pipeline.grade import grade_again
from factory.registry import aliases, store
from factory.terminal import out


def grade(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Grade a version on its task's eval rows, decide by the recipe's plan, and leave the report beside it."""
    version = aliases.resolve(arguments["version"])
    label = arguments.get("label", "")
    found = grade_again(version, changes, arguments.get("against", "prod"), label)
    console = out(quiet)
    for note in (store.noted(version, "data") or {}).get("notes", []):
        console.print(f"note: {note}", markup=False)
    for line in show.lines(found):
        console.print(line)
    console.print(f"the whole report: {shown(version.notes('report.html'))}")
    if label:
        console.print("people can label these pairs now: factory rate")
    return found.to_json()
