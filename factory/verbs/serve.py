"""`factory serve` and `factory key`: all promoted versions behind one address, and who may ask there for what."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from factory.errors import InputError
from factory.registry.follow import following
from factory.terminal import err, out, table
from serve import auth, remote, server
from serve import top as live


def serve(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Serve until Ctrl-C or SIGTERM; with `registry=`, what its aliases mean is what they come to mean here."""
    given: dict[str, Any] = {name: arguments[name] for name in ("host", "base") if name in arguments}
    given |= {name: _number(name, arguments[name]) for name in ("port", "admin_port", "replicas") if name in arguments}
    registry = arguments.get("registry")
    with following(registry, lambda text: err.print(text)) if registry else nullcontext():
        server.serve(server.Options(**given))
    return {"stopped": True}


def key(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Make, revoke or list keys; the secret of a new one is shown once and kept nowhere."""
    console = out(quiet)
    name = arguments.get("name", "")
    if arguments["action"] == "list":
        keys = [k.model_dump(mode="json", exclude={"sha256"}) for k in auth.read_keys(auth.keys_file())]
        columns = list(keys[0]) if keys else ["name"]
        console.print(table("", columns, [[str(k[column]) for column in columns] for k in keys]))
        return {"keys": keys}
    if not name:
        raise InputError(f"factory key {arguments['action']} needs name=… (who the key is for)")
    if arguments["action"] == "revoke":
        auth.revoke_key(name)
        console.print(f"the key of {name} is refused from now on")
        return {"revoked": name}
    limits: dict[str, Any] = {n: _number(n, arguments[n]) for n in ("rpm", "tpm", "concurrent") if n in arguments}
    limits |= {n: arguments[n].split(",") for n in ("tasks", "admin") if n in arguments}
    secret = auth.new_key(name, **limits)
    console.print(f"{secret}\nThis is shown once. Callers send it as their API key.")
    return {"name": name, "secret": secret}


def _number(name: str, text: str) -> int:
    if not text.isdecimal():
        raise InputError(f"{name}={text}: must be a whole number")
    return int(text)


def top(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """A live view of the running server until Ctrl-C; with `--json` its state once."""
    if quiet:
        state = remote.state()
        if state is None:
            raise InputError("no server is running here: factory serve")
        return state
    live.top()
    return {}
