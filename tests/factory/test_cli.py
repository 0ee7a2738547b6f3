"""The command line as people type it: exit codes, messages that say what to do, JSON alone on stdout."""

from __future__ import annotations

import json

import pytest

from factory.cli import VERBS, main


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
        (["train", "task=summary", "train.lrr=1"], "train.lrr: unknown key; did you mean lr?"),
        (["train", "task=summary,identity", "lora.r=x"], "lora.r: "),
        (["promote", "vers=summary"], "factory promote takes no 'vers'; did you mean version?"),
        (["show", "version=summary@v9"], "summary"),
        (["base", "build=huge"], "build=tiny"),
        (["base", "base=tinny"], "did you mean tiny?"),
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


def test_json_is_alone_on_stdout(capsys: pytest.CaptureFixture[str], tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path))
    code, out, _ = run(capsys, "list", "--json")
    assert code == 0 and json.loads(out) == {"versions": []}
