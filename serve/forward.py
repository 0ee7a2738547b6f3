"""Send a request on to its engine and relay the answer, under the name that the caller asked for.

Streams are relayed event by event as they come. Inside a JSON string a quote is always escaped, so the bytes
`"model":"<internal name>"` can only be the field itself, and replacing them needs no parsing of every chunk.
"""

import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from serve.engine import Engine, EngineError
from serve.metrics import RequestRecord
from serve.replies import Refusal, Send, reply, start, unavailable
from serve.routing import Target

STALL = 300.0  # seconds without a byte from the engine until it counts as gone


@dataclass
class Call:
    """One request on its way: where its answer goes, and what is told of it afterwards."""

    path: str
    send: Send
    tag: dict[str, str]  # headers of every answer: the request's id
    onward: dict[str, str]  # headers for the engine: the trace
    record: RequestRecord
    inner: str = field(default_factory=lambda: secrets.token_hex(12))  # its name in the engine, which no caller chooses
    engine: Engine | None = None  # where it runs
    left: bool = False  # the caller hung up

    async def hung_up(self, answers: int) -> None:
        """The caller is gone: what was generated until now is used all the same. Ends it in the engine, which knows."""
        if self.engine is None or self.record.status == 200:  # nothing has begun, or the answer was just whole
            return
        self.left = True
        try:
            spent = await self.engine.end(self.inner)
        except EngineError:
            return
        if spent["answers"]:
            ended = max(0, answers - spent["answers"])  # these were at most as long
            self.record.prompt = spent["prompt"]
            self.record.completion = spent["completion"] + ended * spent["longest"]


async def forward(engine: Engine, call: Call, target: Target, request: dict[str, Any], asked: dict[str, Any]) -> None:
    """Relay one answer, and note its times, tokens and status in `call.record`. `asked` is what the caller wrote.

    Raises Refusal as long as nothing was sent; later faults end the stream with an error event.
    """
    record, send, begun, rest = call.record, call.send, False, b""
    headers = {**call.tag, "x-adapter-version": target.label}
    stream = {"content-type": "text/event-stream; charset=utf-8", **headers}
    mine, theirs = _field(target.model), _field(target.asked)
    call.engine = engine
    try:
        async with engine.session.post(
            call.path,
            data=json.dumps(request).encode(),
            headers={"content-type": "application/json", "x-request-id": call.inner, **call.onward},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=STALL),
        ) as answer:
            if answer.status != 200:
                raise _translated(answer.status, await answer.read(), target)
            if not request.get("stream"):
                body = await answer.read()
                _count(record, json.loads(body).get("usage"))
                kind = answer.headers.get("content-type", "application/json")
                await reply(send, 200, body.replace(mine, theirs, 1), {"content-type": kind, **headers})
                return
            keep_usage = bool((asked.get("stream_options") or {}).get("include_usage"))  # we always ask for it
            async for chunk in answer.content.iter_any():
                if not begun:
                    begun = True
                    record.first = time.monotonic() - record.at
                    await start(send, 200, stream)
                rest += chunk
                cut = rest.rfind(b"\n\n") + 2
                if cut == 1:
                    continue
                events, rest = rest[:cut], rest[cut:]
                if record.status != 200:  # about a token each, until the usage tells exactly
                    record.completion += events.count(b"\n\n")
                if b'"choices":[]' in events:
                    events = _take_usage(events, record, keep_usage)
                await send({"type": "http.response.body", "body": events.replace(mine, theirs), "more_body": True})
            record.status = 200
    except (aiohttp.ClientError, OSError, TimeoutError):
        lost = unavailable(f"the engine for {target.task} stopped while answering; try again")
        if not begun:
            raise lost from None
        record.status = 503
        event = b"data: " + json.dumps(lost.body()).encode() + b"\n\n"
        await send({"type": "http.response.body", "body": event, "more_body": True})
    if not begun:
        await start(send, 200, stream)
    await send({"type": "http.response.body", "body": rest})


def _count(record: RequestRecord, usage: dict[str, Any] | None) -> None:
    record.status = 200
    record.prompt = int((usage or {}).get("prompt_tokens") or 0)
    record.completion = int((usage or {}).get("completion_tokens") or 0)


def _field(model: str) -> bytes:
    return f'"model":{json.dumps(model)}'.encode()


def _take_usage(events: bytes, record: RequestRecord, keep: bool) -> bytes:
    """Read the chunk that holds only the usage, and leave it out unless the caller asked for it."""
    kept = []
    for event in events.split(b"\n\n")[:-1]:
        if event.startswith(b"data: {"):
            chunk = json.loads(event[6:])
            if chunk.get("choices") == [] and chunk.get("usage"):
                _count(record, chunk["usage"])
                if not keep:
                    continue
        kept.append(event + b"\n\n")
    return b"".join(kept)


def _translated(status: int, body: bytes, target: Target) -> Refusal:
    """vLLM's error in OpenAI's shape, with the name that the caller used."""
    try:
        error = json.loads(body)["error"]
        message, param = str(error["message"]), error.get("param")
    except (ValueError, KeyError, TypeError):
        message, param = "the engine could not answer", None
    message = message.replace(target.model, target.asked)
    if status in (400, 413, 422):
        code = "context_length_exceeded" if "context length" in message or "max_model_len" in message else None
        return Refusal(400, message, param=str(param).removeprefix("body.") if param else None, code=code)
    return unavailable(f"the engine for {target.task} could not answer ({status}); try again")
