"""Asking judges: every dimension of every output once, remembered for ever, with abstention where no grade can be read.

A paid reply is stored under the hash of all that led to it before anything else happens, readable or not. So a run
that is killed goes on where it stopped without paying twice, and the same grades come out of the same calls. A reply
that cannot be read is asked for twice more; then the judge abstains. It never counts as a grade.
"""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from evals import tables as t
from evals.grades import Grade, Grades
from evals.judges import Generate, Judge, Member
from evals.prompt import Asked, Unreadable, ask, compare
from evals.rubric import Rubric
from factory import stopping
from factory.chat import Chat, Messages, Refused, Reply, Unanswered, each, run_alone
from factory.errors import FactoryError
from factory.home import digest

ATTEMPTS = 3
GIVE_UP_AFTER = 30  # calls in a row without any reply: the endpoint is down
TOGETHER = 64  # questions that a judge in this process answers at once
Ask = Callable[[Messages, dict[str, Any] | None, int], Awaitable[Reply]]
Texts = Mapping[str, tuple[str, str]]  # output id to source and output
Triples = Mapping[str, tuple[str, str, str]]  # key to source and two outputs


@dataclass
class Tally:
    """How a run stands. `cost` is None where the judge has no price; `calls` were paid now, `reused` before."""

    total: int = 0
    done: int = 0
    calls: int = 0
    reused: int = 0
    abstained: int = 0
    cost: float | None = None
    seconds: float = 0.0
    why: Counter[str] = field(default_factory=Counter)


Progress = Callable[[Tally], None]


@dataclass(frozen=True)
class Question:
    """One thing to ask: `key` is handed back with the grade."""

    key: tuple[str, ...]
    asked: Asked
    order: str = ""


def grade(
    member: Member, rubric: Rubric, texts: Texts, engine: Engine, progress: Progress = lambda tally: None
) -> tuple[dict[str, dict[str, Grade]], Tally]:
    """Grade `texts` (output id to source and output) on the dimensions that a judge may decide. Returns the grades by
    output and dimension, abstentions left out, and how the run went."""
    dimensions = [rubric.dimension(d) for d in rubric.decided_by("judge")]
    questions = [Question((o, d.name), ask(rubric, d, *pair)) for o, pair in texts.items() for d in dimensions]
    replies, tally = ask_all(member, rubric, questions, engine, progress)
    grades: dict[str, dict[str, Grade]] = {output: {} for output in texts}
    for (output, dimension), found in replies.items():
        grades[output][dimension] = found
    return grades, tally


def pairwise(
    member: Member, rubric: Rubric, triples: Triples, engine: Engine, progress: Progress = lambda tally: None
) -> tuple[dict[str, str], float | None, Tally]:
    """Which of two outputs is better, asked in both orders: key to (source, a, b) gives key to "a", "b" or "tie".

    A judge that changes its mind with the order has no opinion: a tie. Returns the share that did (the flip rate) too.
    """
    questions = []
    for key, (source, a, b) in triples.items():
        questions.append(Question((key, "ab"), compare(rubric, source, a, b), "ab"))
        questions.append(Question((key, "ba"), compare(rubric, source, b, a), "ba"))
    replies, tally = ask_all(member, rubric, questions, engine, progress)
    names = {"ab": {"first": "a", "second": "b"}, "ba": {"first": "b", "second": "a"}}
    both = {
        key: [names[order].get(replies[key, order].level, "tie") for order in ("ab", "ba")]
        for key in triples
        if (key, "ab") in replies and (key, "ba") in replies
    }
    flips = sum(x != y for x, y in both.values()) / len(both) if both else None
    return {key: x if x == y else "tie" for key, (x, y) in both.items()}, flips, tally


def vote(rubric: Rubric, members: Sequence[Grades]) -> dict[str, dict[str, Grade]]:
    """A jury's grades: per dimension the median level of those who did not abstain, the lower one of a split."""
    found: dict[str, dict[str, Grade]] = {}
    for output in {o for member in members for o in member}:
        found[output] = {}
        for d in rubric.dimensions:
            said = [m[output][d.name] for m in members if d.name in m.get(output, {})]
            if said:
                said.sort(key=lambda g: d.names().index(g.level))
                found[output][d.name] = said[(len(said) - 1) // 2]
    return found


def ask_all(
    member: Member, rubric: Rubric, questions: Sequence[Question], engine: Engine, progress: Progress
) -> tuple[dict[tuple[str, ...], Grade], Tally]:
    """Put all questions, `judge.concurrency` at a time. A question without a readable reply is not in the result.

    May be called where an event loop runs already (a notebook, a server): the calls then have a thread of their own.
    """
    run = _Run(member, rubric, engine, progress)
    return run_alone(run.all(questions), None if member.generate else run.stop), run.tally


class Endpoint(Chat):
    """An OpenAI-compatible chat endpoint. Calls beyond the first attempt at a question are asked less greedily. What no
    retry mends for any question (a wrong key, an unknown model) ends the run with one line."""

    def __init__(self, judge: Judge, name: str) -> None:
        super().__init__(judge.base_url, judge.key(), judge.timeout)
        self.judge, self.name = judge, name

    async def ask(self, messages: Messages, schema: dict[str, Any] | None, attempt: int) -> Reply:
        if self.misses >= GIVE_UP_AFTER:
            raise Unanswered("the endpoint has not replied for a long time")
        body: dict[str, Any] = {
            "model": self.judge.asked,
            "messages": messages,
            "max_tokens": self.judge.max_tokens,
            "temperature": 0.5 if attempt else 0,
            "seed": attempt,
        }
        if schema:
            body["response_format"] = schema
        try:
            return await self(body)
        except Refused as error:
            told = f"HTTP {error.status} {error}"
            if error.status in (401, 403, 404):
                raise FactoryError(f"judge {self.name} at {self.url} refuses: {told}") from None
            raise Unanswered(told) from None


class _Run:
    def __init__(self, member: Member, rubric: Rubric, engine: Engine, progress: Progress) -> None:
        self.member, self.judge, self.engine, self.progress = member, member.judge, engine, progress
        self.identity = (rubric.hash(), member.judge.identity(member.version))
        self.tally = Tally(cost=0.0 if member.judge.price else None)
        self.grades: dict[tuple[str, ...], Grade] = {}
        self.known: dict[str, str] = {}
        self.stopped, self.began = False, time.monotonic()

    def stop(self) -> None:
        """Ask an endpoint nothing more; the calls under way, which are paid for, come home and are kept."""
        self.stopped = True

    async def all(self, questions: Sequence[Question]) -> dict[tuple[str, ...], Grade]:
        self.tally.total = len(questions)
        keys = {id(q): self._keys(q) for q in questions}
        with t.quick(self.engine) as connection:
            self.connection, every = connection, [key for attempts in keys.values() for key in attempts]
            for start in range(0, len(every), 500):  # what was paid for before
                query = sa.select(t.calls.c.id, t.calls.c.reply).where(t.calls.c.id.in_(every[start : start + 500]))
                with connection.begin():
                    self.known |= {key: reply for key, reply in connection.execute(query)}
            if self.member.generate:
                for start in range(0, len(questions), TOGETHER):
                    some = questions[start : start + TOGETHER]
                    said = await self._here(self.member.generate, [q for q in some if keys[id(q)][0] not in self.known])
                    for question in some:
                        await self._one(question, keys[id(question)], said)
            else:
                async with Endpoint(self.judge, self.member.name) as endpoint:

                    async def one(question: Question) -> None:
                        if not self.stopped:
                            await self._one(question, keys[id(question)], endpoint.ask)

                    await each(questions, min(self.judge.concurrency, len(questions)), one)
        if self.stopped:
            raise KeyboardInterrupt
        return self.grades

    async def _here(self, generate: Generate, questions: Sequence[Question]) -> Ask:
        """Ask a judge in this process, who answers many at once; asked again it would say the same."""
        began = time.monotonic()
        texts = await stopping.aside(lambda: generate([q.asked.messages for q in questions])) if questions else []
        seconds = (time.monotonic() - began) / max(1, len(questions))
        said = {id(q.asked.messages): Reply(text, seconds=seconds) for q, text in zip(questions, texts, strict=True)}

        async def ask(messages: Messages, schema: Any, attempt: int) -> Reply:
            if attempt:
                raise Unanswered("asked again it would say the same")
            return said[id(messages)]

        return ask

    async def _one(self, question: Question, keys: list[str], ask: Ask) -> None:
        why = ""
        for attempt, key in enumerate(keys):
            try:
                text = self.known.get(key)
                if text is None:
                    reply = await ask(question.asked.messages, question.asked.schema, attempt)
                    self._keep(key, reply)
                    text = reply.text
                else:
                    self.tally.reused += 1
                self.grades[question.key] = question.asked.read(text)
                break
            except Unreadable as error:
                why = str(error)
            except Unanswered as error:
                why = why or str(error)
                break
        else:
            why = why or "unreadable"
        if question.key not in self.grades:
            self.tally.abstained += 1
            self.tally.why[why.partition(":")[0]] += 1
        self.tally.done += 1
        self.tally.seconds = time.monotonic() - self.began
        self.progress(self.tally)

    def _keys(self, q: Question) -> list[str]:
        """Under what each attempt's reply is kept."""
        whole = digest([*self.identity, q.asked.messages, q.asked.schema, q.order])[:60]
        return [f"{whole}-{attempt}" for attempt in range(ATTEMPTS)]

    def _keep(self, key: str, reply: Reply) -> None:
        """Commit a paid reply at once, so that no later fault loses it."""
        price, cost = self.judge.price, None
        if price:
            cost = (reply.prompt_tokens * price.input + reply.completion_tokens * price.output) / 1e6
            self.tally.cost = (self.tally.cost or 0) + cost
        self.tally.calls += 1
        row = {
            "id": key,
            "judge": self.member.name,
            "reply": reply.text,
            "prompt_tokens": reply.prompt_tokens,
            "completion_tokens": reply.completion_tokens,
            "cost": cost,
            "seconds": reply.seconds,
            "created": time.time(),
        }
        with self.connection.begin():
            t.insert_new(self.connection, t.calls, [row])
