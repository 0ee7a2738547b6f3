"""A stage that draws: a version answers the task's questions several times, and what checks pay sorts the answers.

    home("drawn", <task>-<hash>)/  train.jsonl  the best answer to each question that is paid for any
                                   pairs.jsonl  it, over the worst, where they are not paid alike
                                   told.json    how many of what

The hash is over everything that decides it, so what was drawn once is not drawn again.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from evals.languages import language
from factory.base.loaded import Loaded
from factory.data.rows import Row
from factory.decoding import FORMS
from factory.errors import FactoryError
from factory.home import digest, home, locked, sha256, write_folder, write_json
from factory.pipeline.reward import scored
from factory.pipeline.rewards import Payer, halved
from factory.pipeline.stages import rows_of
from factory.recipe import Recipe
from factory.registry.store import WEIGHTS, Version
from factory.terminal import err
from factory.train.methods import Generate
from serve.answers import answer


def generate(recipe: Recipe, method: Generate, on: Loaded, version: Version, model: Path | None = None) -> Path:
    """The folder of what the version says to the recipe's questions; the checks pay, and the reward `model` as much
    again, if there is one. FactoryError: nothing is paid."""
    checks = Payer(recipe, method)
    changed, built, _ = rows_of(recipe, method, on.base)
    prompt, most = changed.system_prompt(), recipe.train.max_length
    rows = sorted(built.train, key=lambda row: digest([version.sha, row.key()]))[: method.questions or None]
    free = recipe.decoding.model_copy(update={"temperature": method.temperature, **dict.fromkeys(FORMS, "")})
    decides = [version.sha, method.model_dump(exclude={"parent", "data"}), free.max_tokens, checks.rubric.hash()]
    decides += [recipe.train.seed, prompt, [row.key() for row in rows]]
    decides += [sha256(model / WEIGHTS)] if model else []

    def pay(rows: Sequence[Row], texts: Sequence[str]) -> list[float]:
        paid = checks(rows, texts)
        if not model:
            return paid
        return halved(paid, scored(on, model, [row.with_system(prompt) for row in rows], texts, most))

    folder = home("drawn", f"{recipe.task}-{digest(decides)[:12]}")
    with locked(folder):
        if not folder.is_dir():
            asked = [row.with_system(prompt) for row in rows for _ in range(method.group)]
            drawn = answer(on.base, version, asked, free, seed=recipe.train.seed, whole=True)
            groups = [drawn[at : at + method.group] for at in range(0, len(drawn), method.group)]
            write_folder(folder, lambda to: _write(to, *sorted_out(pay, rows, groups)))
    told = json.loads((folder / "told.json").read_text())
    counts = ", ".join(f"{count} {what}" for what, count in told.items())
    err.print(f"{recipe.task}: {version.short} answered {len(rows)} questions: {counts}", markup=False, soft_wrap=True)
    if not told.get("best"):
        raise FactoryError(f"{recipe.task}: no drawn answer is paid: train before, or make group larger ({counts})")
    return folder


def sorted_out(
    pay: Callable[[Sequence[Row], Sequence[str]], list[float]], rows: Sequence[Row], groups: Sequence[Sequence[str]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, int]]:
    """Rows of the best answers, pairs of the best over the worst, and counts. An answer counts if it came to its end
    and is in the language of its question, or of the row's own answer; of several that are paid alike the first."""
    flat = [(row, text) for row, group in zip(rows, groups, strict=True) for text in group]
    paid = iter(pay([row for row, _ in flat], [text for _, text in flat]))
    best, pairs = [], []
    told = Counter[str]()
    for row, group in zip(rows, groups, strict=True):
        spoken = {language(row.source), language(row.answer), ""}
        fit: list[tuple[float, str]] = []
        for text, reward in zip(group, paid, strict=False):
            fault = "cut off" if not text else "in another language" if language(text) not in spoken else ""
            told["answers"] += 1
            if fault:
                told[fault] += 1
            elif "{{" not in text:  # a row with that would ask for something to fill it
                fit.append((reward, text))
        (least, worst), (most, chosen) = (pick(fit, key=lambda one: one[0], default=(0.0, "")) for pick in (min, max))
        if not most:
            told["questions unpaid"] += 1
            continue
        liked, other = ([*row.with_answer(text).messages] for text in (chosen, worst))
        best.append({"messages": liked})
        if least < most:
            pairs.append({"chosen": liked, "rejected": other})
        else:
            told["questions tied"] += 1
    return best, pairs, {**told, "best": len(best), "pairs": len(pairs)}


def _write(to: Path, best: list[dict[str, Any]], pairs: list[dict[str, Any]], told: dict[str, int]) -> None:
    for name, lines in (("train", best), ("pairs", pairs)):
        (to / f"{name}.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    write_json(to / "told.json", told)
