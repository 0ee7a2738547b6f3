"""What is trained next, made ready: a recipe or one of its stages as rows in tokens, and the run that they go into."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from factory.base.loaded import Loaded
from factory.data.build import Built
from factory.data.report import lines as data_lines
from factory.data.rows import Row
from factory.home import digest, home, sha256
from factory.pipeline import recovery
from factory.pipeline.data import dataset, labelled
from factory.pipeline.generate import generate
from factory.pipeline.rewards import Payer, Rollouts
from factory.pipeline.stages import examples_of, rows_of
from factory.recipe import Recipe
from factory.registry.store import WEIGHTS, Version
from factory.terminal import err
from factory.train.fused import Job
from factory.train.methods import Generate, Grpo, Method, Recover, Reward, Settings, Sft
from factory.train.tokens import Example
from serve.answers import of_version

Watch = Callable[[Version], list[float]]


@dataclass(frozen=True)
class Prepared:
    """A recipe (its labels may come from its data) with its data set, its base in memory, and what is to be trained.
    `inputs` is the hash of all that decides the result, but for the version that a stage starts from. What learns from
    its own answers has a `watch` on it."""

    recipe: Recipe
    built: Built
    on: Loaded
    job: Job
    inputs: str
    stage: str = ""
    parent: Version | None = None
    watch: Watch | None = None

    def after(self, parent: Version | None, model: Path | None = None) -> Self:
        """The same, started from a version; a run of its own. What it draws a reward `model` pays for too."""
        if parent is None:
            return self
        pays = model if self.job.rollouts else None
        decides = [self.inputs, parent.sha, *([sha256(pays / WEIGHTS)] if pays else [])]
        run = home("runs", f"{self.recipe.task}-{digest(decides)[:12]}")
        return replace(self, job=replace(self.job, parent=parent.folder, reward=pays, run=run), parent=parent)


@dataclass(frozen=True)
class Later:
    """A stage that is prepared when its turn comes: a generation, or what learns from one that `draws`."""

    recipe: Recipe
    on: Loaded
    method: Settings
    parent: Version | None
    draws: Generate | None = None

    def __post_init__(self) -> None:
        if isinstance(self.method, Generate):
            Payer(self.recipe, self.method)  # what is wrong with it is said before anything is trained

    def due(self, parent: Version | None, drawn: dict[str, Path], models: dict[str, Path]) -> Prepared | None:
        """What is to be trained now; of a generation nothing: its folder is noted in `drawn`. `models` are the reward
        models of tasks that have one by now."""
        if isinstance(self.method, Method):
            ready = prepare(self.recipe, self.on, self.method, drawn[self.recipe.task])
            return replace(ready, watch=watching(self.recipe, self.draws)) if self.draws else ready
        assert isinstance(self.method, Generate) and parent
        drawn[self.recipe.task] = generate(self.recipe, self.method, self.on, parent, models.get(self.recipe.task))
        return None


def watching(recipe: Recipe, draws: Generate) -> Watch:
    """What the checks pay for a version's greedy answers to the rows that are kept for tuning, 0 to 1 each: by the gold
    dimensions of the draws that it learns from, if they name some."""
    pay, rows = Payer(recipe, draws), dataset(recipe).tune
    return lambda version: pay(rows, of_version(version)(rows), gold=True)


def prepare(
    recipe: Recipe,
    on: Loaded,
    method: Method | None = None,
    drawn: Path | None = None,
    earlier: Sequence[Job] = (),
) -> Prepared:
    """A task's rows as tokens, for a stage where one is named, and a run folder named after everything that decides
    the result. What draws asks other questions than `earlier` stages did, as long as there are any."""
    stage = method.name if method else ""
    method = method or Sft()
    recipe, built, said = rows_of(recipe, method, on.base, drawn)
    recipe = labelled(recipe, built)
    prompt = "" if method.rows == "texts" else recipe.system_prompt()

    def prompted(row: Row) -> Row:
        return row if row.meta.get("replay") else row.with_system(prompt)

    rollouts = Rollouts(recipe, method, on) if isinstance(method, Grpo) else None
    learn, held_out = (
        rollouts.prompts([prompted(row) for row in rows])
        if rollouts
        else examples_of(method, on, [prompted(row) for row in rows], recipe.train.max_length)
        for rows in (built.train, built.tune)
    )
    if isinstance(method, Reward):
        held_out = []  # it is tried on them: they choose nothing
    decides: list[Any] = [recipe.hash(), on.base.fingerprint, [e.input_ids for e in (*learn, *held_out)]]
    if method.rows != "train" or rollouts:
        decides.append(
            [method.model_dump(exclude={"parent", "data", "floor"}), rollouts.pay.rubric.hash() if rollouts else ""]
        )
    before = _asked(earlier, learn) if rollouts else 0
    decides += [before] if before else []
    inputs = digest(decides)
    notes = "".join(f"\n  note: {note}" for note in (*said, *built.manifest["notes"]))
    why = f" (factory data task={recipe.task} tells why)" if method.rows == "train" else f" for {method.name}"
    err.print(f"{data_lines(built)[0]}{why}{notes}", markup=False, soft_wrap=True)
    run = home("runs", f"{recipe.task}-{inputs[:12]}")
    job = Job(recipe.task, recipe, learn, held_out, run, method=method, rollouts=rollouts, before=before)
    if isinstance(method, Recover):  # one for all tasks whose adapters are of this form
        own = home("runs", f"recover-{job.identity(on.base)[:12]}")
        job = replace(job, run=own, teacher=functools.partial(recovery.states, on.base))
    return Prepared(recipe, built, on, job, inputs, stage)


def _asked(earlier: Sequence[Job], questions: Sequence[Example]) -> int:
    """How many of these questions earlier stages have asked; who asks one again counts it again."""
    asked = [example.input_ids for example in questions]
    same = [job for job in earlier if job.rollouts and [example.input_ids for example in job.train] == asked]
    return same[-1].schedule().through if same else 0
