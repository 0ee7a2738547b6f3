"""Getting a judge's reply to one question from an OpenAI-compatible endpoint.

What no retry mends for any question (a wrong key, an unknown model) ends the run with one line. `Unanswered` is raised
when nothing came: the judge abstains.
"""

from typing import Any

from evals.judges import Judge
from factory.chat import Chat, Messages, Refused, Reply, Unanswered
from factory.errors import FactoryError

GIVE_UP_AFTER = 30  # calls in a row without any reply: the endpoint is down


class Endpoint(Chat):
    """An OpenAI-compatible chat endpoint. Calls beyond the first attempt at a question are asked less greedily."""

    def __init__(self, judge: Judge, name: str) -> None:
        super().__init__(judge.url, judge.key(), judge.timeout)
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
                raise FactoryError(f"judge {self.name} at {self.judge.url} refuses: {told}") from None
            raise Unanswered(told) from None
