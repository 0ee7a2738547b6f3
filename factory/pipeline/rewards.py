"""Answers drawn and rewarded while an adapter trains: by the checks of the task's rubric, in the training process."""

from __future__ import annotations

from collections.abc import Sequence
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
from factory.train.tokens import IGNORE, Example, prompt_ids

PAYS = {"good": 1.0, "average": 0.5, "poor": 0.0}
TRIES = 3  # times that a group without spread is drawn anew
SHOWN = 10  # steps from one whose answers are written out to the next


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
        self, model: Any, prompts: Sequence[Example], step: int, run: Path
    ) -> tuple[list[Example], dict[str, float]]:
        """Groups of answers with their advantages, and what there is to tell. A group without spread is drawn again;
        one that has none then teaches nothing. Those of every SHOWN-th step are written into the run's folder."""
        made: list[Example] = []
        shown: list[str] = []
        paid: list[float] = []
        answers: list[Answer] = []
        waiting = [*prompts]
        for attempt in range(TRIES):
            drawn = self._say(model, [p for p in waiting for _ in range(self.method.group)], (step, attempt))
            again = []
            for number, prompt in enumerate(waiting):
                group = drawn[number * self.method.group : (number + 1) * self.method.group]
                rewards = self._rewards([prompt] * len(group), group)
                advantages = self.method.advantages(rewards)
                if not any(advantages) and attempt < TRIES - 1:
                    again.append(prompt)
                    continue
                made += [self._example(prompt, *one) for one in zip(group, advantages, strict=True)]
                paid, answers = paid + rewards, answers + group
                shown.append(self._shown(prompt, group, rewards, advantages))
            waiting = again
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
        asked = [prompt.input_ids for prompt in prompts]
        return greedy(model, asked, ends(model, self.tokenizer), self.most, sample=sample)

    def _rewards(self, prompts: Sequence[Example], answers: Sequence[Answer], gold: bool = False) -> list[float]:
        rows = [self.rows[tuple(prompt.input_ids)] for prompt in prompts]
        return self.pay(rows, [self._text(answer) for answer in answers], gold)

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
