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
from tests.fakes.project import ROOT

IN_A_SMALL_DISK = 'mount -t tmpfs -o size=24m tmpfs "$1" && exec "$2" -c "$3" "$1" "$4" "$5"'
SCRIPT = """
import os, shutil, sys
from contextlib import redirect_stderr, suppress
from io import StringIO
from pathlib import Path

disk, base, there = map(Path, sys.argv[1:])
os.environ["FACTORY_HOME"] = str(disk / "home")
os.chdir(there)
shutil.copytree(base, disk / "home" / "bases" / base.name)
from factory.base.build import prepare
from factory.cli import main
from factory.registry import aliases, store
from tests.fakes.adapters import register
from tests.tiny_base import TINY

version = register(prepare(TINY), "summary", 1, kind="summary")

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


def test_what_a_full_disk_stops_is_told_in_a_line_and_goes_on_later(base: Base, tmp_path: Path) -> None:
    from tests.fakes.project import write

    (disk := tmp_path / "disk").mkdir()
    project = write(tmp_path / "project", train=44, evaluation=6)
    if subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("no disk of its own can be made here")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop("FACTORY_HOME", None)
    words = [str(disk), sys.executable, SCRIPT, str(base.folder), str(project)]
    made = subprocess.run(
        ["unshare", "-rm", "sh", "-c", IN_A_SMALL_DISK, "sh", *words],
        env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert made.stdout.splitlines()[-1:] == ["all is well"], made.stderr[-3000:]
