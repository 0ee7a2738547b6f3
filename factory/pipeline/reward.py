"""What a reward model is held to: how often it tells held-out pairs apart, and whether it pays for length."""

from collections.abc import Sequence
from pathlib import Path

from evals.estimate import proportion
from factory import answers
from factory.answers.score import scores
from factory.base.loaded import Loaded
from factory.data.rows import Row
from factory.errors import FactoryError
from factory.home import write_json
from factory.pipeline.stages import examples_of
from factory.recipe import Recipe
from factory.terminal import err
from factory.train.methods import Reward
from factory.train.methods.reward import asked, liked
from factory.train.tokens import encode

LONG = 0.5  # rank correlation of score and length that is told as a fault


def judge(recipe: Recipe, method: Reward, on: Loaded, adapter: Path, rows: Sequence[Row]) -> None:
    """Note beside the adapter what its scores of `rows`, held-out pairs, are worth. FactoryError: too little."""
    task, prompt = recipe.task, recipe.system_prompt()
    pairs = examples_of(method, on, [row.with_system(prompt) for row in rows], recipe.train.max_length)
    if not pairs:
        raise FactoryError(f"{task}: no pair was held out to try the reward model on: 40 pairs keep a tenth aside")
    from scipy.stats import spearmanr

    with answers.adapted(on.model, adapter) as model:
        found = scores(model, pairs)
    apart = [a - b for a, b in zip(found[::2], found[1::2], strict=True)]
    longer = [len(a.input_ids) - len(b.input_ids) for a, b in zip(pairs[::2], pairs[1::2], strict=True)]
    accuracy = proportion(sum(score > 0 for score in apart), len(apart))
    both = [[*values, *(-value for value in values)] for values in (apart, longer)]  # whichever side comes first
    by_length = float(spearmanr(*both).statistic) if any(longer) else 0.0
    told = {"token": liked(on.tokenizer), "fingerprint": on.base.fingerprint, "accuracy": accuracy.model_dump()}
    write_json(adapter / "reward.json", {**told, "length": by_length, "mean": sum(found) / len(found)})
    said = f"{accuracy.value:.0%} of {accuracy.n} held-out pairs ({accuracy.low:.0%} to {accuracy.high:.0%})"
    follows = f"its scores follow length by {by_length:+.2f}"
    err.print(f"{task}: the reward model tells apart {said}; {follows}", markup=False, soft_wrap=True)
    if by_length > LONG:
        err.print(f"{task}: it pays for length: pairs whose longer side is rejected would help", markup=False)
    if accuracy.low <= method.floor:
        raise FactoryError(
            f"{task}: the reward model is refused: it tells apart {said}, which is not surely above "
            f"{method.floor:.0%}: more pairs, clearer ones, or more epochs"
        )


def scored(on: Loaded, adapter: Path, rows: Sequence[Row], texts: Sequence[str], most: int) -> list[float]:
    """The score of each answer to its row, prompts in place."""
    made = [
        asked(encode(on.tokenizer, row.with_answer(text), most), on.tokenizer)
        for row, text in zip(rows, texts, strict=True)
    ]
    with answers.adapted(on.model, adapter) as model:
        return scores(model, made)
