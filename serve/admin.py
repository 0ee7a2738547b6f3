"""The admin API: a listener of its own, tokens with scopes, and every change written to an audit log.

    GET  /admin/state                              read     what is served, how fast, what waits
    POST /admin/load      {version}                load     load a version that no alias means yet
    POST /admin/promote   {version share expected} promote  make it live, or with a share the canary, if
                                                            the gate lets it
    POST /admin/rollback  {task}                   promote  back to the version before
    POST /admin/shadow    {task version}           promote  copy requests to a version ("" ends it)

Tokens are the keys of `serve/keys.json` that have `admin` scopes, and one that lives as long as the server and lies in
`serve/server.json`, readable by its owner alone: with it the command line finds and commands the running server. Only
that one may override the gate, with `force`, the reason.
"""

import asyncio
import hmac
import json
import logging
import os
from datetime import UTC, datetime
from typing import Any

from factory.errors import FactoryError, GateRefused, InputError
from factory.home import home
from factory.registry.preflight import Refused
from serve.auth import Keys
from serve.control import Control
from serve.engine import EngineError
from serve.metrics import Metrics
from serve.replies import Receive, Refusal, Scope, Send, failed, header, read_body, refuse, reply_json

log = logging.getLogger("serve.admin")
OWNER = "(owner)"  # no key can have this name
SCOPES = {
    "/admin/state": ("GET", "read", ()),
    "/admin/load": ("POST", "load", ("version",)),
    "/admin/promote": ("POST", "promote", ("version",)),
    "/admin/rollback": ("POST", "promote", ("task",)),
    "/admin/shadow": ("POST", "promote", ("task", "version")),
}


class Admin:
    """The application. `token` is the running server's own."""

    def __init__(self, control: Control, keys: Keys, metrics: Metrics, token: str) -> None:
        self.control, self.keys, self.metrics, self.token = control, keys, metrics, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            await reply_json(send, 200, await self._answer(scope, receive))
        except Refusal as refusal:
            await refuse(send, refusal)
        except FactoryError as error:
            await refuse(send, Refusal(_status(error), str(error), code=type(error).__name__))
        except Exception as error:
            log.exception("an admin request failed")
            await refuse(send, failed(error))

    async def _answer(self, scope: Scope, receive: Receive) -> dict[str, Any]:
        path = scope["path"]
        if path not in SCOPES:
            raise Refusal(404, f"there is no {path[:200]}", code="unknown_url")
        method, wanted, needs = SCOPES[path]
        who = self._who(scope, wanted)
        if scope["method"] != method:
            raise Refusal(405, f"{path} takes {method}", code="method_not_allowed")
        if method == "GET":
            return await state(self.control, self.metrics)
        order = _order(await read_body(receive), needs)
        try:
            result = await self._do(path, order, who)
        except BaseException as error:
            _audit(who, path, order, f"{type(error).__name__}: {error}")
            raise
        _audit(who, path, order, "done")
        return result

    async def _do(self, path: str, order: dict[str, Any], who: str) -> dict[str, Any]:
        control = self.control
        if path == "/admin/load":
            return await control.load(order["version"])
        if path == "/admin/rollback":
            return await control.rollback(order["task"])
        if path == "/admin/shadow":
            return await control.shadow(order["task"], order["version"])
        share, expected = order.get("share", 1.0), order.get("expected")
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise Refusal(400, "share is a number from 0 to 1", param="share")
        if not isinstance(expected, int | None):
            raise Refusal(400, "expected is the generation, a whole number", param="expected")
        force = order.get("force") or ""
        if not isinstance(force, str):
            raise Refusal(400, "force is the reason, as text", param="force")
        if force and who != OWNER:
            raise Refusal(403, "only the server's owner overrides the gate, on its machine", code="scope_missing")
        return await control.promote(order["version"], share=share, expected=expected, force=force)

    def _who(self, scope: Scope, wanted: str) -> str:
        """The name behind the token. Refusal 401 without a valid one, 403 if its scopes do not allow this."""
        scheme, _, secret = header(scope, b"authorization").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(secret.encode(), self.token.encode()):
            return OWNER
        caller = self.keys.find(header(scope, b"authorization"))
        if caller is None or caller.key is None:
            raise Refusal(401, "give a valid admin token: Authorization: Bearer …", code="invalid_api_key")
        if wanted not in caller.key.admin:
            raise Refusal(403, f"this token does not allow {wanted}", code="scope_missing")
        return caller.name


async def state(control: Control, metrics: Metrics) -> dict[str, Any]:
    """Everything that `factory top` shows. Times in seconds; what was not measured is null."""
    replicas = [replica for _, replica in control.loading.engines()]
    ready = [replica for replica in replicas if replica.ready]
    held = dict(zip(ready, await asyncio.gather(*(replica.engine.resident() for replica in ready)), strict=True))
    return {
        "engines": [
            {
                "base": pool.name,
                "replica": number,
                "ready": replica.ready,
                "running": replica.admission.running,
                "waiting": replica.admission.waiting(),
                "adapters": len(pool.wanted),
                "resident": held.get(replica),
                "restarts": replica.restarts,
            }
            for pool in control.loading.pools.values()
            for number, replica in enumerate(pool.replicas)
        ],
        "tasks": [
            {
                **control.describe(task),
                "versions": len(registry.versions),
                "running": sum(replica.admission.places(task) for replica in replicas),
                "waiting": sum(replica.admission.waiting(task) for replica in replicas),
                **metrics.summary(task),
            }
            for task, registry in sorted(control.routes.registries.items())
        ],
        "leases": sum(control.loading.leases.values()),
    }


def _order(body: bytes, needs: tuple[str, ...]) -> dict[str, Any]:
    try:
        order = json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(400, "the body is not valid JSON", code="invalid_json") from None
    if not isinstance(order, dict) or any(not isinstance(order.get(name), str) for name in needs):
        raise Refusal(400, f"give a JSON object with {', '.join(needs)} as text", code="invalid_json")
    return order


def _status(error: FactoryError) -> int:
    """409 is left for a compare-and-swap that came too late."""
    known: dict[type[FactoryError], int] = {InputError: 400, Refused: 422, GateRefused: 422, EngineError: 503}
    return next((status for kind, status in known.items() if isinstance(error, kind)), 409)


def _audit(who: str, path: str, order: dict[str, Any], outcome: str) -> None:
    line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "who": who, "what": path, "order": order}
    log.info("%s %s %s: %s", who, path, order, outcome)
    with open(home("serve", "audit.jsonl"), "a", encoding="utf-8") as file:
        file.write(json.dumps({**line, "outcome": outcome[:1000]}, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
