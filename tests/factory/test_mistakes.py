"""What people get wrong at the command line: each is one line that says what to do, exit code 2, and leaves nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from factory.base.build import Base
from factory.cli import main
from factory.recipe import load
from tests.fakes import project as projects
from tests.fakes.adapters import register

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = projects.write(tmp_path / "project", 30, 6)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path / "home"))
    return folder


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What is said of a mistake, in a line."""
    capsys.readouterr()
    assert main([*words]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("factory: ")
    return said


def everything(folder: Path) -> set[Path]:
    return {*folder.rglob("*")}


@pytest.mark.parametrize(
    ("recipe", "why"),
    [
        ("kind: summary\ndescription: 2026-13-45\n", "recipe.yaml:2: not valid YAML: month must be in 1..12"),
        ("kind: summary\ntrain: {epochs: 0x_}\n", "recipe.yaml:2: not valid YAML: invalid literal"),
        ("kind: summary\n\tbase: x\n", "recipe.yaml:2: not valid YAML: found character"),
        ("kind: " + "[" * 3000 + "]" * 3000, "recipe.yaml: nested too deeply"),
        ("kind: summary\nlabels: &all [*all]\n", "recipe.yaml: nested too deeply"),
        ("kind: summary\ndescription: 2026-03-05\n", "(it is datetime.date(2026, 3, 5)): put it in quotes"),
        (
            "kind: classification\nlabels: [late, no]\n",
            "recipe.yaml:2: labels.1: Input should be a valid string (it is ",
        ),
    ],
    ids=["no day", "no number", "tab", "deep", "in itself", "day", "no"],
)
def test_a_recipe_that_cannot_be_read(project: Path, capsys: pytest.CaptureFixture[str], recipe: str, why: str) -> None:
    (project / "adapters" / "summary" / "recipe.yaml").write_text(recipe)
    assert why in refused(capsys, "data", "task=summary")


@pytest.mark.parametrize("task", ["../adapters/summary", "a/b", "größe", "a b", "x" * 300, "sum\0mary", "/etc"])
def test_what_can_be_no_tasks_name_makes_no_file(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str
) -> None:
    def ask(task: str) -> None:
        for words in ("data task", "train task", "show version", "grade version", "retire task", "rollback task"):
            verb, key = words.split()
            refused(capsys, verb, f"{key}={task}")

    ask("nobody")
    before = everything(tmp_path)
    ask(task)
    assert everything(tmp_path) == before


@pytest.mark.parametrize("name", ["Mail", "größe", "my mail"])
def test_a_folder_whose_name_could_not_be_served_is_told_before_it_is_trained(
    project: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    shutil.copytree(project / "adapters" / "summary", project / "adapters" / name)
    said = refused(capsys, "train", f"task={name}")
    assert f"adapters/{name}: a task's name is small letters" in said


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("data task=summary train.epochs=.inf", "train.epochs: Input should be a finite number"),
        ("data task=summary train.seed=99999999999999999999", "train.seed: Input should be less than"),
        ("demo url=localhost:8000", "url=localhost:8000: an address begins with http:// or https://"),
    ],
)
def test_a_value_that_would_do_harm_later(
    project: Path, capsys: pytest.CaptureFixture[str], words: str, why: str
) -> None:
    assert why in refused(capsys, *words.split())


def test_a_folder_in_place_of_a_file(project: Path, base: Base, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "adapters" / "summary" / "rows").mkdir()
    assert "data.train: is a folder: name the files in it, as rows/*.jsonl does" in refused(
        capsys, "data", "task=summary", "data.train=rows"
    )
    prompt = project / "adapters" / "summary" / "prompt.md"
    prompt.unlink()
    prompt.mkdir()
    assert "adapters/summary/prompt.md: Is a directory" in refused(capsys, "data", "task=summary")


def test_a_file_that_is_not_there_is_told_before_the_base_is_made(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in ("train", "data"):
        assert "no such file" in refused(capsys, verb, "task=summary", "data.train=mails.jsonl")
    told = refused(capsys, "train", "task=summary", "stages=sft,dpo", "data.pairs=pears.jsonl")
    assert "pears.jsonl: data.pairs: no such file" in told
    assert not (tmp_path / "home" / "bases").exists()


def test_an_editor_s_mark_at_the_beginning_is_no_part_of_a_prompt(project: Path) -> None:
    prompt = project / "adapters" / "summary" / "prompt.md"
    prompt.write_bytes(b"\xef\xbb\xbf" + prompt.read_bytes())
    assert load("summary").system == projects.PROMPTS["summary"]


def test_what_grading_needs_is_told_before_training(
    project: Path, base: Base, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no judge 'nobody'" in refused(capsys, "train", "task=summary", "gate.judge=nobody")
    (project / "rubrics" / "general.jsonl").unlink()
    for words in (["train", "task=summary"], ["train", "task=summary", "sweep=lora.r:4,8"]):
        assert "rubrics/general.jsonl: is missing" in refused(capsys, *words)


def test_an_export_into_a_file(project: Path, base: Base, capsys: pytest.CaptureFixture[str]) -> None:
    register(base, "summary", 1, kind="summary")
    (project / "out").write_text("mine")
    words = ("export", "version=summary@v1", "form=gguf-lora", "to=out")
    assert "out is no empty folder: give another with to=…" in refused(capsys, *words)


def test_a_working_directory_that_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f"rmdir {gone}; exec {sys.executable} -m factory.cli data task=summary"
    made = subprocess.run(
        ["sh", "-c", command], cwd=gone, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert (made.returncode, made.stderr) == (
        2, "factory: the working directory is gone: change to one that is there\n",
    )  # fmt: skip
