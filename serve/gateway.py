"""The one public listener: OpenAI's API over all versions, as an ASGI application.

    GET  /v1/models   /v1/models/{name}   /health
    POST /v1/chat/completions   /v1/completions

Per request: one snapshot of the routes → the version that `model=` means → its prompt, defaults and labels → the
engine → the answer relayed as it comes. A caller that hangs up ends the generation. No other path exists.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any
from urllib.parse import unquote

from serve.engine import Engine, EngineError
from serve.forward import forward
from serve.replies import Receive, Refusal, Scope, Send, refuse, reply_json, unavailable
from serve.routing import Routes, Target
from serve.shape import FIELDS, complete, parse

MAX_BODY = 4 * 2**20  # bytes of a request
BODY_LIMIT = 30.0  # seconds a caller may take to send it


class Gateway:
    """The application. `routes` is replaced whole when a version or an alias changes."""

    def __init__(self) -> None:
        self.routes = Routes()
        self.engines: dict[str, Engine] = {}  # by the base's fingerprint
        self.loading: dict[str, asyncio.Lock] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        tag = {"x-request-id": _request_id(scope)}
        try:
            await self._answer(scope, receive, send, tag)
        except Refusal as refusal:
            await refuse(send, refusal, tag)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, tag: dict[str, str]) -> None:
        path, method = scope["path"], scope["method"]
        if path in FIELDS:
            _expect(method, "POST", path)
            await self._generate(path, receive, send, tag)
        elif path == "/v1/models":
            _expect(method, "GET", path)
            await reply_json(send, 200, {"object": "list", "data": [self._card(m) for m in self.routes.models()]}, tag)
        elif path.startswith("/v1/models/"):
            _expect(method, "GET", path)
            asked = unquote(path.removeprefix("/v1/models/"))
            self.routes.resolve(asked)
            await reply_json(send, 200, self._card(asked), tag)
        elif path == "/health":
            ready = bool(self.engines) and all(engine.alive() for engine in self.engines.values())
            await reply_json(send, 200 if ready else 503, {"status": "ok" if ready else "starting"}, tag)
        else:
            raise Refusal(404, f"there is no {method} {path[:200]}", code="unknown_url")

    async def _generate(self, path: str, receive: Receive, send: Send, tag: dict[str, str]) -> None:
        asked = parse(await read_body(receive), path)
        target = self.routes.resolve(asked["model"])
        engine = await self._loaded(target)
        request = complete(asked, target.model, target.version.facts if target.version else None)
        headers = {**tag, "x-adapter-version": target.label}
        work = asyncio.current_task()
        assert work is not None
        gone = asyncio.create_task(_disconnected(receive))
        gone.add_done_callback(lambda task: task.cancelled() or work.cancel())
        try:
            await forward(engine, path, request, asked, target, send, headers, lambda: None)
        except asyncio.CancelledError:
            if not gone.done():  # it is the server that stops
                raise
        finally:
            gone.cancel()

    async def _loaded(self, target: Target) -> Engine:
        """The engine of a target, with its version loaded."""
        engine = self.engines.get(target.fingerprint)
        if engine is None or not engine.alive():
            raise unavailable(f"the engine for {target.task} is not running; try again soon")
        if target.version is not None:
            lock = self.loading.setdefault(target.model, asyncio.Lock())
            async with lock:
                if target.model not in engine.loaded:
                    try:
                        await engine.load(target.model, target.version.folder)
                    except EngineError as error:
                        raise unavailable(str(error)) from None
        return engine

    def _card(self, name: str) -> dict[str, Any]:
        """OpenAI's model object, with what a name stands for."""
        target = self.routes.resolve(name)
        return {
            "id": name,
            "object": "model",
            "created": 0,
            "owned_by": "adapter-factory",
            "root": target.label,
        }


async def read_body(receive: Receive) -> bytes:
    """The request's body. Refusal 413 if it is too large, 408 if it takes too long."""
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_LIMIT):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refusal(400, "the request ended early")
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > MAX_BODY:
                    raise Refusal(413, f"the body is larger than {MAX_BODY} bytes", code="too_large")
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError:
        raise Refusal(408, f"the body did not come within {BODY_LIMIT:.0f} s", code="timeout") from None


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _expect(method: str, wanted: str, path: str) -> None:
    if method != wanted:
        raise Refusal(405, f"{path} takes {wanted}, not {method[:20]}", code="method_not_allowed")


def _request_id(scope: Scope) -> str:
    """The caller's X-Request-Id if it is a plain one, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and 0 < len(value) <= 64 and value.isascii() and value.replace(b"-", b"").isalnum():
            return str(value.decode("latin-1"))
    return secrets.token_hex(12)
