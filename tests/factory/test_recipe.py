"""Recipes: layers, strictness, and errors that name every mistake with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from factory import recipe
from factory.errors import InputError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "adapters" / "mail").mkdir(parents=True)
    (tmp_path / "adapters" / "defaults.yaml").write_text("lora: {r: 8}\ntrain:\n  epochs: 2\n")
    (tmp_path / "adapters" / "mail" / "recipe.yaml").write_text("kind: summary\ntrain:\n  lr: 3e-4\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_layers_win_in_order(project: Path) -> None:
    made = recipe.load("mail", {"train.epochs": "5", "lora.targets": "[q_proj, v_proj]"})
    assert (made.lora.r, made.train.lr, made.train.epochs) == (8, 3e-4, 5)
    assert made.lora.targets == ["q_proj", "v_proj"]
    assert made.rubric == made.task == "mail"


def test_the_hash_follows_what_is_set_and_the_prompt(project: Path) -> None:
    first = recipe.load("mail")
    assert first.hash() == recipe.load("mail").hash()
    assert first.hash() != recipe.load("mail", {"train.seed": "1"}).hash()
    (project / "adapters" / "mail" / "prompt.md").write_text("Be brief.")
    assert first.hash() != recipe.load("mail").hash()


def test_all_errors_at_once_with_file_and_line(project: Path) -> None:
    (project / "adapters" / "mail" / "recipe.yaml").write_text(
        "kind: sumary\nlora:\n  r: many\n  alhpa: 3\ntrain:\n  batch: 0\n"
        "prompt: none.md\nlr: 1\nsystem: hm\njudges: {}\n"
    )
    with pytest.raises(InputError) as caught:
        recipe.load("mail", {"train.lrr": "1"})
    text = str(caught.value)
    assert caught.value.exit_code == 2
    assert "adapters/mail/recipe.yaml:1: kind: " in text
    assert "adapters/mail/recipe.yaml:3: lora.r: " in text
    assert "adapters/mail/recipe.yaml:4: lora.alhpa: unknown key; did you mean alpha?" in text
    assert "adapters/mail/recipe.yaml:6: train.batch: " in text
    assert "adapters/mail/recipe.yaml:7: prompt: no such file: adapters/mail/none.md" in text
    assert "adapters/mail/recipe.yaml:8: lr: unknown key; did you mean train.lr?" in text
    assert "adapters/mail/recipe.yaml:9: system: is not set by hand" in text
    assert "adapters/mail/recipe.yaml:10: judges: belongs into adapters/defaults.yaml" in text
    assert "train.lrr: unknown key; did you mean lr?" in text


def test_a_prompt_that_is_no_text_is_named(project: Path) -> None:
    (project / "adapters" / "mail" / "prompt.md").write_bytes(b"Be \xff brief.")
    with pytest.raises(InputError, match=r"adapters/mail/prompt.md: not UTF-8 at byte 3"):
        recipe.load("mail")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: [", "recipe.yaml:1: not valid YAML"),
        ("- a\n", "recipe.yaml:1: must be a mapping"),
        ("kind: summary\nkind: identity\n", "recipe.yaml:2: kind: given twice"),
        ("description: x\n", "kind: is missing"),
        ("kind: summary\nlabels: [a, b, a]\n", "recipe.yaml:2: labels: a label is given twice"),
    ],
)
def test_broken_files(project: Path, text: str, said: str) -> None:
    (project / "adapters" / "mail" / "recipe.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        recipe.load("mail")
    assert said in str(caught.value)


def test_a_misspelt_task_names_the_nearest(project: Path) -> None:
    with pytest.raises(InputError, match="did you mean mail"):
        recipe.load("mial")


@pytest.mark.parametrize("what", ["lora.dora=true", "lora.init=pissa", "lora.modules_to_save=[lm_head]"])
def test_what_one_base_cannot_share_is_refused(project: Path, what: str) -> None:
    key, _, value = what.partition("=")
    with pytest.raises(InputError, match=key):
        recipe.load("mail", {key: value})


def test_every_key_of_the_help_can_be_set(project: Path) -> None:
    names = dict(recipe.keys())
    assert {"train.lr", "lora.r", "decoding.max_tokens", "data.train", "base"} <= names.keys()
    assert "folder" not in names and "task" not in names


def test_the_shipped_recipes_load() -> None:
    assert {"summary", "identity", "classification"} <= set(recipe.tasks())
    for task in recipe.tasks():
        assert recipe.load(task).task == task
