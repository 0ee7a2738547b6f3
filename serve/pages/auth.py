"""Who is there: users with hashed passwords and their sessions in files, or the header of a proxy that signs people in.

    home("users.json")      {"anna": {"role": "rater", "salt": "…", "hash": "…"}}     readable by its owner alone
    home("sessions.json")   {"<sha256 of the cookie>": {"user": "anna", "salt": "…", "until": 1790000000}}

A password is kept as scrypt (n=2^14, r=8, p=1). A session ends after DAYS, with the sign-out, and with the password.
Identity comes from the server's side only; what a page sends never says who sends it.
"""

import hashlib
import hmac
import json
import secrets
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fastapi import Request

from factory.errors import InputError
from factory.home import PRIVATE, home, locked, write_json
from factory.strict import nearest

Role = Literal["rater", "lead"]
ROLES: tuple[Role, ...] = ("rater", "lead")
COOKIE = "factory_pages"
DAYS = 7
SHORTEST = 8  # characters of a password
WAIT = 2.0  # seconds until a name may be tried again after a wrong password, doubled each time up to a minute
FORGET = 20.0  # seconds after which one wrong password is forgotten: one a minute keeps nobody out
Entries = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class User:
    name: str
    role: Role

    @property
    def leads(self) -> bool:
        return self.role == "lead"


class Users:
    """Users and sessions, read again when their file changes. `proxy_header`: where a proxy puts the name."""

    def __init__(self, proxy_header: str = "") -> None:
        self.path, self.sessions = home("users.json"), home("sessions.json")
        self.proxy_header = proxy_header
        self._known: dict[Path, tuple[tuple[int, int], Entries]] = {}
        self._wrong: dict[tuple[str, str], tuple[float, float]] = {}

    def all(self) -> Entries:
        return self._read(self.path)

    def add(self, name: str, password: str, role: str) -> User:
        """Add a user, or give one a new password. InputError for a name, role or password that will not do."""
        name = _normal(name)
        if role not in ROLES:
            raise InputError(f"no role {role!r}{nearest(role, ROLES)}")
        if not name or len(name) > 100 or not all(c in ".-@" or unicodedata.category(c)[0] in "LNM" for c in name):
            raise InputError(f"{name!r} is no name: letters, digits, and .-@ between them")
        if len(password) < SHORTEST:
            raise InputError(f"a password needs at least {SHORTEST} characters")
        salt = secrets.token_hex(16)
        self._put(name, {"role": role, "salt": salt, "hash": _hash(password, salt)})
        return User(name, role)

    def set_role(self, name: str, role: str) -> None:
        if role not in ROLES or name not in self.all():
            raise InputError(f"there is no user {name!r} or no role {role!r}")
        self._put(name, {**self.all()[name], "role": role})

    def remove(self, name: str) -> None:
        """Take a user's access away; what they rated stays."""
        name = _normal(name)
        if name not in self.all():
            raise InputError(f"there is no user {name!r}{nearest(name, self.all())}")
        self._put(name, None)

    def check(self, name: str, password: str, address: str = "") -> User | None:
        """The user if the password is right. The same work is done for names that do not exist."""
        name = _normal(name)
        known = self.all().get(name, {})
        right = hmac.compare_digest(_hash(password, known.get("salt", "")), known.get("hash", "x"))
        if known and right:
            self._wrong.pop((name, address), None)
            return User(name, known["role"])
        if len(self._wrong) > 10_000:
            self._wrong.clear()
        self._wrong[name, address] = (min(6.0, self._count(name, address) + 1), time.monotonic())
        return None

    def blocked(self, name: str, address: str = "") -> float:
        """Seconds until this name may be tried again from this address. Nobody elsewhere is kept waiting by it."""
        name = _normal(name)
        count, last = self._wrong.get((name, address), (0.0, 0.0))
        return max(0.0, last + min(60.0, WAIT**count) - time.monotonic()) if count else 0.0

    def of(self, request: Request) -> User | None:
        """Who sent a request."""
        if self.proxy_header:
            name = _normal(_utf8(request.headers.get(self.proxy_header, "")))[:100]
            return User(name, self.all().get(name, {}).get("role", "rater")) if name else None
        session = self._read(self.sessions).get(_name_of(request.cookies.get(COOKIE, "")))
        known = self.all().get(session["user"]) if session and session["until"] > time.time() else None
        return User(session["user"], known["role"]) if session and known and known["salt"] == session["salt"] else None

    def sign_in(self, user: User) -> str:
        """A new session; its cookie, of which only the hash is kept."""
        cookie, now = secrets.token_urlsafe(32), time.time()
        session = {"user": user.name, "salt": self.all()[user.name]["salt"], "until": now + DAYS * 86400}

        def change(sessions: Entries) -> Entries:
            return {k: v for k, v in sessions.items() if v["until"] > now} | {_name_of(cookie): session}

        self._change(self.sessions, change)
        return cookie

    def sign_out(self, request: Request) -> None:
        """End the session that a request belongs to: its cookie is nobody's from now on, whoever has a copy."""
        ended = _name_of(request.cookies.get(COOKIE, ""))
        if ended in self._read(self.sessions):
            self._change(self.sessions, lambda sessions: {k: v for k, v in sessions.items() if k != ended})

    def _count(self, name: str, address: str) -> float:
        count, last = self._wrong.get((name, address), (0.0, 0.0))
        return max(0.0, count - (time.monotonic() - last) / FORGET)

    def _put(self, name: str, value: dict[str, Any] | None) -> None:
        self._change(
            self.path, lambda users: {**users, name: value} if value else {k: v for k, v in users.items() if k != name}
        )

    def _read(self, path: Path) -> Entries:
        try:
            found = path.stat()
        except FileNotFoundError:
            return {}
        stamp = (found.st_mtime_ns, found.st_ino)
        if path not in self._known or self._known[path][0] != stamp:
            self._known[path] = (stamp, json.loads(path.read_text()))
        return self._known[path][1]

    def _change(self, path: Path, change: Callable[[Entries], Entries]) -> None:
        with locked(path):
            write_json(path, change(json.loads(path.read_text()) if path.exists() else {}), PRIVATE)


def _normal(name: str) -> str:
    """One form for what can be typed in two: an é as a letter, or as an e and an accent."""
    return unicodedata.normalize("NFC", name)


def _utf8(header: str) -> str:
    """A header's bytes are read as Latin-1; those of a name are UTF-8, as far as they can be."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header


def _name_of(cookie: str) -> str:
    return hashlib.sha256(cookie.encode(errors="replace")).hexdigest()


def _hash(password: str, salt: str) -> str:
    return hashlib.scrypt(password.encode(errors="replace"), salt=salt.encode(), n=2**14, r=8, p=1, maxmem=2**26).hex()
