"""Answers of our own: JSON over ASGI, and errors in OpenAI's shape.

    {"error": {"message": …, "type": …, "param": …, "code": …}}

The official clients turn them into their own exceptions by the status alone; `message` says what to do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
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


def unavailable(why: str, retry_after: float = 5) -> Refusal:
    """503: it is our side that cannot answer now."""
    return Refusal(503, why, code="engine_unavailable", retry_after=retry_after)


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
