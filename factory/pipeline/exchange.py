"""Adapters that come in from elsewhere, versions that leave in other forms: checked and graded like all others."""

from pathlib import Path
from typing import Any

from evals import rubric as rubrics
from evals.run import Report
from evals.scorecard import Scorecard, grade_answers
from factory import answers
from factory.base.build import Base, base_of, load_tokenizer, prepare
from factory.data.build import Built, build
from factory.data.rows import Row
from factory.errors import InputError
from factory.home import home, scratch, shown, write_json
from factory.pipeline.data import labelled
from factory.pipeline.grade import grade
from factory.recipe import Recipe, load, tasks
from factory.registry import aliases, store
from factory.registry.adopt import adopted
from factory.registry.remote import Place
from factory.registry.store import Version
from factory.strict import nearest
from factory.terminal import err, progress_bar

# What a merged model is compared on where its task is not here.
GOLDEN = (
    ({"role": "user", "content": "Who are you?"},),
    ({"role": "user", "content": "The meeting moved to Friday at 10 in room 4; please send the slides by noon."},),
)


def adopt(place: Place, recipe: Recipe, weights: str = "") -> tuple[Version, int, Base, Report]:
    """Take in a plain PEFT adapter for a task: preflight, grade on the task's eval rows, then register. Where it came
    from is noted with the version as `adopted`."""
    base = prepare(recipe.base)
    built, recipe = _built(recipe, base)
    with adopted(place, recipe, base, weights) as (staged, origin, doubt):
        if doubt:
            err.print(f"[yellow]{doubt}[/]")
        version = store.keep(staged)
    store.note(version, "recipe", recipe.model_dump(mode="json", exclude={"train"}))
    store.note(version, "adopted", origin)
    report = grade(recipe, version, built.eval)  # before it has a name that could be promoted
    return version, aliases.register(version).ordinal, base, report


def export(version: Version, name: str, to: str = "") -> dict[str, Any]:
    """Write a version in another form into a folder, with what it was checked by; a whole model is graded again.

    Returns what `export.json` says, the `folder` and its `files`.
    """
    from factory.export.forms import FORMS

    if name not in FORMS:
        raise InputError(f"form={name}{nearest(name, FORMS)}")
    folder = Path(to) if to else home("exports", f"{version.short}-{name}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{shown(folder)} is no empty folder: give another with to=…")
    store.verify(version)
    base = base_of(version.facts.base, version.facts.fingerprint)
    recipe = load(version.task) if version.task in tasks() else None
    built = _built(recipe, base)[0] if recipe else None
    own = [row for row in built.train if not row.meta.get("replay")] if built else [Row(turns) for turns in GOLDEN]
    err.print(f"exporting {aliases.label(version)} as {name}")
    with scratch(folder) as temporary:
        said, model = FORMS[name](version, base, own, temporary)
        files = sorted(path.name for path in temporary.iterdir())
        facts = {"form": name, "version": version.name, "sha": version.sha, "base": base.label, **said}
        if model is not None and recipe and built:
            facts["scorecard"] = _grade(recipe, model, load_tokenizer(base), built.eval, name).to_json()
            facts["scorecard_of_version"] = store.noted(version, "scorecard")
        write_json(temporary / "export.json", facts)
        temporary.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        temporary.rename(folder)
    return facts | {"folder": str(folder), "files": files}


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
