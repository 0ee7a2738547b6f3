"""More rows for thin classes: the label with the fewest rows is filled up first, until `data.synth.n` rows are made."""

from collections import Counter, defaultdict
from typing import Any

from factory.data.endpoint import Ask, Form
from factory.data.rows import Row
from factory.data.synth.job import Novelty, SynthRun, prompt
from factory.errors import InputError

WRITTEN, SHOWN, OTHERS = 5, 6, 4  # texts in one request, examples of the label, examples of other labels


class Texts(Form):
    """New texts of one label."""

    texts: list[str]


def make(job: SynthRun) -> list[dict[str, Any]]:
    """Text and label rows, none with a ROUGE-L above 0.7 to another of its label."""
    by_label: defaultdict[str, list[Row]] = defaultdict(list)
    for row in job.rows():
        if "label" in row.meta:
            by_label[row.answer].append(row)
    labels = job.recipe.labels or sorted(by_label)
    if len(labels) < 2:
        raise InputError("needs rows with at least two labels", key="data.train")
    new = {label: Novelty([row.source for row in by_label[label]]) for label in labels}
    rows: list[dict[str, Any]] = []
    wanted = shares({label: len(by_label[label]) for label in labels}, job.n)
    for attempt in range(3):  # what was too alike is asked for again, twice
        missing = {label: n - sum(row["label"] == label for row in rows) for label, n in wanted.items()}
        asks = [
            (label, _ask(job, label, labels, by_label, (attempt, i)))
            for label in labels
            for i in range(-(-missing[label] // WRITTEN))
        ]
        for j, answer in job.ask([ask for _, ask in asks]):
            label = asks[j][0]
            for text in answer.texts[:WRITTEN]:
                if missing[label] <= 0:
                    break
                if job.new(text, new[label], f"another row of {label}", j):
                    missing[label] -= 1
                    rows.append({"text": text, "label": label, "from": "synth"})
    return rows


def shares(counts: dict[str, int], n: int) -> dict[str, int]:
    """How many rows each label gets of `n`: always one more to the thinnest."""
    filled = Counter(counts)
    for _ in range(n):
        filled[min(counts, key=lambda label: (filled[label], label))] += 1
    return {label: filled[label] - counts[label] for label in counts}


def _ask(job: SynthRun, label: str, labels: list[str], rows: dict[str, list[Row]], at: tuple[int, int]) -> Ask[Texts]:
    draw = job.random(label, *at)
    own = rows[label]
    shown = [row.source for row in draw.sample(own, min(SHOWN, len(own)))]
    others = [row for other in labels if other != label for row in rows[other]]
    contrast = [f"{row.answer}: {row.source}" for row in draw.sample(others, min(OTHERS, len(others)))]
    asked = prompt(
        __file__,
        TASK=job.task,
        LABEL=label,
        LABELS=", ".join(labels),
        EXAMPLES="\n".join(f"- {text}" for text in shown) or "(none yet)",
        OTHERS="\n".join(f"- {text}" for text in contrast) or "(none yet)",
        N=WRITTEN,
    )
    return Ask(asked, Texts, temperature=1.0, sample=at[0] * 1000 + at[1])
