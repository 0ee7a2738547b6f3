"""Questions to the OpenAI endpoint, streamed, with what a user wants to know of an answer: who, how fast, how much."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

SILENCE = 120.0  # seconds without a byte until an answer counts as lost
BEAT = 0.1  # seconds between two looks at answers that are under way
LOST = (httpx.ConnectError, httpx.ConnectTimeout, httpx.RemoteProtocolError, httpx.ReadError)
REFUSED = {404: "fault_unknown", 401: "fault_key", 403: "fault_key", 429: "fault_busy", 503: "fault_starting"}


@dataclass(frozen=True)
class Server:
    """An OpenAI-compatible address such as `http://127.0.0.1:8000/v1`, with its key if it wants one."""

    url: str
    key: str = ""

    def client(self) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=httpx.Timeout(SILENCE, connect=5))

    async def up(self) -> bool:
        """Whether it answers at all within two seconds."""
        try:
            async with self.client() as client:
                return (await client.get("models", timeout=2)).status_code < 500
        except httpx.HTTPError:
            return False


@dataclass
class Answer:
    """One model's answer to a `task` so far. `fault` is a key of the texts, `detail` the server's own words."""

    model: str
    title: str
    task: str = ""
    system: str = ""
    text: str = ""
    version: str = ""
    began: float = field(default_factory=time.monotonic)
    first: float | None = None
    total: float | None = None
    tokens: int | None = None
    fault: str = ""
    detail: str = ""
    result: str = ""  # what a query gave, as HTML

    @property
    def waited(self) -> float:
        return time.monotonic() - self.began


async def ask_all(server: Server, question: str, answers: Sequence[Answer]) -> AsyncIterator[Sequence[Answer]]:
    """Ask every `answer.model` at once; gives all answers again and again until they are whole. Closing ends them."""
    async with server.client() as client:
        work = [asyncio.create_task(_ask(client, question, answer)) for answer in answers]
        try:
            while not all(task.done() for task in work):
                await asyncio.wait(work, timeout=BEAT)
                yield answers
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)


async def _ask(client: httpx.AsyncClient, question: str, answer: Answer) -> None:
    system = [{"role": "system", "content": answer.system}] if answer.system else []
    body = {
        "model": answer.model,
        "messages": [*system, {"role": "user", "content": question}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    answer.began = time.monotonic()
    try:
        async with client.stream("POST", "chat/completions", json=body) as reply:
            if reply.status_code != 200:
                answer.detail = told(await reply.aread())
                other = "fault_long" if "context" in answer.detail else "fault_other"
                answer.fault = REFUSED.get(reply.status_code, other)
                return
            answer.version = reply.headers.get("x-adapter-version", "")
            async for line in reply.aiter_lines():
                if line.startswith("data: {"):
                    _take(answer, json.loads(line[6:]))
        answer.total = answer.waited
        if not answer.text and not answer.fault:
            answer.fault = "fault_empty"
    except httpx.ReadTimeout:
        answer.fault = "fault_silent"
    except LOST:
        answer.fault = "fault_cut" if answer.text else "fault_unreachable"
    except (httpx.HTTPError, ValueError) as error:
        answer.fault, answer.detail = "fault_other", str(error)


def _take(answer: Answer, event: dict[str, Any]) -> None:
    if error := event.get("error"):
        answer.fault, answer.detail = "fault_cut", str(error.get("message", ""))
    if usage := event.get("usage"):
        answer.tokens = usage.get("completion_tokens")
    for choice in event.get("choices") or []:
        if piece := (choice.get("delta") or {}).get("content"):
            answer.first = answer.first or answer.waited
            answer.text += piece


def told(body: bytes) -> str:
    """What an error of the API says, or the beginning of another answer."""
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body[:300].decode(errors="replace")
