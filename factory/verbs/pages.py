"""`factory demo` and `factory rate`: the two pages, and the users of the second."""

import getpass
import os
import secrets
import sys
from collections.abc import Callable
from typing import Any

from factory.errors import InputError
from factory.terminal import err, out
from factory.verbs.table import whole
from serve import demo as demos
from serve import rater, remote
from serve.pages.ask import Server
from serve.pages.auth import Users


def demo(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Show the demo until Ctrl-C. Without `url` it asks the server that runs over this home, else port 8000."""
    running = remote.address() or {}
    url = arguments.get("url") or f"{running.get('url', 'http://127.0.0.1:8000')}/v1"
    if not url.startswith(("http://", "https://")):
        raise InputError(f"url={url}: an address begins with http:// or https://")
    key = _environment(arguments["key_env"]) if "key_env" in arguments else ""
    admin = arguments.get("admin") or ("" if "url" in arguments else running.get("admin", ""))
    options = demos.Options(Server(url.rstrip("/"), key), admin)
    demos.run(options, *_where(arguments, "7860"), _say(f"demo of {url}"))
    err.print("stopped")
    return {"stopped": True}


def rate(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Show the rater page until Ctrl-C, or change its users."""
    users = Users()
    if name := arguments.get("add_user"):
        password, made = _password(name)
        user = users.add(name, password, arguments.get("role", "rater"))
        said = f"{user.name} is a {user.role} now{f'; the password is {password}' if made else ''}"
        out(quiet).print(said, soft_wrap=True)
        return {"user": user.name, "role": user.role, **({"password": password} if made else {})}
    if name := arguments.get("remove_user"):
        users.remove(name)
        out(quiet).print(f"{name} can no longer sign in; what they rated stays")
        return {"removed": name}
    header = arguments.get("proxy_header", "")
    if not users.all() and not header:
        raise InputError("nobody can sign in yet; make a lead first: factory rate add_user=name role=lead")
    rater.run(header, *_where(arguments, "7861"), _say("rating"))
    err.print("stopped")
    return {"stopped": True}


def _password(name: str) -> tuple[str, bool]:
    """The password that was typed or piped in; an empty one stands for a new random one (True)."""
    if sys.stdin.isatty():
        given = getpass.getpass(f"password for {name} (empty: make one): ")
    else:
        given = sys.stdin.readline().rstrip("\n")
    return (given, False) if given else (secrets.token_urlsafe(9), True)


def _say(what: str) -> Callable[[str], None]:
    return lambda address: err.print(f"{what} at {address}; Ctrl-C stops it", soft_wrap=True)


def _where(arguments: dict[str, str], port: str) -> tuple[str, int]:
    return arguments.get("host", "127.0.0.1"), whole("port", arguments.get("port", port), 0, 65535)


def _environment(name: str) -> str:
    if not (value := os.environ.get(name)):
        raise InputError(f"key_env={name}: this environment variable is not set")
    return value
