"""Who is there: users with hashed passwords in a file, signed cookies, or the header of a proxy that signs people in.

    home("users.json")    {"anna": {"role": "rater", "salt": "…", "hash": "…"}}     readable by its owner alone
    home("pages.key")     the key that cookies are signed with

A password is kept as scrypt (n=2^14, r=8, p=1). A cookie names the user, ends after DAYS, and dies with the password.
Identity comes from the server's side only; what a page sends never says who sends it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fastapi import Request

from factory.errors import InputError
from factory.home import home, locked, write_file
from factory.strict import nearest

Role = Literal["rater", "lead"]
ROLES: tuple[Role, ...] = ("rater", "lead")
COOKIE = "factory_pages"
DAYS = 7
SHORTEST = 8  # characters of a password
WAIT = 2.0  # seconds until a name may be tried again after a wrong password, doubled each time up to a minute


@dataclass(frozen=True)
class User:
    name: str
    role: Role

    @property
    def leads(self) -> bool:
        return self.role == "lead"


class Users:
    """The users' file, read again when it changes. `proxy_header` names the header that a proxy puts the name into."""

    def __init__(self, proxy_header: str = "") -> None:
        self.path = home("users.json")
        self.proxy_header = proxy_header
        self._known: tuple[int, dict[str, Any]] = (-1, {})
        self._wrong: dict[str, tuple[int, float]] = {}

    def all(self) -> dict[str, dict[str, Any]]:
        stamp = self.path.stat().st_mtime_ns if self.path.exists() else 0
        if self._known[0] != stamp:
            self._known = (stamp, json.loads(self.path.read_text()) if stamp else {})
        return self._known[1]

    def add(self, name: str, password: str, role: str) -> User:
        """Add a user, or give one a new password. InputError for a name, role or password that will not do."""
        if role not in ROLES:
            raise InputError(f"no role {role!r}{nearest(role, ROLES)}")
        if not name or len(name) > 100 or not name.replace("@", "a").replace(".", "a").replace("-", "a").isalnum():
            raise InputError(f"{name!r} is no name: letters, digits, and .-@ between them")
        if len(password) < SHORTEST:
            raise InputError(f"a password needs at least {SHORTEST} characters")
        salt = secrets.token_hex(16)
        self._change(name, {"role": role, "salt": salt, "hash": _hash(password, salt)})
        return User(name, role)

    def set_role(self, name: str, role: str) -> None:
        if role not in ROLES or name not in self.all():
            raise InputError(f"there is no user {name!r} or no role {role!r}")
        self._change(name, {**self.all()[name], "role": role})

    def remove(self, name: str) -> None:
        """Take a user's access away; what they rated stays."""
        if name not in self.all():
            raise InputError(f"there is no user {name!r}{nearest(name, self.all())}")
        self._change(name, None)

    def check(self, name: str, password: str) -> User | None:
        """The user if the password is right. The same work is done for names that do not exist."""
        known = self.all().get(name, {})
        right = hmac.compare_digest(_hash(password, known.get("salt", "")), known.get("hash", "x"))
        if known and right:
            self._wrong.pop(name, None)
            return User(name, known["role"])
        if len(self._wrong) > 10_000:
            self._wrong.clear()
        count = self._wrong.get(name, (0, 0.0))[0] + 1
        self._wrong[name] = (count, time.monotonic() + min(60.0, WAIT ** min(count, 6)))
        return None

    def blocked(self, name: str) -> float:
        """Seconds until this name may be tried again."""
        return max(0.0, self._wrong.get(name, (0, 0.0))[1] - time.monotonic())

    def of(self, request: Request) -> User | None:
        """Who sent a request."""
        if self.proxy_header:
            name = request.headers.get(self.proxy_header, "")[:100]
            return User(name, self.all().get(name, {}).get("role", "rater")) if name else None
        name, _, rest = request.cookies.get(COOKIE, "").partition("|")
        until, _, signature = rest.partition("|")
        known = self.all().get(name)
        if not known or not hmac.compare_digest(self._sign(name, until, known), signature):
            return None
        return User(name, known["role"]) if until.isdigit() and int(until) > time.time() else None

    def cookie(self, user: User) -> str:
        until = str(int(time.time() + DAYS * 86400))
        return f"{user.name}|{until}|{self._sign(user.name, until, self.all()[user.name])}"

    def _sign(self, name: str, until: str, known: dict[str, Any]) -> str:
        text = "\x1f".join((name, until, known["salt"]))
        return hmac.new(_key(), text.encode(), hashlib.sha256).hexdigest()

    def _change(self, name: str, value: dict[str, Any] | None) -> None:
        with locked(self.path):
            users = json.loads(self.path.read_text()) if self.path.exists() else {}
            users.pop(name, None)
            if value is not None:
                users[name] = value
            write_file(self.path, json.dumps(users, indent=2, ensure_ascii=False) + "\n")
            os.chmod(self.path, 0o600)


def _hash(password: str, salt: str) -> str:
    return hashlib.scrypt(password.encode(), salt=salt.encode(), n=2**14, r=8, p=1, maxmem=2**26).hex()


def _key() -> bytes:
    path = Path(home("pages.key"))
    if not path.exists():
        with locked(path):
            if not path.exists():
                write_file(path, secrets.token_hex(32))
                os.chmod(path, 0o600)
    return path.read_bytes()
