"""Getting a judge's reply to one question: from an OpenAI-compatible endpoint, or from a function of this process.

What no retry mends for any question (a wrong key, an unknown model) ends the run with one line. `Unanswered` is raised
when nothing came: the judge abstains.
"""

import asyncio
import time
from typing import Any, Self

from evals.judges import Generate, Judge
from factory.chat import Chat, Messages, Refused, Reply, Unanswered
from factory.errors import FactoryError

GIVE_UP_AFTER = 30  # calls in a row without any reply: the endpoint is down


class Endpoint:
    """An OpenAI-compatible chat endpoint. Calls beyond the first attempt at a question are asked less greedily."""

    def __init__(self, judge: Judge, name: str) -> None:
        self.judge, self.name = judge, name
        self.chat = Chat(judge.url, judge.key(), judge.timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.chat.session.close()

    async def __call__(self, messages: Messages, schema: dict[str, Any] | None, attempt: int) -> Reply:
        if self.chat.misses >= GIVE_UP_AFTER:
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
            return await self.chat(body)
        except Refused as error:
            told = f"HTTP {error.status} {error}"
            if error.status in (401, 403, 404):
                raise FactoryError(f"judge {self.name} at {self.judge.url} refuses: {told}") from None
            raise Unanswered(told) from None


class Local:
    """A function that answers many questions at once, such as generation in this process: calls form batches."""

    def __init__(self, generate: Generate, size: int = 64) -> None:
        self.generate, self.size = generate, size
        self.waiting: list[tuple[Messages, asyncio.Future[Reply]]] = []
        self.busy = False

    async def __call__(self, messages: Messages, schema: dict[str, Any] | None, attempt: int) -> Reply:
        if attempt:
            raise Unanswered("asked again it would say the same")
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.waiting.append((messages, future))
        if not self.busy:
            self.busy = True
            asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(self._work()))
        return await future

    async def _work(self) -> None:
        while self.waiting:
            batch, self.waiting = self.waiting[: self.size], self.waiting[self.size :]
            started = time.monotonic()
            try:
                texts = await asyncio.to_thread(self.generate, [messages for messages, _ in batch])
            except Exception as error:
                for _, future in batch:
                    future.set_exception(error)
                continue
            each = (time.monotonic() - started) / len(batch)
            for (_, future), text in zip(batch, texts, strict=True):
                future.set_result(Reply(text, seconds=each))
        self.busy = False
