"""`factory adopt` and `factory export`: adapters that come in from elsewhere, versions that leave in other forms."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from evals import rubric as rubrics
from evals.scorecard import Scorecard, grade_answers
from factory import answers
from factory.base.build import Base, base_of, load_tokenizer, prepare
from factory.data.build import Built, build
from factory.data.rows import Row
from factory.errors import InputError
from factory.home import home, shown, write_json
from factory.pipeline.data import labelled
from factory.pipeline.grade import gate_of, grade
from factory.recipe import Recipe, load, tasks
from factory.registry import aliases, store
from factory.registry.adopt import adopted
from factory.registry.remote import parse
from factory.strict import nearest
from factory.terminal import err, out, percent, progress_bar

# What a merged model is compared on where its task is not here.
GOLDEN = (
    ({"role": "user", "content": "Who are you?"},),
    ({"role": "user", "content": "The meeting moved to Friday at 10 in room 4; please send the slides by noon."},),
)


def adopt(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Take in a plain PEFT adapter for a task: preflight, grade on the task's eval rows, then register."""
    place = parse(arguments["from"])
    recipe = load(arguments["task"], changes)
    base = prepare(recipe.base)
    built, recipe = _built(recipe, base)
    with adopted(place, recipe, base, arguments.get("weights", "")) as found:
        if found.doubt:
            err.print(f"[yellow]{found.doubt}[/]")
        version = store.keep(found.version)
    store.note(version, "recipe", recipe.model_dump(mode="json", exclude={"train"}))
    store.note(version, "adopted", found.origin)
    report = grade(recipe, version, built.eval)  # before it has a name that could be promoted
    card = report.scorecard
    entry = aliases.register(version)
    out(quiet).print(
        f"{place} is {aliases.label(version)} here: good {percent(card.good)}, poor {percent(card.poor)} of {card.n} "
        f"eval rows; gate: {report.gate.decision}. Next:\n  factory "
        f"{'promote' if report.gate.decision == 'PROMOTE' else 'show'} version={version.task}@v{entry.ordinal}"
    )
    return {
        "task": version.task,
        "version": version.name,
        "ordinal": entry.ordinal,
        "base": base.label,
        "fingerprint": base.fingerprint,
        "adopted": found.origin,
        "scorecard": card.brief(),
        "gate": gate_of(report),
    }


def export(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Write a version in another form into a folder, with what it was checked by; a whole model is graded again."""
    from factory.export.forms import FORMS

    version = aliases.resolve(arguments["version"])
    name = arguments["form"]
    if name not in FORMS:
        raise InputError(f"form={name}{nearest(name, FORMS)}")
    folder = Path(arguments["to"]) if arguments.get("to") else home("exports", f"{version.short}-{name}")
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{shown(folder)} is not empty: give another folder with to=…")
    store.verify(version)
    base = base_of(version.facts.base, version.facts.fingerprint)
    recipe = load(version.task) if version.task in tasks() else None
    built = _built(recipe, base)[0] if recipe else None
    own = [row for row in built.train if not row.meta.get("replay")] if built else [Row(turns) for turns in GOLDEN]
    err.print(f"exporting {aliases.label(version)} as {name}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        made = FORMS[name](version, base, own, temporary)
        facts = {"form": name, "version": version.name, "sha": version.sha, "base": base.label, **made.facts}
        if made.model is not None and recipe and built:
            facts["scorecard"] = _grade(recipe, made.model, load_tokenizer(base), built.eval, name).to_json()
            facts["scorecard_of_version"] = store.noted(version, "scorecard")
        write_json(temporary / "export.json", facts)
        temporary.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    brief = facts.get("scorecard", {})
    score = f"; good {percent(brief.get('good'))}, poor {percent(brief.get('poor'))} of its own" if brief else ""
    out(quiet).print(f"{shown(folder)}: {', '.join(made.files)}{score}")
    return facts | {"folder": str(folder), "files": made.files}


def _built(recipe: Recipe, base: Base) -> tuple[Built, Recipe]:
    """The task's rows, and the recipe with the labels that the data has where it lists none."""
    built = build(recipe, load_tokenizer(base))
    return built, labelled(recipe, built)


def _grade(recipe: Recipe, model: Any, tokenizer: Any, rows: list[Row], who: str) -> Scorecard:
    """The scorecard of a model's answers to the eval rows, by the rubric's deterministic checks."""
    prompted = [row.with_system(recipe.system_prompt()) for row in rows]
    with progress_bar() as bar:
        line = bar.add_task(f"answers of the {who}", total=len(rows), text="")
        texts = answers.answer(
            model, tokenizer, prompted, recipe.decoding, recipe.labels, lambda done: bar.update(line, completed=done)
        )
    return grade_answers(rubrics.load(recipe.rubric), rows, texts)
