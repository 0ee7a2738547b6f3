"""Two machines on one home, one after the other and at once: processes with names, process ids and networks of their
own, which share nothing but the disk. What is not shared here is a real network between disk and machines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from factory.home import on_network
from serve.private import temporary
from tests.fakes import serving
from tests.fakes.project import ROOT

MACHINE = 'hostname "$1" && ip link set lo up && exec "$2" -c "$3" "$1"'
BEGIN = """
import json, os, sys, time
from pathlib import Path
from factory.cli import main
from factory.home import home
from factory.registry import aliases
from tests.fakes import serving
from tests.fakes.adapters import register

def until(condition):
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit, condition
        time.sleep(0.02)

def asked(url):
    import httpx
    body = {"model": "summary", "messages": [{"role": "user", "content": "x"}]}
    return httpx.post(f"{url}/v1/chat/completions", json=body, timeout=30).headers.get("x-adapter-version")

def meet(name, other):
    "Both go on when both are here."
    (home("met", "x").parent / f"{name}-{sys.argv[1]}").touch()
    until((home("met", "x").parent / f"{name}-{other}").exists)
"""
AT_ONCE = """
from evals import tables
import sqlalchemy as sa
me, other = sys.argv[1], "two" if sys.argv[1] == "one" else "one"
engine = tables.open_database()
base = serving.fake_base()
meet("begin", other)
for number in range(10):
    register(base, "summary", number + 100 * (me == "two"), kind="summary")
    with tables.writing(engine) as rows:
        rows.execute(sa.insert(tables.raters).values(id=f"{me} {number}", kind="person", created=0.0))
meet("end", other)
assert [entry.ordinal for entry in aliases.read("summary").versions] == list(range(1, 21))
with tables.reading(engine) as rows:
    assert rows.execute(sa.select(sa.func.count()).select_from(tables.raters)).scalar() == 20
"""
SERVER = """
first = register(serving.fake_base(), "summary", 1, kind="summary")
second = register(serving.fake_base(), "summary", 2, kind="summary")
with serving.fake_server(home("x").parent) as server:
    assert asked(server.url) == first.name
    meet("serving", "two")
    until(lambda: asked(server.url) == second.name)
    meet("followed", "two")
"""
CALLER = """
meet("serving", "one")
sys.argv[1:] = ["two"]
assert main(["serve", "port=0"]) == 2
assert main(["promote", "version=summary@v2", "force=a test"]) == 0
assert aliases.resolve("summary@prod") == aliases.resolve("summary@v2")
meet("followed", "one")
"""
BESIDE = """
serving.fake_base()
with serving.fake_server(home("x").parent) as server:
    print(server.url)
"""
DIES = """
from factory.home import locked
register(serving.fake_base(), "summary", 1, kind="summary")
with locked(home("registry", "summary.json")):
    print("held", flush=True)
    time.sleep(600)
"""
AFTER = """
assert main(["list"]) == 0
register(serving.fake_base(), "summary", 2, kind="summary")
"""
# flock(2) answers ENOLCK, as on a disk that is mounted without locks: a seccomp filter in the kernel says so.
NO_LOCKS = """
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
number = {"x86_64": 73, "aarch64": 32}[os.uname().machine]
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050000 | 37), (0x06, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program) == 0
assert main(["retire", "task=summary"]) == 2
assert main(["serve", "port=0"]) == 2
"""


def machine(name: str, home: Path, script: str) -> subprocess.Popen[str]:
    space = ["unshare", "-rnpf", "--kill-child", "--uts", "--mount-proc", "sh", "-c", MACHINE, "sh", name]
    environment = os.environ | {"FACTORY_HOME": str(home), "PYTHONPATH": str(ROOT)}
    words = [*space, sys.executable, BEGIN + script]
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(*machines: subprocess.Popen[str]) -> list[str]:
    """What each said on stderr, once all have ended well."""
    said = [one.communicate(timeout=120) for one in machines]
    assert [one.returncode for one in machines] == [0] * len(machines), "\n".join(f"{o}{e}" for o, e in said)
    return [err for _, err in said]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    if subprocess.run(["unshare", "-rnpf", "--uts", "ip", "link"], capture_output=True).returncode:
        pytest.skip("no machine of its own can be made here")
    return tmp_path / "home"


def test_at_once_nothing_is_lost(home: Path) -> None:
    ended(machine("one", home, "serving.fake_base()"))
    ended(machine("one", home, AT_ONCE), machine("two", home, AT_ONCE))


def test_a_server_on_one_follows_what_is_promoted_on_the_other(home: Path) -> None:
    """The other has no way to it: no promotion is sent to an address that means another machine there."""
    _, said = ended(machine("one", home, SERVER), machine("two", home, CALLER))
    assert "a server runs over this factory already (on one" in said


def test_a_server_on_one_leaves_alone_what_engines_of_the_other_have(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They share /tmp and know nothing of each other's processes. What a killed one leaves goes when it is safe."""
    monkeypatch.setenv("FACTORY_HOME", str(home))
    serving.fake_base()
    with serving.fake_server(home) as here:
        (folder,) = temporary().glob(f"factory-engine-{here.process.pid}-*")
        ended(machine("two", tmp_path / "other", BESIDE))
        assert (folder / "engine.sock").exists()
        here.kill()
    assert folder.exists()
    with serving.fake_server(home):
        assert not folder.exists()


def test_a_machine_that_dies_with_a_lock_leaves_none(home: Path) -> None:
    dies = machine("one", home, DIES)
    assert dies.stdout and dies.stdout.readline() == "held\n"
    dies.kill()
    dies.communicate(timeout=60)
    ended(machine("two", home, AFTER))


def test_a_disk_without_locks_is_refused_in_a_line(home: Path) -> None:
    ended(machine("one", home, "register(serving.fake_base(), 'summary', 1, kind='summary')"))
    (said,) = ended(machine("one", home, NO_LOCKS))
    lines = [line for line in said.splitlines() if line.startswith("factory: ")]
    assert len(lines) == 2 and all("its disk knows no locks (No locks available)" in line for line in lines), said


def test_a_disk_is_known_by_its_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
        "60 22 0:50 / /team\\040disk rw,relatime shared:7 - nfs4 host:/export rw,vers=4.2\n"
        "61 60 0:51 / /team\\040disk/scratch rw - xfs /dev/vdb rw\n"
        "62 22 0:52 / /cloud rw - fuse.sshfs host:/ rw\n"
    )
    for path, network in (
        ("/tmp/ratings.db", False),
        ("/team disk/home/ratings.db", True),
        ("/team disk/scratch/ratings.db", False),
        ("/cloud/ratings.db", True),
    ):
        assert on_network(Path(path), mounts) == network
    assert not on_network(tmp_path, tmp_path / "missing")
