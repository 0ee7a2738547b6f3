"""A task's data set over its base, and one error for all tasks that failed."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from factory.base.build import load_tokenizer, prepare
from factory.data.build import Built, build, evals_of_others, files_of
from factory.data.rows import Row
from factory.data.steps import Replier
from factory.decoding import Decoding
from factory.errors import FactoryError, InputError
from factory.kinds import KINDS
from factory.recipe import Recipe
from factory.terminal import progress_bar
from serve.answers import answer

T = TypeVar("T")


def every(recipes: Sequence[Recipe], do: Callable[[Recipe], T]) -> tuple[list[T], FactoryError | None]:
    """What `do` makes of each recipe, and one error that names every task that failed, each with its own reasons."""
    found: list[T] = []
    failed: list[tuple[str, FactoryError]] = []
    for recipe in recipes:
        try:
            found.append(do(recipe))
        except FactoryError as error:
            failed.append((recipe.task, error))
    if len(recipes) == 1 and failed:
        return found, failed[0][1]
    told = [f"{task}: {line}" for task, error in failed for line in str(error).splitlines()]
    if not failed:
        return found, None
    wrong = all(isinstance(error, InputError) for _, error in failed)
    return found, InputError(*told) if wrong else FactoryError("\n".join(told))


def dataset(recipe: Recipe, evals: list[Row] | None = None) -> Built:
    """The task's data set over its base, with the base's own replies among the general rows. `evals` are the task's
    eval rows where no file names them and none are to be split off."""
    files_of(recipe)  # before the base, which takes its time
    base = prepare(recipe.base)

    with progress_bar() as bar:
        line = bar.add_task(f"data {recipe.task}", total=None, text="")

        def reply(rows: list[Row], most: int) -> list[str]:
            return answer(base, None, rows, Decoding(max_tokens=most), whole=True, bar=bar)

        return build(
            recipe,
            load_tokenizer(base),
            other_evals=None if evals is None else {**evals_of_others(recipe, []), recipe.task: evals},
            base=Replier(base.fingerprint, reply),
            progress=lambda step, rows: bar.update(line, completed=rows, text=step),
        )


def labelled(recipe: Recipe, built: Built) -> Recipe:
    """The recipe with the labels that the data has, where it is to have some and lists none."""
    if KINDS[recipe.kind].labels and not recipe.labels:
        return recipe.model_copy(update={"labels": built.manifest["labels"]})
    return recipe
