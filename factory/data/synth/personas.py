"""Requests as different people would make them (after Persona Hub, arXiv 2406.20094): people → requests → answers."""

from typing import Any

from factory.data.endpoint import Ask, F, Form
from factory.data.synth.job import Novelty, Reply, SynthRun, prompt, with_task

PEOPLE, REQUESTS = 10, 3  # people in one answer, requests by one person


class People(Form):
    """People in one sentence each: what they do, what they want, how they talk."""

    people: list[str]


class Requests(Form):
    """What one person asks."""

    requests: list[str]


def make(job: SynthRun) -> list[dict[str, Any]]:
    """Prompt and completion rows with the person who asks."""
    examples = [row.source for row in job.rows() if row.source]
    shown = job.random("examples").sample(examples, min(5, len(examples)))
    wanted = -(-job.n // REQUESTS)

    def ask(what: str, who: str, n: int, form: type[F], sample: int) -> Ask[F]:
        listed = "\n".join(f"- {text}" for text in shown)
        asked = prompt(__file__, what, TASK=job.task, EXAMPLES=listed, N=n, WHO=who)
        return Ask(asked, form, temperature=1.0, sample=sample)

    met, earlier = Novelty(), Novelty(examples)
    people = [
        person
        for i, group in job.ask([ask("people", "", PEOPLE, People, i) for i in range(-(-wanted // PEOPLE))])
        for person in group.people[:PEOPLE]
        if job.new(person, met, "another person", i)
    ][:wanted]
    requests = [
        (people[i], request)
        for i, answer in job.ask([ask("requests", who, REQUESTS, Requests, i) for i, who in enumerate(people)])
        for request in answer.requests[:REQUESTS]
        if job.new(request, earlier, "an earlier request", i)
    ][: job.n]
    replies = job.ask([Ask(with_task(job, request), Reply) for _, request in requests])
    return [{"prompt": requests[i][1], "completion": reply.answer, "persona": requests[i][0]} for i, reply in replies]
