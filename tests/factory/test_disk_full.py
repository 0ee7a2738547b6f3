"""A disk that is full in the midst of something: one line, nothing half written, and all is well once there is room.

The disk is a real one, a tmpfs of a few megabytes in a name space of its own, so it is full for the kernel too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from factory.base.build import Base
from tests.fakes.project import ROOT, write

IN_A_SMALL_DISK = 'mount -t tmpfs -o size=24m tmpfs "$1" && exec "$2" -c "$3" "$1" "$4" "$5"'
BEGIN = """
import json, os, shutil, sys
from contextlib import redirect_stderr, suppress
from io import StringIO
from pathlib import Path

disk, base, there = map(Path, sys.argv[1:])
os.environ["FACTORY_HOME"] = str(disk / "home")
os.chdir(there)
from factory.base.build import prepare
from factory.cli import main
from factory.registry import aliases, store
from tests.fakes.adapters import register
from tests.tiny_base import TINY

def filled(room):
    "Fill the disk but for so many bytes."
    with open(disk / "filler", "wb", buffering=0) as out:
        with suppress(OSError):
            while out.write(bytes(4096)):
                pass
    os.truncate(disk / "filler", max(0, os.stat(disk / "filler").st_size - room))

def run(*words):
    said = StringIO()
    with redirect_stderr(said):
        code = main([*words, "--json"])
    return code, said.getvalue()
"""
WORK = """
shutil.copytree(base, disk / "home" / "bases" / base.name)
version = register(prepare(TINY), "summary", 1, kind="summary")
FAST = ["train.epochs=1", "train.evals=1"]
for words, rooms in (
    (["push", "version=summary@v1", f"to=file:{disk}/share/summary"], (0, 60_000)),
    (["grade", "version=summary@v1"], (0, 40_000)),
    (["train", "task=summary", *FAST], (0, 100_000, 400_000)),
):
    for room in rooms:
        filled(room)
        code, said = run(*words)
        last = said.splitlines()[-1]
        assert code == 1 and last.startswith("factory: "), (words, room, code, said)
        assert "No space left" in last or "disk is full" in last, last
        assert "Traceback" not in said, said
        assert aliases.resolve("summary") == version
        for entry in aliases.read("summary").versions:
            assert not store.fault(entry.sha)
        (disk / "filler").unlink()
    code, said = run(*words)
    assert code == 0, (words, said)
assert [entry.ordinal for entry in aliases.read("summary").versions] == [1, 2]
half = [str(path) for path in disk.rglob(".*") if not path.name.endswith(".lock")]
assert not half, half
print("all is well")
"""


SERVING = """
import httpx
from factory.home import home
from tests.fakes import serving

(there / "store").mkdir()
home("store").symlink_to(there / "store")  # another disk: no hard links, so a server copies
versions = [register(serving.fake_base(), "summary", seed, kind="summary") for seed in (1, 2)]

def ask(model):
    body = {"model": model, "messages": [{"role": "user", "content": "x"}]}
    reply = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=30)
    return reply.status_code, reply.headers.get("x-adapter-version"), reply.text

sys.argv[1:] = ["serve", "port=0"]
filled(0)
said = StringIO()
with redirect_stderr(said):
    code = serving.main()
last = said.getvalue().splitlines()[-1]
assert code == 1 and last.startswith("factory: ") and "No space left" in last, (code, said.getvalue())
assert "Traceback" not in said.getvalue()
(disk / "filler").unlink()
with serving.fake_server(disk / "home") as server:
    for room in (0, 20_000):
        filled(room)
        assert [ask("summary")[:2] for _ in range(20)] == [(200, versions[0].name)] * 20
        status, _, text = ask("summary@v2")
        assert status == 503 and "No space left on device" in text, text
        code, said = run("promote", "version=summary@v2", "force=a test")
        assert code == 1 and said.count(chr(10)) == 1, (code, said)
        assert "No space left" in said or "disk is full" in said, said
        assert ask("summary")[:2] == (200, versions[0].name) and aliases.resolve("summary") == versions[0]
        (disk / "filler").unlink()
    assert ask("summary@v2")[:2] == (200, versions[1].name)
    code, said = run("promote", "version=summary@v2", "force=a test")
    assert code == 0 and ask("summary")[:2] == (200, versions[1].name), said
for path in disk.glob("home/runs/serve-*/*.jsonl"):
    assert [json.loads(line) for line in path.open()] is not None
print("all is well")
"""


def in_a_small_disk(tmp_path: Path, script: str, base: Path, there: Path) -> str:
    """What the script says on stderr, run where `tmp_path/disk` is a disk of 24 MB."""
    (disk := tmp_path / "disk").mkdir()
    if subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("no disk of its own can be made here")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "FAKE_STDERR": "1"}
    environment.pop("FACTORY_HOME", None)
    made = subprocess.run(
        ["unshare", "-rm", "sh", "-c", IN_A_SMALL_DISK, "sh", str(disk), sys.executable, BEGIN + script, base, there],
        env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert made.stdout.splitlines()[-1:] == ["all is well"], made.stderr[-3000:]
    return made.stderr


def test_what_a_full_disk_stops_is_told_in_a_line_and_goes_on_later(base: Base, tmp_path: Path) -> None:
    in_a_small_disk(tmp_path, WORK, base.folder, write(tmp_path / "project", train=44, evaluation=6))


def test_a_server_answers_on_while_the_disk_is_full(base: Base, tmp_path: Path) -> None:
    said = in_a_small_disk(tmp_path, SERVING, base.folder, write(tmp_path / "project", train=44, evaluation=6))
    told = [line for line in said.splitlines() if "goes on without this log" in line]
    assert "Traceback" not in said and len(told) <= 4, said
