"""Answers drawn and rewarded while an adapter trains: by the checks of the task's rubric, in the training process."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from evals import rubric as rubrics
from evals.scorecard import by_checks, composite
from factory.answers import ends
from factory.answers.greedy import Answer, drawing, greedy
from factory.base.loaded import Loaded
from factory.data.rows import Row
from factory.errors import InputError
from factory.home import write_file
from factory.recipe import Recipe
from factory.train.methods import Drawing, Grpo
from factory.train.methods.reward import asked
from factory.train.tokens import IGNORE, Example, prompt_ids

PAYS = {"good": 1.0, "average": 0.5, "poor": 0.0}
TRIES = 3  # times that a group without spread is drawn anew
SHOWN = 10  # steps from one whose answers are written out to the next

Score = Callable[[Sequence[Example]], list[float]]  # of whole answers, as a reward model is asked about them


class Payer:
    """Rewards by the checks of a task's rubric, but for the dimensions that a stage calls `gold`. InputError: a gold
    dimension that no check decides, or nothing left that pays."""

    def __init__(self, recipe: Recipe, method: Drawing) -> None:
        self.rubric = rubrics.load(recipe.rubric)
        checked = {dimension.name for dimension in self.rubric.dimensions if dimension.checks}
        if unknown := [name for name in method.gold if name not in checked]:
            raise InputError(
                f"stages: {method.name}.gold: no check decides {unknown[0]!r} in rubrics/{recipe.rubric}.yaml"
            )
        self.paid = checked - set(method.gold)
        self.watched = set(method.gold) or checked
        if not self.paid:
            raise InputError(f"stages: {method.name} needs a check that pays in rubrics/{recipe.rubric}.yaml")

    def __call__(self, rows: Sequence[Row], texts: Sequence[str], gold: bool = False) -> list[float]:
        """What each answer to its row is paid, 0 to 1; `gold`: by the dimensions that are watched."""
        dimensions = self.watched if gold else self.paid
        graded = by_checks(self.rubric, rows, texts)
        bands = [composite(self.rubric, one.grades, dimensions & one.grades.keys()) for one in graded]
        return [PAYS[band] if band else 0.0 for band in bands]


def halved(paid: Sequence[float], scores: Sequence[float]) -> list[float]:
    """Half by the checks, half by a reward model, whose scores are log-odds."""
    return [(checked + 1 / (1 + math.exp(-score))) / 2 for checked, score in zip(paid, scores, strict=True)]


class Rollouts:
    """For `Job.rollouts`: `prompts` are the questions of `rows`, as examples that stand for them."""

    def __init__(self, recipe: Recipe, method: Grpo, on: Loaded) -> None:
        self.method, self.tokenizer, self.seed = method, on.tokenizer, recipe.train.seed
        self.most, self.pay = recipe.decoding.max_tokens, Payer(recipe, method)
        self.rows: dict[tuple[int, ...], Row] = {}

    def prompts(self, rows: Sequence[Row]) -> list[Example]:
        made = []
        for row in rows:
            ids = prompt_ids(self.tokenizer, row.turns)
            self.rows[tuple(ids)] = row
            made.append(Example(ids, ids))
        return made

    def __call__(
        self, model: Any, prompts: Sequence[Example], step: int, run: Path, score: Score | None = None
    ) -> tuple[list[Example], dict[str, float]]:
        """Groups of answers with their advantages, and what there is to tell. A group without spread is drawn again;
        one that has none then teaches nothing. Those of every SHOWN-th step are written into the run's folder. A reward
        model's `score` pays half, nothing for an answer that did not end."""
        made: list[Example] = []
        shown: list[str] = []
        paid: list[float] = []
        answers: list[Answer] = []
        waiting = [*prompts]
        for attempt in range(TRIES):
            each = [p for p in waiting for _ in range(self.method.group)]
            drawn = self._say(model, each, (step, attempt))
            pays = self._rewards(each, drawn)
            if score:
                pays = halved(pays, self._scores(score, each, drawn))
            again = []
            for number, prompt in enumerate(waiting):
                mine = slice(number * self.method.group, (number + 1) * self.method.group)
                group, rewards = drawn[mine], pays[mine]
                advantages = self.method.advantages(rewards)
                if not any(advantages) and attempt < TRIES - 1:
                    again.append(prompt)
                    continue
                made += [self._example(prompt, *one) for one in zip(group, advantages, strict=True)]
                paid, answers = paid + rewards, answers + group
                shown.append(self._shown(prompt, group, rewards, advantages))
            waiting = again
            if not waiting:
                break
        if step % SHOWN == 0:
            write_file(run / "samples" / f"{step + 1:05}.md", "\n".join(shown))
        count = len(answers)
        told = {"reward": sum(paid) / count, "length": sum(len(a.ids) for a in answers) / count}
        told |= {"cut": sum(not a.ended for a in answers) / count, "even": sum(not e.reward for e in made) / count}
        return made, told

    def gold(self, model: Any, prompts: Sequence[Example]) -> float:
        """The mean gold reward of greedy answers, 0 to 1."""
        found = self._rewards(prompts, self._say(model, prompts, None), gold=True)
        return sum(found) / len(found)

    def _say(self, model: Any, prompts: Sequence[Example], draw: tuple[int, int] | None) -> list[Answer]:
        sample = drawing(model, self.method.temperature, hash((self.seed, *draw)) % 2**63) if draw else None
        questions = [prompt.input_ids for prompt in prompts]
        return greedy(model, questions, ends(model, self.tokenizer), self.most, sample=sample)

    def _rewards(self, prompts: Sequence[Example], answers: Sequence[Answer], gold: bool = False) -> list[float]:
        rows = [self.rows[tuple(prompt.input_ids)] for prompt in prompts]
        return self.pay(rows, [self._text(answer) for answer in answers], gold)

    def _scores(self, score: Score, prompts: Sequence[Example], answers: Sequence[Answer]) -> list[float]:
        ends = [self.tokenizer.eos_token_id]
        said = [Example([*p.input_ids, *a.ids, *ends], []) for p, a in zip(prompts, answers, strict=True)]
        found = score([asked(one, self.tokenizer) for one in said])
        return [value if answer.ended else -math.inf for value, answer in zip(found, answers, strict=True)]

    def _example(self, prompt: Example, answer: Answer, advantage: float) -> Example:
        said, logps = zip(*answer.drawn, strict=True)
        labels = [*[IGNORE] * len(prompt.input_ids), *said]
        return Example([*prompt.input_ids, *said], labels, reward=advantage, drawn=logps)

    def _text(self, answer: Answer) -> str:
        return str(self.tokenizer.decode(answer.ids, skip_special_tokens=True).strip())

    def _shown(
        self, prompt: Example, answers: Sequence[Answer], rewards: Sequence[float], advantages: Sequence[float]
    ) -> str:
        """One question and what became of it, to read."""
        lines = [f"## {self.rows[tuple(prompt.input_ids)].source}\n"]
        for answer, reward, advantage in zip(answers, rewards, advantages, strict=True):
            cut = "" if answer.ended else ", cut off"
            lines.append(f"**reward {reward:g}, advantage {advantage:+.2f}{cut}**\n\n{self._text(answer)}\n")
        return "\n".join(lines)
