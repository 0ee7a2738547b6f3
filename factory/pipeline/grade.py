"""Grading a registered version: its answers, every grader there is, the gate's verdict; all is noted beside it."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from evals import answers, decisions, frozen, judges, matrix, report, show, tables
from evals import rubric as rubrics
from evals import run as runs
from evals.judges import Judge, Member
from evals.run import Report, Subject
from factory import recipe as recipes
from factory.base.build import base_of
from factory.chat import Messages
from factory.data.build import evals_of_others
from factory.data.exam import exam
from factory.data.rows import Row
from factory.errors import InputError
from factory.home import write_file
from factory.pipeline.data import dataset
from factory.recipe import Recipe
from factory.registry import aliases, store
from factory.registry.store import Version
from factory.terminal import progress_bar
from serve.answers import Answerer, base_name, of_base, of_version
from serve.process import cuda

OTHERS = {"cpu": 36, "cuda": 240}  # rows that the matrix takes of the other tasks and the ordinary requests, in all


def gradable(recipe: Recipe) -> None:
    """InputError if something that grading by this recipe needs is missing, told before a training takes its time."""
    rubrics.load(recipe.rubric)
    matrix.general()
    for name, judge in judges.load(recipe.gate.judge).items() if recipe.gate.judge else ():
        _member(name, judge).judge.key()


def grade_again(version: Version, changes: dict[str, str], against: str = "prod", label: str = "") -> Report:
    """The report of a registered version by its task's recipe of today. Errors: the task's folder is not here."""
    if version.task not in recipes.tasks():
        raise InputError(
            f"versions of {version.task} are here, but its folder adapters/{version.task} is not: put it back under "
            f"that name to grade them, or take them out of production: factory retire task={version.task}"
        )
    recipe = as_recipe(recipes.load(version.task, changes), version)
    return grade(recipe, version, dataset(recipe).eval, against, label)


def grade(recipe: Recipe, version: Version, rows: Sequence[Row], against: str = "prod", label: str = "") -> Report:
    """The report of `version`, against production (if there is any), another version, or the base; see `run.grade`."""
    other = _against(version, against, recipe)
    asked = judges.load(recipe.gate.judge) if recipe.gate.judge else {}
    jury = [_member(name, judge) for name, judge in asked.items()]
    engine = tables.open_database()
    said = answers.stored_first(engine, version.name, of_version(version))
    with progress_bar() as bar:
        found = runs.grade(
            recipe,
            rows,
            Subject(version.name, said, _label(version)),
            other,
            engine,
            jury=jury,
            matrix=_matrix(recipe, version, rows, said),
            watch=show.watch(bar),
            anchor=_anchor(version, other) if against == "prod" else None,
            label=label,
        )
    store.note(version, "exam", exam(recipe))
    store.note(version, "report", found.to_json())
    store.note(version, "scorecard", found.scorecard.to_json())
    store.note(version, "gate", gate_of(found))
    write_file(version.notes("report.html"), report.html(found, _earlier(version)))
    return found


def _anchor(version: Version, production: Subject | None) -> Subject | None:
    sha = decisions.anchor_of(version)
    if production is None or not sha:
        return None
    anchor = store.get(sha)
    return Subject(anchor.name, of_version(anchor), _label(anchor))


def terms_today(version: Version) -> frozen.Terms:
    """`decisions.terms_today` with the rows and the judges, which only this machine may know."""
    if version.task not in recipes.tasks():
        return {}
    recipe = as_recipe(recipes.load(version.task), version)
    asked = judges.load(recipe.gate.judge) if recipe.gate.judge else {}
    members = [_member(name, judge) for name, judge in asked.items()]
    identities = {m.name: m.judge.identity(m.version) for m in members}
    return decisions.terms_today(version, runs.gate_rows(recipe, dataset(recipe).eval), identities)


def gate_of(found: Report) -> dict[str, Any]:
    """The verdict in the words that every verb's JSON uses."""
    verdict = found.gate
    return {
        "against": found.against or None,
        "decision": verdict.decision,
        "why": verdict.why,
        "labels_needed": verdict.labels_needed,
    }


def as_recipe(recipe: Recipe, version: Version) -> Recipe:
    """The recipe with what belongs to the version: its labels may come from its data."""
    return recipe.model_copy(update={"labels": version.facts.labels})


def _against(version: Version, against: str, recipe: Recipe) -> Subject | None:
    if against == "base":
        base = base_of(version.facts.base, version.facts.fingerprint)
        return Subject(base_name(recipe, base), of_base(recipe, base), base.label)
    if against == "prod" and "prod" not in aliases.read(version.task).aliases:
        return None
    other = aliases.resolve(f"{version.task}@{against}" if "@" not in against else against)
    if other.task != version.task:
        raise InputError(f"against={against}: a version of {version.task}, prod or base")
    return None if other.sha == version.sha else Subject(other.name, of_version(other), _label(other))


def _member(name: str, judge: Judge) -> Member:
    """A judge with the version that answers. An adapter answers in this process, unless a server is named."""
    if not judge.adapter:
        return Member(name, judge)
    version = aliases.resolve(judge.adapter)
    return Member(name, judge, version.name, None if judge.base_url else partial(_say, of_version(version)))


def _say(answer: Answerer, asked: Sequence[Messages]) -> list[str]:
    return answer([Row(tuple(messages)) for messages in asked])


def _matrix(recipe: Recipe, version: Version, rows: Sequence[Row], said: Answerer) -> list[matrix.Cell]:
    """The version on every task's rows, and on ordinary requests, against the base."""
    known = evals_of_others(recipe, [])
    most = max(4, OTHERS["cuda" if cuda() else "cpu"] // (len(known) + 1))
    sets = {recipe.task: (rubrics.load(recipe.rubric), rows)}
    for task, others in known.items():
        with suppress(InputError):  # another task's mistake, which is told where that one is trained
            sets[task] = (rubrics.load(recipes.load(task).rubric), others[:most])
    rubric, general = matrix.general()
    sets[matrix.GENERAL] = (rubric, general[:: max(1, len(general) // most)])
    base = base_of(version.facts.base, version.facts.fingerprint)
    return matrix.matrix(recipe.task, said, of_base(recipe, base), sets)


def _earlier(version: Version) -> list[Report]:
    entries = aliases.read(version.task).versions
    noted = [store.noted(entry.sha, "report") for entry in entries if entry.sha != version.sha]
    return [Report.model_validate(found) for found in noted if found]


def _label(version: Version) -> str:
    entry = aliases.read(version.task).entry(version.sha)
    return f"v{entry.ordinal}" if entry else version.short
