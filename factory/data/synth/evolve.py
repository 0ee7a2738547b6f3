"""Rows made harder or rarer (Evol-Instruct, arXiv 2304.12244): five ways down, one aside.

A row's request is rewritten by one of six operators, drawn by chance; then the teacher answers the new request. A
rewriting that changed nothing is thrown away.
"""

from typing import Any

from factory.data.endpoint import Ask, Form
from factory.data.synth.job import Novelty, Reply, SynthRun, prompt, rouge_l, with_task
from factory.data.words import words

UNCHANGED = 0.95  # ROUGE-L with the old request above which nothing was evolved
GROWTH = 60  # words that a rewriting may add at most: 10–20 are asked for
OPERATORS = {
    "constraint": "Add one more condition or requirement that the answer must meet.",
    "deepen": "If it can be answered in a few words, ask for more depth and breadth about the same matter.",
    "concretise": "Replace a general notion in it by a more specific one.",
    "reasoning": "If it takes one step of thought, change it so that it takes several and asks for them.",
    "input": "Give it more complicated material to work on: a table, a list, code, a letter, figures.",
    "breadth": "Write a new request instead, of the same domain and about as long and hard, but about something rarer.",
}


class Rewritten(Form):
    """The new request, after a word on what was changed."""

    change: str
    request: str


def make(job: SynthRun) -> list[dict[str, Any]]:
    """Prompt and completion rows, with the operator and the row they came from."""
    rows = [row for row in job.rows() if row.source]
    chosen = [rows[i % len(rows)] for i in range(job.n)] if rows else []
    ways = [job.random(i).choice(sorted(OPERATORS)) for i in range(len(chosen))]
    asks = [
        Ask(prompt(__file__, OPERATOR=OPERATORS[way], REQUEST=row.source, TASK=job.task), Rewritten, 0.8, i)
        for i, (row, way) in enumerate(zip(chosen, ways, strict=True))
    ]
    new = Novelty()
    evolved: list[tuple[int, str]] = []
    for i, answer in job.ask(asks):
        old, request = words(chosen[i].source), words(answer.request)
        if not request or rouge_l(old, request) > UNCHANGED:
            job.drop("nothing was changed", answer.request, i)
        elif len(request) > len(old) + GROWTH and ways[i] != "input":
            job.drop(f"grew by more than {GROWTH} words", answer.request, i)
        elif not new.add(answer.request, UNCHANGED):
            job.drop("the same as another rewriting", answer.request, i)
        else:
            evolved.append((i, answer.request))
    replies = job.ask([Ask(with_task(job, request), Reply, sample=i) for i, request in evolved])
    return [
        {
            "prompt": evolved[j][1],
            "completion": reply.answer,
            "operator": ways[evolved[j][0]],
            "from": chosen[evolved[j][0]].place,
        }
        for j, reply in replies
    ]
