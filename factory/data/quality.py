"""A judge's grade of each row, reason first; rows below the threshold are dropped."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from factory.data.endpoint import Ask, Asker, Form, NoAnswer
from factory.data.rows import Row, one_line
from factory.data.steps import Work

PROMPT = Path(__file__).with_suffix(".md").read_text(encoding="utf-8")


class Grade(Form):
    """The judge's reason, then its grade: 1 useless, 2 poor, 3 good, 4 excellent."""

    reason: str
    grade: Literal[1, 2, 3, 4]


def quality(rows: Iterable[Row], work: Work) -> Iterator[Row]:
    """Drops rows graded below `data.quality.threshold`. A row that the judge cannot grade stays."""
    settings = work.recipe.data.quality
    assert settings is not None
    held = list(rows)
    asker = Asker(settings.endpoint)
    asks = [Ask(question(row, work.prompt), Grade) for row in held]
    silent = 0
    for row, grade in zip(held, asker(asks, lambda n: work.progress("quality", n)), strict=True):
        if isinstance(grade, NoAnswer):
            silent += 1
        elif grade.grade < settings.threshold:
            work.drop(row, "quality", f"graded {grade.grade} of 4: {one_line(grade.reason, 200)}")
            continue
        yield row
    if silent:
        work.notes.append(f"the judge abstained on {silent} of {len(held)} rows; they are kept")
    work.usage["quality"] = asker.usage.as_json()


def question(row: Row, task: str) -> list[dict[str, str]]:
    """The prompt with the row between marks that its text cannot close."""
    said = "\n\n".join(f"[{m['role']}]\n{m['content']}" for m in row.messages if m["role"] != "system")
    fence = "=" * 8
    while fence in said:
        fence += "="
    filled = PROMPT.replace("TASK", task or "Answer the user.").replace("FENCE", fence)
    return [
        {"role": "system", "content": filled},
        {"role": "user", "content": f"{fence}\n{said}\n{fence}"},
    ]
