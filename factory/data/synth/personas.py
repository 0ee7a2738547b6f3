"""Requests as different people would make them (after Persona Hub, arXiv 2406.20094): people → requests → answers."""

from typing import Any

from factory.data.endpoint import Ask, F, Form
from factory.data.synth.job import Novelty, Reply, SynthRun, prompt, says, with_task

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
        text = prompt(__file__, what, TASK=job.task, EXAMPLES=listed, N=n, WHO=who)
        return Ask(says(text), form, temperature=1.0, sample=sample)

    people: list[str] = []
    met = Novelty()
    asks = [ask("people", "", PEOPLE, People, i) for i in range(-(-wanted // PEOPLE))]
    for i, group in job.ask(asks):
        for person in group.people[:PEOPLE]:
            if met.add(person):
                people.append(person)
            else:
                job.drop("too much like another person (ROUGE-L above 0.7)", person, i)
    people = people[:wanted]
    requests: list[tuple[str, str]] = []
    new = Novelty(examples)
    for i, answer in job.ask([ask("requests", person, REQUESTS, Requests, i) for i, person in enumerate(people)]):
        for request in answer.requests[:REQUESTS]:
            if new.add(request):
                requests.append((people[i], request))
            else:
                job.drop("too much like an earlier request (ROUGE-L above 0.7)", request, i)
    requests = requests[: job.n]
    replies = job.ask([Ask(with_task(job, request), Reply) for _, request in requests])
    return [{"prompt": requests[i][1], "completion": reply.answer, "persona": requests[i][0]} for i, reply in replies]
