"""Who may ask for what, and how much: keys in a file as hashes, limits per key.

`serve/keys.json` in the factory's home holds, for each key, the sha256 of its secret (32 random bytes: no salt or slow
hash is needed), the tasks it allows and its limits. The file is read again when it changes. Without it there are no
keys: then the server listens on the loopback alone, and refuses what a web page on the same machine could send it.
"""

import hashlib
import json
import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from factory.errors import FactoryError, InputError, first_line
from factory.home import PRIVATE, home, locked, write_file
from factory.strict import Strict, nearest
from serve.replies import Refusal, Scope, header
from serve.routing import Target

log = logging.getLogger("serve.auth")
LOCAL = ("127.0.0.1", "localhost", "[::1]")


class Key(Strict):
    """One key as the file holds it. A limit of None is none.

    `tasks` holds tasks and bases, `*` means all: of these it may ask what is or was promoted, and the canary. Versions
    that never were are granted one by one (`summary@v3`) or all of a task (`summary@*`).
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    sha256: str
    tasks: list[str] = ["*"]
    rpm: float | None = Field(None, gt=0, description="requests a minute")
    tpm: float | None = Field(None, gt=0, description="tokens a minute, prompts and answers")
    concurrent: int | None = Field(None, ge=1, description="requests at once")
    admin: list[Literal["read", "load", "promote"]] = Field([], description="what it may do on the admin listener")


LIMITS: dict[str, object] = {"rpm": 600.0, "tpm": 200_000.0, "concurrent": 16}  # of new keys, unless told otherwise


def keys_file() -> Path:
    return home("serve", "keys.json")


def new_key(name: str, **limits: object) -> str:
    """Add a key and return its secret, which is shown once and kept nowhere. InputError if the name is taken.

    A limit that is not given is that of `LIMITS`; None is none.
    """
    secret = f"fk-{secrets.token_urlsafe(32)}"
    path = keys_file()
    try:
        key = Key.model_validate({"name": name, "sha256": _hash(secret), **LIMITS, **limits})
    except ValidationError as error:
        raise InputError(*(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())) from None
    with locked(path):
        keys = read_keys(path)
        if any(k.name == name for k in keys):
            raise InputError(f"there is a key {name!r} already: revoke it first, or take another name")
        _write(path, [*keys, key])
    return secret


def revoke_key(name: str) -> None:
    """Remove a key; a running server refuses it within a second."""
    path = keys_file()
    with locked(path):
        keys = read_keys(path)
        if not any(key.name == name for key in keys):
            raise InputError(f"there is no key {name!r}{nearest(name, [key.name for key in keys])}")
        _write(path, [key for key in keys if key.name != name])


def read_keys(path: Path) -> list[Key]:
    """The keys of the file, none if there is no file. FactoryError if it is damaged."""
    try:
        return [Key.model_validate(key) for key in json.loads(path.read_text())]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise FactoryError(f"{path} is damaged: {first_line(error)}") from None


@dataclass
class Bucket:
    """A token bucket: holds a minute's worth, refills evenly, may go below zero by one late booking."""

    per_minute: float
    level: float
    at: float

    def book(self, amount: float, what: str) -> None:
        """Take `amount`; Refusal 429 with the time to wait while the bucket is empty."""
        now = time.monotonic()
        self.level = min(self.per_minute, self.level + (now - self.at) * self.per_minute / 60)
        self.at = now
        if self.level <= 0 or self.level < min(amount, self.per_minute):
            wait = (min(amount or 1, self.per_minute) - self.level) * 60 / self.per_minute
            raise Refusal(
                429, f"over {self.per_minute:g} {what} a minute", code="rate_limit_exceeded", retry_after=wait
            )
        self.level -= amount


class Caller:
    """One key at work. The one without limits stands for everybody where there are no keys."""

    def __init__(self, key: Key | None) -> None:
        self.key, self.name = key, key.name if key else ""
        now = time.monotonic()
        self.requests = Bucket(key.rpm, key.rpm, now) if key and key.rpm else None
        self.tokens = Bucket(key.tpm, key.tpm, now) if key and key.tpm else None
        self.running = 0

    def sees(self, task: str) -> bool:
        """Whether the key has to do with a task or base at all. Of others it is not even told that they exist."""
        return self.key is None or any(grant.partition("@")[0] in ("*", task) for grant in self.key.tasks)

    def may(self, target: Target) -> bool:
        """Whether the key may ask this very version, or the base."""
        if self.key is None:
            return True
        task, tasks = target.task, self.key.tasks
        if target.standing and not {"*", task}.isdisjoint(tasks):
            return True
        return not {f"{task}@*", "*@*", *target.names}.isdisjoint(tasks)

    def check(self, target: Target) -> None:
        """Refusal 403 for what the key may not ask."""
        if not self.may(target):
            why = f"this key does not allow {target.asked!r}, which was never promoted: it needs tasks={target.asked}"
            raise Refusal(403, why, code="version_not_allowed", param="model")

    def check_task(self, task: str) -> None:
        """Refusal 403 for a task that the key has nothing to do with, whether there is one or not."""
        if not self.sees(task):
            raise Refusal(403, f"this key does not allow {task[:80]!r}", code="task_not_allowed", param="model")

    def check_reading(self) -> None:
        """Refusal 403 unless the key may see what all tenants do."""
        if self.key is not None and "read" not in self.key.admin:
            raise Refusal(403, "this needs a key that may read: factory key new admin=read", code="scope_missing")

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Count one request against the limits while it runs. Refusal 429 if one is reached."""
        most = self.key.concurrent if self.key else None
        if most and self.running >= most:
            raise Refusal(429, f"over {most} requests at once", code="concurrency_exceeded", retry_after=1)
        if self.tokens:
            self.tokens.book(0, "tokens")  # they are taken at its end
        if self.requests:
            self.requests.book(1, "requests")
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

    def spent(self, tokens: int) -> None:
        """Book the tokens of an answer, known only at its end: the next request waits if they were too many."""
        if self.tokens:
            self.tokens.level -= tokens


class Keys:
    """The keys of a running server."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.callers: dict[str, Caller] = {}
        self.everybody = Caller(None)
        self._stamp = -1
        self._trouble = ""
        self.required = False
        self.refresh()

    def refresh(self) -> None:
        """Read the file if it changed. One that is damaged or cannot be read changes nothing, and is tried again; one
        that is gone lets nobody in."""
        try:
            stamp = self.path.stat().st_mtime_ns
            if stamp == self._stamp:
                return
            self.required = True
            keys = read_keys(self.path)
        except FileNotFoundError:
            self.callers, self._stamp = {}, -1
            return
        except (FactoryError, OSError) as error:
            self.required = True
            if str(error) != self._trouble:
                self._trouble = str(error)
                log.error("%s; the keys stay as they were", error)
            return
        self._stamp, self._trouble = stamp, ""
        now = self.callers
        self.callers = {
            key.sha256: now[key.sha256] if key.sha256 in now and now[key.sha256].key == key else Caller(key)
            for key in keys
        }

    def caller(self, scope: Scope) -> Caller:
        """Who asks. Refusal 401 without a valid key, where keys are required."""
        if not self.required:
            _only_local(scope)
            return self.everybody
        caller = self.find(header(scope, b"authorization"))
        if caller is None:
            raise Refusal(401, "give a valid key: Authorization: Bearer fk-…", code="invalid_api_key")
        return caller

    def find(self, authorization: str) -> Caller | None:
        """Whose key an Authorization header names, if it is a valid one."""
        scheme, _, secret = authorization.partition(" ")
        return self.callers.get(_hash(secret.strip())) if scheme.lower() == "bearer" else None


def _only_local(scope: Scope) -> None:
    """Without keys, no page in a browser may reach the server: neither by a name of its own (Host) nor as itself."""
    for name in (b"host", b"origin"):
        host = header(scope, name).removeprefix("http://").removeprefix("https://")
        bare = host if host.endswith("]") else host.rpartition(":")[0] or host
        if host and bare not in LOCAL:
            raise Refusal(403, f"without keys only this machine is served, not {host[:100]}", code="not_local")


def _write(path: Path, keys: list[Key]) -> None:
    write_file(path, json.dumps([key.model_dump() for key in keys], indent=2) + "\n", PRIVATE)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
