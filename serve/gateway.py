"""The one public listener: OpenAI's API over all versions, as an ASGI application.

    GET  /v1/models   /v1/models/{name}   /metrics   /openapi.json
    GET  /health   /health/live   /health/ready   /health/base/{name}
    POST /v1/chat/completions   /v1/completions

Per request: who asks → one snapshot of the routes → the version that `model=` means → may this caller → lease → a fair
turn → its prompt, defaults and labels → the engine → the answer relayed as it comes → everything given back. A caller
that hangs up ends the generation. No other path exists, and nothing a caller sends ends in a bare 500.
"""

import asyncio
import logging
import secrets
import time
from typing import Any
from urllib.parse import unquote

from factory.registry.preflight import Refused
from factory.registry.store import SHORT
from serve import replies
from serve.auth import Caller, Keys
from serve.control import Control
from serve.engine import EngineError
from serve.exposition import exposition
from serve.forward import Call, forward
from serve.logs import access
from serve.metrics import HUNG_UP, Metrics, RequestRecord
from serve.openapi import openapi
from serve.pool import Replica
from serve.replies import Receive, Refusal, Scope, Send, header, read_body, refuse, reply, reply_json, unavailable
from serve.routing import Target
from serve.schema import REQUESTS
from serve.shadow import Shadow
from serve.shape import answers, complete, is_long, parse, refuse_tools
from serve.telemetry import Traces

log = logging.getLogger("serve.gateway")


class Gateway:
    """The application over a `control` that says what there is."""

    def __init__(self, control: Control, keys: Keys, metrics: Metrics, traces: Traces) -> None:
        self.control, self.keys, self.metrics, self.traces = control, keys, metrics, traces
        self.shadow = Shadow(control, metrics)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        tag, record = {"x-request-id": _request_id(scope)}, RequestRecord()
        with self.traces.request(scope, record, tag) as onward:
            call = Call(scope["path"], send, tag, onward, record)
            try:
                await self._answer(scope, receive, call)
            except Refusal as refusal:
                record.status = refusal.status
                self.metrics.rejects.labels(refusal.code or str(refusal.status)).inc()
                await refuse(send, refusal, tag)
            except Exception as error:
                log.exception("request %s failed", tag["x-request-id"])
                await refuse(send, replies.failed(error), tag)
        if call.left:
            record.status = HUNG_UP
        if call.path in REQUESTS:
            record.seconds = time.monotonic() - record.at
            self.metrics.count(record)
            access(tag["x-request-id"], call.path, record)

    async def _answer(self, scope: Scope, receive: Receive, call: Call) -> None:
        path, method, send, tag = call.path, scope["method"], call.send, call.tag
        wanted = "POST" if path in REQUESTS else "GET"
        public = path == "/openapi.json" or f"{path}/".startswith("/health/")
        caller = self.keys.everybody if public else self.keys.caller(scope)
        if not (public or path in (*REQUESTS, "/v1/models", "/metrics") or path.startswith("/v1/models/")):
            raise Refusal(404, f"there is no {method[:20]} {path[:200]}", code="unknown_url")
        if method != wanted:
            raise Refusal(405, f"{path} takes {wanted}, not {method[:20]}", code="method_not_allowed")
        if path in REQUESTS:
            await self._generate(caller, receive, call)
        elif path == "/metrics":
            caller.check_reading()
            text = await exposition(self.control, self.metrics)
            await reply(send, 200, text, {"content-type": "text/plain; version=0.0.4; charset=utf-8", **tag})
        elif public:
            health = path.removeprefix("/health").strip("/")
            status, said = (200, openapi()) if path == "/openapi.json" else self._health(health)
            await reply_json(send, status, said, tag)
        elif path == "/v1/models":
            routes = self.control.routes
            names = [name for name in routes.models() if caller.may(routes.resolve(name))]
            await reply_json(send, 200, {"object": "list", "data": [self._card(name) for name in names]}, tag)
        else:
            name = unquote(path.removeprefix("/v1/models/"))
            self._target(caller, name)
            await reply_json(send, 200, self._card(name), tag)

    async def _generate(self, caller: Caller, receive: Receive, call: Call) -> None:
        asked, record = parse(await read_body(receive), call.path), call.record
        record.key = caller.name
        target = self._target(caller, asked["model"], str(asked.get("user") or call.inner))
        record.task = target.task
        record.version = target.version.sha[:SHORT] if target.version else "base"
        with caller.admitted():
            try:
                await self._leased(call, asked, target, receive)
            finally:  # also what a caller did not wait for was generated
                caller.spent(record.prompt + record.completion)

    def _target(self, caller: Caller, name: str, who: str = "") -> Target:
        """What `name` means, if this caller may ask it. `who` gets the same side of a canary each time."""
        caller.check_task(name.partition("@")[0])
        target = self.control.routes.resolve(name, who, caller.sees)
        caller.check(target)
        return target

    async def _leased(self, call: Call, asked: dict[str, Any], target: Target, receive: Receive) -> None:
        """Answer while holding a lease, so that the version stays loaded; a caller that hangs up cancels the work."""
        control = self.control
        request = complete(asked, target.model, target.version.facts if target.version else None)
        work, gone = asyncio.current_task(), asyncio.create_task(_hung_up(receive, call, answers(asked)))
        assert work is not None
        gone.add_done_callback(lambda task: task.cancelled() or work.cancel())
        control.loading.leases[target.model] += 1
        running = self.metrics.in_flight.labels(call.record.task, call.record.version)
        running.inc()
        try:
            pool = await control.ready(target)
            request = pool.harmless(request)
            if not pool.tools:
                refuse_tools(asked, pool.name)
            self.shadow.copy(call.path, asked, target)
            tried: set[Replica] = set()
            while True:
                replica = pool.pick(target.model, tried)
                try:
                    wanted = (target.task, target.adapter, call.record.key, answers(asked), is_long(request))
                    async with replica.admission.turn(*wanted) as held:
                        return await forward(replica.engine, call, target, {**request, "priority": held}, asked)
                except Refusal as refusal:  # nothing was sent yet: another replica may answer
                    tried.add(replica)
                    if refusal.code != "engine_unavailable" or set(pool.ready()) <= tried:
                        raise
        except Refused as error:
            why = f"the model {target.asked!r} cannot be served: {error}"
            raise Refusal(404, why, code="model_not_found", param="model") from None
        except EngineError as error:
            log.warning("%s", error)
            raise unavailable(f"the engine for {target.task} cannot answer now; try again soon") from None
        except asyncio.CancelledError:
            if not gone.done() or gone.cancelled():  # it is the server that stops
                raise
            call.record.status = HUNG_UP
        finally:
            gone.cancel()
            running.dec()
            control.loading.leases[target.model] -= 1
            control.loading.used[target.model] = time.monotonic()

    def _health(self, what: str) -> tuple[int, dict[str, Any]]:
        """Status and body: of the server, of its being ready (any base answers), or of one base."""
        bases = {
            pool.name: {"ready": len(pool.ready()), "of": len(pool.replicas)}
            for pool in self.control.loading.pools.values()
        }
        if what == "live":
            return 200, {"status": "ok"}
        if what in ("", "ready"):
            ready = any(base["ready"] for base in bases.values())
            return 200 if ready else 503, {"status": "ok" if ready else "starting", "bases": bases}
        base = bases.get(unquote(what.removeprefix("base/"))) if what.startswith("base/") else None
        if base is None:
            raise Refusal(404, f"there is no /health/{what[:200]}", code="unknown_url")
        return 200 if base["ready"] else 503, {"status": "ok" if base["ready"] else "starting", **base}

    def _card(self, name: str) -> dict[str, Any]:
        """OpenAI's model object, with what a name stands for in `root`."""
        target = self.control.routes.resolve(name)
        return {"id": name, "object": "model", "created": 0, "owned_by": "adapter-factory", "root": target.label}


async def _hung_up(receive: Receive, call: Call, answers: int) -> None:
    """Wait until the caller leaves, and note what was generated for it."""
    while (await receive())["type"] != "http.disconnect":
        pass
    await call.hung_up(answers)


def _request_id(scope: Scope) -> str:
    """The caller's X-Request-Id if it is a plain one, else a new one."""
    given = header(scope, b"x-request-id")
    plain = 0 < len(given) <= 64 and given.isascii() and given.replace("-", "").isalnum()
    return given if plain else secrets.token_hex(12)
