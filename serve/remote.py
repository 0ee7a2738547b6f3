"""Commands to the server that runs over this factory's home, for the command line. None means that none runs here: one
on another machine follows the registry on their disk by itself, and is not reached from here."""

import json
import platform
from typing import Any

from factory.errors import FactoryError, GateRefused, InputError
from factory.home import held, home


def address() -> dict[str, Any] | None:
    """`{"host", "pid", "url", "admin", "token"}` of the server that runs on this machine."""
    try:
        found = json.loads(home("serve", "server.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    here = "admin" in found and found.get("host") == platform.node() and held(home("serve", "server"))
    return dict(found) if here else None


def state() -> dict[str, Any] | None:
    """What the server serves and how fast (`serve.admin.state`)."""
    return _ask("state")


def promote(version: str, share: float = 1.0, expected: int | None = None, force: str = "") -> dict[str, Any] | None:
    """`Control.promote` there: the server asks the gate and moves the alias in the registry itself."""
    return _ask("promote", {"version": version, "share": share, "expected": expected, "force": force})


def rollback(task: str) -> dict[str, Any] | None:
    return _ask("rollback", {"task": task})


def shadow(task: str, version: str) -> dict[str, Any] | None:
    """Copy a task's requests to a version, for the record only; an empty version ends that."""
    return _ask("shadow", {"task": task, "version": version})


def _ask(what: str, order: dict[str, Any] | None = None) -> dict[str, Any] | None:
    import httpx

    server = address()
    if server is None:
        return None
    try:
        reply = httpx.request(
            "POST" if order else "GET",
            f"{server['admin']}/admin/{what}",
            json=order,
            headers={"authorization": f"Bearer {server['token']}"},
            timeout=1800,
            trust_env=False,
        )
        found = dict(reply.json())
    except (httpx.HTTPError, ValueError) as error:
        raise FactoryError(f"the running server (process {server['pid']}) does not answer: {error}") from None
    if reply.status_code == 200:
        return found
    message, code = found["error"]["message"], found["error"]["code"]
    if code == GateRefused.__name__:
        raise GateRefused(*message.split(": ", 1))
    raise (InputError if reply.status_code == 400 else FactoryError)(message)
