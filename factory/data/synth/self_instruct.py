"""Seeds → new tasks (Self-Instruct, arXiv 2212.10560).

The teacher sees eight tasks, at most two of them its own, and writes new ones. A new task stays if its instruction has
4–150 words and a ROUGE-L of at most 0.7 with every earlier one. Rounds go on until enough tasks stand, or until three
rounds in a row bring nothing.
"""

from typing import Any

from factory.data.endpoint import Ask, Form
from factory.data.rows import Row
from factory.data.synth.job import Novelty, SynthRun, prompt
from factory.data.words import words
from factory.errors import InputError

SHOWN, SHOWN_MADE, WRITTEN = 8, 2, 4
SHORTEST, LONGEST = 4, 150  # words of an instruction
BARREN = 3  # rounds without a new task after which it ends


class Task(Form):
    """One new task."""

    instruction: str
    input: str
    output: str


class Tasks(Form):
    """What the teacher writes at once."""

    tasks: list[Task]


def make(job: SynthRun) -> list[dict[str, Any]]:
    """Alpaca rows. A resumed run goes through its rounds again, whose answers are known."""
    seeds = job.rows()
    if len(seeds) < SHOWN:
        raise InputError(f"{len(seeds)} seeds; at least {SHOWN} are needed", key="data.synth.files")
    new = Novelty([seed.source for seed in seeds])
    made: list[dict[str, Any]] = []
    number = barren = 0
    while len(made) < job.n and barren < BARREN:
        width = min(job.asker.endpoint.concurrency, -(-(job.n - len(made)) // WRITTEN))
        asks = [_ask(job, seeds, made, (number, i)) for i in range(width)]
        fresh: list[dict[str, Any]] = []
        for _, answer in job.ask(asks):
            for task in answer.tasks:
                value = task.model_dump()
                if not SHORTEST <= len(words(task.instruction)) <= LONGEST:
                    job.drop(f"the instruction is not of {SHORTEST}–{LONGEST} words", asked(value))
                elif job.new(asked(value), new, "an earlier task"):
                    fresh.append(value)
        barren = 0 if fresh else barren + 1
        made += fresh
        number += 1
    return made[: job.n]


def asked(task: dict[str, Any]) -> str:
    return "\n\n".join(filter(None, (task["instruction"], task["input"])))


def _ask(job: SynthRun, seeds: list[Row], made: list[dict[str, Any]], at: tuple[int, int]) -> Ask[Tasks]:
    draw = job.random(*at)
    own = draw.sample(made, min(SHOWN_MADE, len(made)))
    shown = [(seed.source, seed.answer) for seed in draw.sample(seeds, SHOWN - len(own))]
    shown += [(asked(task), task["output"]) for task in own]
    draw.shuffle(shown)
    examples = "\n\n".join(
        f"### {i}\n{question}\n--- answer\n{answer}" for i, (question, answer) in enumerate(shown, 1)
    )
    asks = prompt(__file__, TASK=job.task, EXAMPLES=examples, N=WRITTEN)
    return Ask(asks, Tasks, temperature=1.0, sample=at[0] * 1000 + at[1])
