"""Asking an OpenAI-compatible endpoint many things at once: structured, concurrent, cached, resumable, counted.

Every answer is written down as it comes, under the hash of its question; asking again after an interruption pays only
for what is still open. A question that is not answered (after retries), or not in its form, is a `NoAnswer`. Where
nothing is answered at all, the whole stops with one line.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from factory.chat import Chat, Refused, Reply, Unanswered, each, run_alone
from factory.errors import FactoryError, InputError
from factory.home import digest, home, locked, shown
from factory.recipe import Endpoint

INVALID = 3  # how often a question is asked in all where answers came that are none; overload and outages: factory.chat


class Form(BaseModel):
    """The base of all structured answers: every field is there, and no other."""

    model_config = ConfigDict(extra="forbid", frozen=True)


F = TypeVar("F", bound=Form)


@dataclass(frozen=True)
class Ask(Generic[F]):
    """One question: messages, and the form of the answer. `sample` tells equal questions apart."""

    messages: Sequence[dict[str, str]]
    form: type[F]
    temperature: float = 0.0
    sample: int = 0

    def key(self, model: str) -> str:
        return digest([model, [*self.messages], self.form.model_json_schema(), self.temperature, self.sample])

    def body(self, model: str) -> dict[str, Any]:
        schema = {"name": self.form.__name__.lower(), "strict": True, "schema": self.form.model_json_schema()}
        return {
            "model": model,
            "messages": [*self.messages],
            "temperature": self.temperature,
            "response_format": {"type": "json_schema", "json_schema": schema},
        }


@dataclass(frozen=True)
class NoAnswer:
    """A question without an answer, and why."""

    why: str


@dataclass
class Usage:
    """What was asked. Tokens and cost are of this run; `cached` answers were paid before."""

    asked: int = 0
    cached: int = 0
    retried: int = 0
    failed: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"cost": round(self.cost, 6)}


@dataclass
class Asker:
    """One endpoint with its memory. `pause` is the first wait before a retry, in seconds; it doubles each time."""

    endpoint: Endpoint
    pause: float = 0.5
    usage: Usage = field(default_factory=Usage)
    known: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.path = home("asked", f"{digest([self.endpoint.url, self.endpoint.model])[:16]}.jsonl")
        with locked(self.path):  # an unfinished line is cut off, not one that another run is writing
            self.known = {entry["key"]: entry["content"] for entry in whole_lines(self.path)}

    def __call__(self, asks: Sequence[Ask[F]], done: Callable[[int], None] = lambda n: None) -> list[F | NoAnswer]:
        """The answers in the order of the questions. `done` hears how many are answered."""
        return run_alone(self._all(asks, done))

    async def _all(self, asks: Sequence[Ask[F]], done: Callable[[int], None]) -> list[F | NoAnswer]:
        found: dict[str, F | NoAnswer] = {}
        open_asks: dict[str, Ask[F]] = {}
        keys = [ask.key(self.endpoint.model) for ask in asks]
        for key, ask in zip(keys, asks, strict=True):
            if key in self.known and not isinstance(answer := _parsed(self.known[key], ask.form), NoAnswer):
                self.usage.cached += key not in found
                found[key] = answer
            else:
                open_asks.setdefault(key, ask)
        if not open_asks:
            return [found[key] for key in keys]

        async def answer_one(asked: tuple[str, Ask[F]]) -> None:
            found[asked[0]] = await self._ask(chat, *asked)
            done(len(found))

        async with Chat(self.endpoint.url, _key(self.endpoint), self.endpoint.timeout, self.pause) as chat:
            try:
                await each(open_asks.items(), self.endpoint.concurrency, answer_one)
            finally:
                self.usage.retried += chat.retried
        return [found[key] for key in keys]

    async def _ask(self, chat: Chat, key: str, ask: Ask[F]) -> F | NoAnswer:
        """The answer; asked again where what came is none."""
        self.usage.asked += 1
        failed = NoAnswer("")
        for attempt in range(INVALID):
            self.usage.retried += attempt > 0
            try:
                reply = await chat(ask.body(self.endpoint.model))
            except Refused as error:
                raise FactoryError(f"{self.endpoint.url} refuses {self.endpoint.model}: {error}") from None
            except Unanswered as error:
                failed = NoAnswer(str(error))
                break
            self._count(reply)
            answer = NoAnswer(reply.fault) if reply.fault else _parsed(reply.text, ask.form)
            if not isinstance(answer, NoAnswer):
                self.known[key] = reply.text
                with locked(self.path), open(self.path, "ab") as out:
                    out.write(json.dumps({"key": key, "content": reply.text}).encode() + b"\n")
                return answer
            failed = answer
        self.usage.failed += 1
        if chat.misses >= max(4, self.endpoint.concurrency):
            raise FactoryError(
                f"{self.endpoint.url}: {chat.misses} questions in a row without an answer ({failed.why}); what was "
                "answered is kept: mend the endpoint and run the same command again"
            )
        return failed

    def _count(self, reply: Reply) -> None:
        self.usage.tokens_in += reply.prompt_tokens
        self.usage.tokens_out += reply.completion_tokens
        priced = reply.prompt_tokens * self.endpoint.price_in + reply.completion_tokens * self.endpoint.price_out
        self.usage.cost += priced / 1e6


def whole_lines(path: Path) -> list[Any]:
    """The values of a JSONL file that is only ever appended to; an unfinished last line is cut off the file."""
    if not path.is_file():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    try:
        return [json.loads(line) for line in whole.splitlines()]
    except ValueError as error:
        raise FactoryError(f"{shown(path)} is damaged ({error}): delete it; its answers will be asked again") from None


def _parsed(content: str, form: type[F]) -> F | NoAnswer:
    try:
        return form.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        return NoAnswer(f"the answer lacks its form: {first['msg']} at {'.'.join(map(str, first['loc'])) or 'the top'}")


def _key(endpoint: Endpoint) -> str:
    if not endpoint.key_env:
        return ""
    if key := os.environ.get(endpoint.key_env):
        return key
    raise InputError(f"the environment variable {endpoint.key_env} is not set", key="endpoint.key_env")
