"""Ctrl-C and SIGTERM at every stage, of a shell script's background job too: one line, the code that says so, nothing
half written, no process left over, and the same command goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from factory.base.build import Base
from factory.stopping import Stopped, stoppable
from tests.fakes.adapters import register
from tests.fakes.project import ROOT, running, write
from tests.fakes.serving import fake_base
from tests.serve.load import until

INTERRUPTED = "factory: interrupted; the same command goes on where it stopped"
BACKGROUND = '"$@" & echo $!; wait $!; echo $?'  # has the job ignore Ctrl-C


@pytest.mark.parametrize(
    ("words", "after", "number", "code"),
    [
        ("serve port=0", "factory serve", signal.SIGINT, 130),
        ("serve port=0", "starting an engine", signal.SIGTERM, 143),
        ("serve port=0", "serving ", signal.SIGINT, 0),
        ("serve port=0", "serving ", signal.SIGTERM, 0),
        ("rate port=0 proxy_header=x-user", "factory rate", signal.SIGTERM, 143),
        ("rate port=0 proxy_header=x-user", "rating at", signal.SIGINT, 0),
        ("demo port=0", "factory demo", signal.SIGINT, 130),
        ("demo port=0", "demo of", signal.SIGTERM, 0),
    ],
)
def test_servers_end_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, after: str, number: int, code: int
) -> None:
    """Whoever serves already has done what was asked for: that is no failure."""
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    register(fake_base(), "summary", 1, kind="summary")
    command = ["sh", "-c", BACKGROUND, "sh", sys.executable, "-m", "tests.fakes.serving", *words.split()]
    shell = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert shell.stdout and shell.stderr
    job, said = int(shell.stdout.readline()), ""
    while after not in said:
        line = shell.stderr.readline()
        assert line, said
        said += line
    os.kill(job, number)
    out, err = shell.communicate(timeout=60)
    assert (int(out), err.splitlines()[-1]) == (code, INTERRUPTED if code else "stopped"), said + err
    assert "Traceback" not in err and not running(tmp_path / "home")
    assert not (tmp_path / "home" / "serve" / "server.json").exists()
    assert not list((tmp_path / "home").glob("runs/serve-*/adapters"))


def test_a_server_that_is_making_its_base_ends_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("FAKE_PREPARE_SECONDS", "50")
    fake_base()
    words = [sys.executable, "-m", "tests.fakes.serving", "serve", "port=0", "base=tiny"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr and "making the base\n" in iter(server.stderr.readline, "")
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=20) == 143
        said = server.stderr.read()
    assert said.splitlines()[-1] == INTERRUPTED and "Traceback" not in said


WORKERS = """
import sys
from factory.stopping import Stopped, stoppable
from factory.verbs import fan
from factory.verbs.fan import Device, Worker, spread
fan.DEAF = 1.0
try:
    with stoppable():
        spread([["a"], ["b"]], [Device("one", {}), Device("two", {})], Worker(sys.argv[1]))
except Stopped as stopped:
    print(stopped.number)
"""
READY = "import os, pathlib, time; pathlib.Path(os.environ['FACTORY_HOME'], f'ready-{os.getpid()}').touch()"
SLEEPS = f"{READY}; time.sleep(600)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPS}"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("code", [SLEEPS, DEAF], ids=["hears", "deaf"])
def test_workers_on_other_devices_end_too(tmp_path: Path, number: int, code: str) -> None:
    environment = os.environ | {"FACTORY_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = ["sh", "-c", BACKGROUND, "sh", sys.executable, "-c", WORKERS, code]
    shell = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert shell.stdout
    job = int(shell.stdout.readline())
    assert until(lambda: len([*tmp_path.glob("ready-*")]) == 2)  # a worker on each device
    os.kill(job, number)
    assert shell.communicate(timeout=60)[0] == f"{int(number)}\n0\n" and not running(tmp_path)


def test_a_training_is_stopped_while_it_grades(base: Base, tmp_path: Path) -> None:
    """By Ctrl-C, then by SIGTERM, as a background job of a script: what was trained is registered and not graded, and
    the same command grades it."""
    project, home = write(tmp_path / "project", train=20, evaluation=70), tmp_path / "home"
    (home / "bases").mkdir(parents=True)
    (home / "bases" / base.folder.name).symlink_to(base.folder)
    environment = os.environ | {"FACTORY_HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "factory.cli", "train", "task=summary", "train.epochs=0.5"]
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (None, 0)):
        shell = subprocess.Popen(["sh", "-c", BACKGROUND, "sh", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 text=True, cwd=project, env=environment)  # fmt: skip
        assert shell.stdout and shell.stderr
        job = int(shell.stdout.readline())
        said = "".join(iter(shell.stderr.readline, "")) if number is None else _until_grading(shell, home)
        if number is not None:
            os.kill(job, number)
        out, err = shell.communicate(timeout=60)
        assert int(out.splitlines()[-1]) == code and "Traceback" not in said + err and not running(home), said + err
        (version,) = json.loads((home / "registry" / "summary.json").read_text())["versions"]
        graded = (home / "notes" / version["sha"] / "report.json").exists()
        assert graded if number is None else err.splitlines()[-1] == INTERRUPTED and not graded


def _until_grading(shell: subprocess.Popen[str], home: Path) -> str:
    said, began = "", time.time()
    assert shell.stderr
    while "trained in" not in said:
        line = shell.stderr.readline()
        assert line, said
        said += line
    assert until(lambda: any(run.stat().st_mtime > began for run in home.glob("notes/*/run.json")))
    assert until(lambda: (home / "registry" / "summary.json").exists())
    return said


SLOW = """
import sys, time
from evals import judge, tables
from evals import rubric as rubrics
from evals.judges import Judge, Member
from evals.scorecard import grade_answers
from factory import stopping
from factory.data.rows import Row

stopping.GENTLY = 1.0
what, url, database = sys.argv[1:]

def slowly(batch):
    print("asked", flush=True)
    until = time.monotonic() + 50
    while time.monotonic() < until:
        time.sleep(0.01)
    return ["?" for _ in batch]

members = {
    "own": lambda: Member("own", Judge(adapter="own"), generate=slowly),
    "away": lambda: Member("away", Judge(model="fake", base_url=url, timeout=50)),
}
try:
    with stopping.stoppable():
        if what == "check":
            rows = [Row(({"role": "user", "content": "x"},))]
            grade_answers(rubrics.load("slow"), rows, ["y"])
        else:
            texts = {f"o{n}": ("source", "output") for n in range(300)}
            judge.grade(members[what](), rubrics.load("summary"), texts, tables.open_database(database))
except stopping.Stopped as stopped:
    print(stopped.number)
"""
SLOW_RUBRIC = """
title: Slow
guidelines: Anything.
sample_source: x
dimensions:
  - name: day
    question: Is it?
    graders: [checks]
    checks: [adapters/slow/check.py:asks]
    levels:
      - {name: wrong, anchor: No., example: {output: a, reason: b}}
      - {name: right, anchor: Yes., example: {output: a, reason: b}}
"""
SLOW_CHECK = """
import asyncio

async def asks(row, output, limits):
    print("asked", flush=True)
    await asyncio.sleep(50)
"""


@pytest.mark.parametrize("what", ["own", "away", "check"])
def test_who_grades_slowly_is_not_waited_for(tmp_path: Path, what: str) -> None:
    """A judge in this process, one that does not answer, and a check that asks somebody."""
    for name, text in (("adapters/slow/check.py", SLOW_CHECK), ("adapters/defaults.yaml", "{}\n")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    shutil.copytree(ROOT / "rubrics", tmp_path / "rubrics")
    (tmp_path / "rubrics" / "slow.yaml").write_text(SLOW_RUBRIC)
    environment = os.environ | {"FACTORY_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        words = [sys.executable, "-c", SLOW, what, url, f"sqlite:///{tmp_path}/r.db"]
        job = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment)
        assert job.stdout and (silent.accept() if what == "away" else job.stdout.readline() == "asked\n")
        job.send_signal(signal.SIGTERM)
        assert job.wait(timeout=20) == 0 and job.stdout.read() == "15\n"


def test_an_error_that_a_library_makes_of_a_signal_is_a_signal() -> None:
    """As pydantic does while its classes are made, and torch while it is imported."""
    with pytest.raises(Stopped) as caught, stoppable():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            raise ValueError("something of a library") from None
    assert caught.value.number == signal.SIGTERM


def test_a_signal_that_comes_while_an_object_is_taken_away_is_heard() -> None:
    """Python drops what is raised there, and would go on."""

    class Gone:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped) as caught, stoppable():
        Gone()
        time.sleep(10)
        pytest.fail("nobody heard it")
    assert caught.value.number == signal.SIGTERM


ENDS = """
import time
from factory.cli import main
import factory.verbs.train, sklearn, transformers, transformers.models.llama.modeling_llama
main(["--version"])
print(time.process_time())
"""


def test_a_command_ends_soon_after_its_work() -> None:
    """Of a stopped training nearly all that was left to wait for was Python taking its libraries apart."""
    before = os.times()
    words = [sys.executable, "-c", ENDS]
    made = subprocess.run(words, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    assert used - float(made.stdout.splitlines()[-1]) < 0.8


ANY_MOMENT = """
import itertools, json, os, signal, sys, threading
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from factory.cli import main
from factory.home import home
from factory.registry import store
from tests.fakes.adapters import register
from tests.fakes.endpoint import FakeEndpoint
from factory.base.build import prepare
from tests.tiny_base import TINY

base, there = map(Path, sys.argv[1:])
os.chdir(there)
signals = itertools.cycle((signal.SIGINT, signal.SIGTERM))
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *late: None)  # one that comes once the command has ended

def any_moment(*words, delay, grow=1.6):
    "The command, stopped a little later each time, until it ends by itself. A signal that came too early is no try."
    stopped = 0
    for tries in range(1, 60):
        number, said = next(signals), StringIO()
        timer = threading.Timer(delay * grow ** (tries % 20), os.kill, (os.getpid(), number))
        timer.start()
        with redirect_stderr(said), redirect_stdout(StringIO()):
            code = main([*words])
        timer.cancel()
        timer.join()
        half = [str(path) for path in there.rglob(".*") if not path.name.endswith(".lock")]
        assert not half, (words, half)
        for path in there.rglob("*.json*"):
            if path.suffix in (".json", ".jsonl") and "quarantine" not in path.parts:
                [json.loads(text) for text in ([path.read_text()] if path.suffix == ".json" else path.open())]
        if code == 0 and stopped:
            return
        stopped += code != 0
        assert code in (0, 128 + number), (words, code, said.getvalue())
        assert code == 0 or said.getvalue().splitlines()[-1].startswith("factory: interrupted"), said.getvalue()
        assert "Traceback" not in said.getvalue(), said.getvalue()
    raise AssertionError(f"{words} was never stopped, or never ended")

def live_in(name):
    os.environ["FACTORY_HOME"] = str(there / name)
    home("bases", "x").parent.mkdir(parents=True, exist_ok=True)
    home("bases", base.name).symlink_to(base)

def teacher(form, messages, number):
    return {"texts": [f"{thing} {number}" for thing in ("kites", "oak benches", "brass bells", "six plates")]}

live_in("warm")  # libraries cannot be imported again in a process that was stopped while it imported them
register(prepare(TINY), "summary", 1, kind="summary")
assert main(["grade", "version=summary@v1"]) == main(["push", "version=summary@v1", "to=file:warm/share"]) == 0
live_in("one")
version = register(prepare(TINY), "summary", 1, kind="summary")
any_moment("grade", "version=summary@v1", delay=0.1)
any_moment("push", "version=summary@v1", "to=file:share", delay=0.001)
live_in("two")
any_moment("pull", "from=file:share@v1", delay=0.001)
store.verify(store.get(version.sha))
with FakeEndpoint(teacher) as fake:
    where = [f"data.synth.endpoint.url={fake.url}", "data.synth.endpoint.model=m", "data.synth.n=30"]
    any_moment("data", "task=classification", "synth=from-labels", *where, delay=0.02)
print("all is well")
"""


def test_work_can_be_stopped_at_any_moment(base: Base, tmp_path: Path) -> None:
    project = write(tmp_path / "project", train=44, evaluation=6)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", ANY_MOMENT, str(base.folder), str(project)]
    made = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300)
    print(made.stderr)
    assert made.stdout.splitlines()[-1:] == ["all is well"], made.stderr[-3000:]
