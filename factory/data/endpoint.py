"""Asking an OpenAI-compatible endpoint many things at once: structured, concurrent, cached, resumable, counted.

Every answer is written down as it comes, under the hash of its question; asking again after an interruption pays only
for what is still open. A question whose answer does not come (after retries) or is none is a `Failed`, never a made-up
answer. Where nothing is answered at all, the whole stops with one line.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from factory.errors import FactoryError, InputError, Problem
from factory.home import digest, home, locked, shown
from factory.recipe import Endpoint

TRANSIENT, INVALID = 6, 3  # how often a question is asked in all: past overload and outages, past answers that are none
LONGEST_PAUSE = 30.0  # seconds


class Form(BaseModel):
    """The base of all structured answers: every field is there, and no other."""

    model_config = ConfigDict(extra="forbid", frozen=True)


F = TypeVar("F", bound=Form)
Done = TypeVar("Done")


@dataclass(frozen=True)
class Ask:
    """One question: messages, and the form of the answer. `sample` tells equal questions apart."""

    messages: Sequence[dict[str, str]]
    form: type[Form]
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
class Failed:
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


def run_alone(work: Coroutine[Any, Any, Done]) -> Done:
    """Run a coroutine to its end, whether or not this thread is inside an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@dataclass
class Asker:
    """One endpoint with its memory. `pause` is the first wait before a retry, in seconds; it doubles each time."""

    endpoint: Endpoint
    pause: float = 0.5
    usage: Usage = field(default_factory=Usage)
    known: dict[str, str] = field(default_factory=dict)
    _misses: int = 0  # questions in a row that failed for want of the endpoint

    def __post_init__(self) -> None:
        self.path = home("asked", f"{digest([self.endpoint.url, self.endpoint.model])[:16]}.jsonl")
        self.known = _remembered(self.path)

    def __call__(self, asks: Sequence[Ask], done: Callable[[int], None] = lambda n: None) -> list[Form | Failed]:
        """The answers in the order of the questions. `done` hears how many are answered."""
        return run_alone(self._all(asks, done))

    async def _all(self, asks: Sequence[Ask], done: Callable[[int], None]) -> list[Form | Failed]:
        from openai import AsyncOpenAI

        found: dict[str, Form | Failed] = {}
        open_asks: dict[str, Ask] = {}
        keys = [ask.key(self.endpoint.model) for ask in asks]
        for key, ask in zip(keys, asks, strict=True):
            if key in self.known and not isinstance(answer := _parsed(self.known[key], ask.form), Failed):
                self.usage.cached += key not in found
                found[key] = answer
            else:
                open_asks.setdefault(key, ask)
        if not open_asks:
            return [found[key] for key in keys]
        slots = asyncio.Semaphore(self.endpoint.concurrency)
        client = AsyncOpenAI(
            base_url=self.endpoint.url, api_key=_key(self.endpoint), timeout=self.endpoint.timeout, max_retries=0
        )

        async def one(key: str, ask: Ask) -> None:
            async with slots:
                found[key] = await self._ask(client, key, ask)
            done(len(found))

        async with client:
            try:
                async with asyncio.TaskGroup() as group:
                    for key, ask in open_asks.items():
                        group.create_task(one(key, ask))
            except ExceptionGroup as errors:
                raise errors.exceptions[0] from None
        return [found[key] for key in keys]

    async def _ask(self, client: Any, key: str, ask: Ask) -> Form | Failed:
        import openai

        transient = invalid = 0
        self.usage.asked += 1
        while True:
            pause = 0.0
            try:
                async with asyncio.timeout(self.endpoint.timeout):
                    reply = await client.chat.completions.create(**ask.body(self.endpoint.model))
                self._misses = 0
                self._count(reply)
                content, why = _content(reply)
                answer = Failed(why) if why else _parsed(content, ask.form)
                if not isinstance(answer, Failed):
                    self._remember(key, content)
                    return answer
                invalid += 1
                why = answer.why
            except (openai.APIConnectionError, TimeoutError) as error:
                transient += 1
                timeout = isinstance(error, TimeoutError | openai.APITimeoutError)
                why = f"no answer within {self.endpoint.timeout:g} s" if timeout else "the endpoint cannot be reached"
                pause = self._pause(transient)
            except openai.APIStatusError as error:
                if error.status_code not in (408, 409, 429) and error.status_code < 500:
                    raise FactoryError(f"{self.endpoint.url} refuses {self.endpoint.model}: {_said(error)}") from None
                transient += 1
                why = f"status {error.status_code}"
                pause = max(self._pause(transient), _retry_after(error))
            except (openai.APIError, ValueError, AttributeError, TypeError) as error:  # a reply that is no reply
                invalid += 1
                why = f"the reply cannot be read ({type(error).__name__})"
            if invalid >= INVALID or transient >= TRANSIENT:
                self.usage.failed += 1
                self._missed(transient >= TRANSIENT, why)
                return Failed(why)
            self.usage.retried += 1
            await asyncio.sleep(pause)

    def _missed(self, absent: bool, why: str) -> None:
        self._misses += absent
        if self._misses >= max(4, self.endpoint.concurrency):
            raise FactoryError(
                f"{self.endpoint.url}: {self._misses} questions in a row without an answer ({why}); what was answered "
                "is kept: mend the endpoint and run the same command again"
            )

    def _pause(self, attempt: int) -> float:
        return min(LONGEST_PAUSE, self.pause * 2 ** (attempt - 1)) * random.uniform(0.5, 1.5)

    def _count(self, reply: Any) -> None:
        if used := getattr(reply, "usage", None):
            self.usage.tokens_in += used.prompt_tokens or 0
            self.usage.tokens_out += used.completion_tokens or 0
            priced = (used.prompt_tokens or 0) * self.endpoint.price_in
            self.usage.cost += (priced + (used.completion_tokens or 0) * self.endpoint.price_out) / 1e6

    def _remember(self, key: str, content: str) -> None:
        self.known[key] = content
        with locked(self.path), open(self.path, "ab") as out:
            out.write(json.dumps({"key": key, "content": content}).encode() + b"\n")


def _remembered(path: Path) -> dict[str, str]:
    """The answers on disk. A line that a killed run left unfinished is cut off, not one that another run is writing."""
    with locked(path):
        entries = whole_lines(path)
    return {entry["key"]: entry["content"] for entry in entries}


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


def _content(reply: Any) -> tuple[str, str]:
    """The text of a reply, or why there is none."""
    choice = reply.choices[0]
    if refusal := getattr(choice.message, "refusal", None):
        return "", f"refused: {refusal[:100]}"
    if choice.finish_reason == "length":
        return "", "the answer was cut off"
    if not choice.message.content:
        return "", "the answer is empty"
    return choice.message.content, ""


def _parsed(content: str, form: type[F]) -> F | Failed:
    try:
        return form.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        return Failed(f"the answer lacks its form: {first['msg']} at {'.'.join(map(str, first['loc'])) or 'the top'}")


def _retry_after(error: Any) -> float:
    try:
        return min(LONGEST_PAUSE, float(error.response.headers.get("retry-after", 0)))
    except ValueError:
        return 0.0


def _said(error: Any) -> str:
    body = error.body if isinstance(error.body, dict) else {}
    return " ".join(str(body.get("message") or error.message).split())[:200]


def _key(endpoint: Endpoint) -> str:
    if not endpoint.key_env:
        return "none"
    if key := os.environ.get(endpoint.key_env):
        return key
    raise InputError(Problem(f"the environment variable {endpoint.key_env} is not set", key="endpoint.key_env"))
