"""Whom a machine that follows registries elsewhere believes, and what: its own list, a YAML file.

    tasks: {summary: hub:team/summary, mail: file:/mnt/share/mail}   a task comes from this place and from no other
    bases: [qwen3-4b]            may be fetched and quantised for a version; those that are here need no entry
    signers:                     whose signature counts with gate=theirs, as in the ALLOWED SIGNERS of ssh-keygen(1)
      - lee@example.org ssh-ed25519 AAAAC3Nza…

Nobody there can widen it. Signatures are those of `ssh-keygen -Y`, which every OpenSSH since 8.1 has: people have such
keys already, an agent or a hardware key can hold them, and nothing of it is code of this project.
"""

import json
import re
import subprocess
import tempfile
import time
from pathlib import Path

from pydantic import Field

from factory.errors import FactoryError, InputError
from factory.home import digest, home, locked, write_json
from factory.registry.places import open_remote, parse, remotes
from factory.registry.remote import Place, Pointer, Remote
from factory.strict import Strict, check, read_yaml

NAMESPACE = "adapter-factory-promotion"  # a signature for another purpose is none for this one
AHEAD = 86_400_000  # milliseconds that a signature's time may lie in the future
LIMIT = 60.0  # seconds for a signature: whoever holds the key may have to touch it


class Trust(Strict):
    """The list: each task with its place, bases that may be fetched, and lines of allowed signers."""

    tasks: dict[str, str] = Field(min_length=1)
    bases: tuple[str, ...] = ()
    signers: tuple[str, ...] = ()

    def remotes(self) -> list[tuple[str, Remote]]:
        """Each task with the registry that it comes from."""
        return [(task, open_remote(parse(place))) for task, place in self.tasks.items()]

    def __str__(self) -> str:
        return ", ".join(self.tasks.values())


class Named(Strict):
    """No list, but a place: every repository or folder there gives the task of its own name. No base, no signature."""

    place: Place
    bases: tuple[str, ...] = ()
    signers: tuple[str, ...] = ()

    def remotes(self) -> list[tuple[str, Remote]]:
        return [(re.split(r"[/:]", remote.place)[-1], remote) for remote in remotes(self.place)]

    def __str__(self) -> str:
        return str(self.place)


def trusted(registry: str) -> Trust | Named:
    """The list in a file, or a place by itself. InputError with every fault of the file."""
    if not registry.endswith((".yaml", ".yml")):
        return Named(place=parse(registry))
    found = check(Trust, read_yaml(Path(registry)), registry)
    for place in found.tasks.values():
        parse(place)
    return found


def sign(task: str, alias: str, pointer: Pointer, key: str) -> Pointer:
    """The pointer with the signature of who promotes: over the task, the alias, the version's whole hash, the gate's
    decision and the time."""
    pointer = pointer.model_copy(update={"signed": time.time_ns() // 10**6})
    path = Path(key).expanduser()
    if not path.is_file():
        raise InputError(f"sign={key}: there is no such file; name a private key of ssh, or a public one in the agent")
    done = _ssh(["sign", "-q", "-f", str(path), "-n", NAMESPACE], _statement(task, alias, pointer))
    if done.returncode:
        raise FactoryError(f"sign={key}: ssh-keygen did not sign: {done.stderr.decode(errors='replace').strip()}")
    return pointer.model_copy(update={"signature": done.stdout.decode()})


def signer(task: str, alias: str, pointer: Pointer, signers: tuple[str, ...]) -> str:
    """Who on the list signed exactly this; empty if nobody did."""
    if not pointer.signature or not signers:
        return ""
    with tempfile.TemporaryDirectory(prefix="factory-signed-") as folder:
        allowed, signature = Path(folder, "allowed"), Path(folder, "signature")
        allowed.write_text("".join(f"{line}\n" for line in signers))
        signature.write_text(pointer.signature)
        files = ["-f", str(allowed), "-s", str(signature)]
        found = _ssh(["find-principals", *files], b"").stdout.decode(errors="replace").splitlines()
        for who in found:
            verify = ["verify", *files, "-I", who, "-n", NAMESPACE]
            if _ssh(verify, _statement(task, alias, pointer)).returncode == 0:
                return who
    return ""


def take(task: str, alias: str, pointer: Pointer) -> None:
    """Note that what the pointer's signature allows is about to be done here. FactoryError if a newer one was done
    already: an old registry that is served again takes nothing back. Who signs with a clock that is a day ahead is
    refused, since nobody else could promote until that time.

    A machine that never followed the task cannot know that a newer one exists. Signatures from before they held the
    time count as the oldest.
    """
    at, path, name = pointer.signed or 0, home("followed.json"), f"{task} {alias}"
    if at > time.time_ns() // 10**6 + AHEAD:
        raise FactoryError(f"{alias} of {task} was signed in the future: the clock of who signed it is wrong")
    with locked(path):
        known = json.loads(path.read_text()) if path.exists() else {}
        if at < known.get(name, 0):
            raise FactoryError(
                f"{alias} of {task} was signed before what is in place here: an old registry is served again, or the "
                "clock of who signed it is behind; whoever means to go back signs anew: factory push … sign=<key>"
            )
        if at:
            write_json(path, known | {name: at})


def check_signing() -> None:
    """InputError if this machine cannot check a signature."""
    _ssh(["find-principals"], b"")


def _statement(task: str, alias: str, pointer: Pointer) -> bytes:
    said = {"format": 1, "task": task, "alias": alias, "sha": pointer.sha, "gate": pointer.gate}
    return digest(said if pointer.signed is None else said | {"format": 2, "signed": pointer.signed}).encode()


def _ssh(arguments: list[str], data: bytes) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["ssh-keygen", "-Y", *arguments], input=data, capture_output=True, timeout=LIMIT, check=False
        )
    except FileNotFoundError:
        raise InputError("signatures need ssh-keygen (Debian: apt install openssh-client)") from None
    except subprocess.TimeoutExpired:
        raise FactoryError(f"ssh-keygen did not answer within {LIMIT:.0f} s") from None
