"""ASGI in small: a request's headers and body, answers in JSON, and errors in OpenAI's shape.

    {"error": {"message": …, "type": …, "param": …, "code": …}}

The official clients turn them into their own exceptions by the status alone; `message` says what to do.
"""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from factory.errors import of_the_disk

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_BODY = 4 * 2**20  # bytes of a request
BODY_LIMIT = 30.0  # seconds a caller may take to send it
TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    503: "service_unavailable",
}


class Refusal(Exception):
    """The request is answered with this error. `retry_after` in seconds goes into the header of the same name."""

    def __init__(
        self, status: int, message: str, *, code: str | None = None, param: str | None = None, retry_after: float = 0
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param, self.retry_after = status, message, code, param, retry_after

    def body(self) -> dict[str, Any]:
        kind = TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def headers(self) -> dict[str, str]:
        return {"retry-after": str(math.ceil(self.retry_after))} if self.retry_after else {}


def unavailable(why: str) -> Refusal:
    """503: it is our side that cannot answer now."""
    return Refusal(503, why, code="engine_unavailable", retry_after=5)


def failed(error: Exception) -> Refusal:
    """What a caller is told of a fault of ours: that the disk is full, of all else only that there was one."""
    if why := of_the_disk(error):
        return Refusal(503, f"the server cannot write to its disk: {why.rpartition(': ')[2]}", code="disk")
    return Refusal(500, "something went wrong here; the log says more", code="internal")


async def start(send: Send, status: int, headers: dict[str, str]) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})


async def reply(send: Send, status: int, body: bytes, headers: dict[str, str]) -> None:
    await start(send, status, {"content-length": str(len(body)), **headers})
    await send({"type": "http.response.body", "body": body})


async def reply_json(send: Send, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
    body = json.dumps(value, ensure_ascii=False).encode()
    await reply(send, status, body, {"content-type": "application/json", **(headers or {})})


async def refuse(send: Send, refusal: Refusal, headers: dict[str, str] | None = None) -> None:
    await reply_json(send, refusal.status, refusal.body(), {**refusal.headers(), **(headers or {})})


def header(scope: Scope, name: bytes) -> str:
    """The first header of this (lower-case) name, or an empty text."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


async def read_body(receive: Receive) -> bytes:
    """The request's body. Refusal 413 if it is too large, 408 if it takes too long."""
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_LIMIT):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refusal(400, "the request ended early", code="incomplete")
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > MAX_BODY:
                    raise Refusal(413, f"the body is larger than {MAX_BODY} bytes", code="too_large")
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError:
        raise Refusal(408, f"the body did not come within {BODY_LIMIT:.0f} s", code="timeout") from None
