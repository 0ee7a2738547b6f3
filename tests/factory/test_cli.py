"""The command line as people type it: exit codes, messages that say what to do, JSON alone on stdout."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from factory import cli
from factory.cli import main
from factory.verbs.table import VERBS


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian", "task=summary"], "no verb 'trian'; did you mean train?"),
        (["train", "--task=summary"], "write task=summary, without dashes"),
        (["train", "summary"], "did you mean task=summary?"),
        (["train"], "factory train needs task="),
        (["train", "task=sumary"], "did you mean summary?"),
        (["train", "task=summary", "task=identity"], "task is given twice"),
        (["train", "task", "=", "summary"], "task needs a value: write task=…, without spaces"),
        (["train", "task="], "factory train needs task="),
        (["train", "tsk=summary"], "factory train takes no 'tsk'; did you mean task?"),
        (["grade", "version=summary", "agianst=prod"], "factory grade takes no 'agianst'; did you mean against?"),
        (["train", "task=summary", "train.lrr=1"], "train.lrr: unknown key; did you mean lr?"),
        (["train", "task=summary", "lr=1e-3"], "lr: unknown key; did you mean train.lr?"),
        (["train", "task=summary", "train.r=8"], "train.r: unknown key; did you mean lora.r?"),
        (["list", "task=sumary"], "no task 'sumary'; did you mean summary?"),
        (["rollback", "task=summary"], "summary"),
        (["promote", "version=summary", "--force"], "write force=…, without dashes"),
        (["serve", "gate=own"], "must be theirs or own, beside registry="),
        (["pull", "from=team/mail"], "write hub:<namespace>/<repo>"),
        (["train", "task=summary,identity", "lora.r=x"], "lora.r: "),
        (["promote", "vers=summary"], "factory promote takes no 'vers'; did you mean version?"),
        (["show", "version=summary@v9"], "summary"),
        (["base", "build=huge"], "factory base takes no 'build'"),
        (["base", "base=smollm-135m"], "did you mean smollm2-135m?"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], tmp_path, monkeypatch, words: list[str], said: str) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path))
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert said in err and "Traceback" not in err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0 and all(name in out for name in VERBS)
    for name in VERBS:
        code, out, _ = run(capsys, name, "--help")
        assert code == 0 and VERBS[name].does in out
    assert "train.lr" in run(capsys, "train", "--help")[1]
    assert run(capsys, "--version")[1].startswith("adapter-factory ")


def test_every_verb_of_the_table_is_there() -> None:
    for name, verb in VERBS.items():
        assert callable(cli._function(name, verb)) and set(verb.needs) <= set(verb.keys)


def test_json_stays_alone_when_a_library_prints(capfd: pytest.CaptureFixture[str], monkeypatch) -> None:  # type: ignore[no-untyped-def]
    def noisy(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, bool]:
        print("a library says hello")
        subprocess.run(["echo", "a child process says hello"], check=True)
        return {"quiet": quiet}

    monkeypatch.setattr(cli, "_function", lambda name, verb: noisy)
    assert main(["list", "--json"]) == 0
    said = capfd.readouterr()
    assert json.loads(said.out) == {"quiet": True} and said.out.count("\n") == 1
    assert "a library says hello" in said.err and "a child process says hello" in said.err


def test_json_tells_what_was_made_before_something_failed(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from factory.pipeline.train import SomeFailed
    from factory.train.fused import Failed

    def half(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> None:
        raise SomeFailed([{"task": "summary"}], [Failed("mail", "the loss is not finite", 3, Path("runs/mail"))])

    monkeypatch.setattr(cli, "_function", lambda name, verb: half)
    code, out, err = run(capsys, "list", "--json")
    failed = {"task": "mail", "why": "the loss is not finite", "step": 3, "run": "runs/mail"}
    assert (code, json.loads(out)) == (1, {"versions": [{"task": "summary"}], "failed": [failed]})
    assert err == "factory: mail: the loss is not finite (step 3; runs/mail)\n"
    assert run(capsys, "list") == (1, "", err)


def test_a_disk_that_cannot_be_written_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:  # type: ignore[no-untyped-def]
    def full(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/mnt/home/store")

    monkeypatch.setattr(cli, "_function", lambda name, verb: full)
    assert run(capsys, "list") == (1, "", "factory: /mnt/home/store: No space left on device\n")


def test_a_home_that_cannot_be_made_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path / "file" / "home"))
    code, out, err = run(capsys, "list")
    assert (code, out) == (2, "") and err.count("\n") == 1 and "let FACTORY_HOME name a folder" in err


def test_what_goes_into_a_pipe_is_not_broken_into_lines() -> None:
    code = "from factory.terminal import err, out; out(False).print('word ' * 60); err.print('word ' * 60)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == done.stderr.count("\n") == 1


def test_json_is_alone_on_stdout(capsys: pytest.CaptureFixture[str], tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path))
    code, out, _ = run(capsys, "list", "--json")
    assert code == 0 and json.loads(out) == {"versions": []}


@pytest.mark.parametrize("command", [["serve", "host=999.1.1.1"], ["grade", "version=none@v1"]])
def test_what_takes_long_is_told_at_once(command: list[str], tmp_path: Path) -> None:
    """On a pipe the first line is the command itself, before anything heavy is imported."""
    env = {**os.environ, "FACTORY_HOME": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-m", "factory.cli", *command], stderr=subprocess.PIPE, text=True, env=env
    ) as running:
        assert running.stderr
        assert running.stderr.readline().strip() == f"factory {' '.join(command)}"
        assert running.poll() is None, "the line came only at the end"
        running.terminate()
        running.wait(60)


def test_ask_takes_the_question_without_a_key() -> None:
    from factory.cli import parse
    from factory.errors import InputError

    question = "有多少订单?"
    for words in (["task=sql", "db=shop", question], [question, "task=sql", "db=shop"]):
        assert parse(["ask", *words])[2] == {"task": "sql", "db": "shop", "question": question}
    assert parse(["ask", "task=sql", "db=shop", "Which orders have total = 5?"])[2]["question"].endswith("= 5?")
    with pytest.raises(InputError, match=r"no 'dbs'; did you mean db|takes no 'dbs'"):
        parse(["ask", "task=sql", "dbs=shop", "How many?"])
