"""A base that is given by a folder: however it is written it is one base, with one name for people and the API."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from factory.base.build import Base, prepare
from factory.base.loaded import forget, loaded
from factory.cli import main
from factory.errors import FactoryError, InputError
from factory.pipeline import train
from factory.recipe import Recipe
from factory.registry import aliases, store
from factory.train.methods import Sft
from factory.verbs.registry import listing, show
from serve import remote
from serve.pages.versions import Known
from tests.any_lm.zoo import ANIMALS, build
from tests.fakes.adapters import promote, register
from tests.fakes.serving import Fake, fake_base, fake_server

USER = [{"role": "user", "content": "x"}]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disk") / "models" / "own-llama"
    return build(next(animal for animal in ANIMALS if animal.name == "llama"), folder)


@pytest.fixture
def spellings(published: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folder as people write it."""
    monkeypatch.chdir(published.parents[1])
    monkeypatch.setenv("HOME", str(published.parents[1]))
    Path("linked").unlink(missing_ok=True)
    os.symlink(published, "linked")
    return [str(published), f"{published}/", "models/own-llama", "./models/own-llama/", "~/models/own-llama",
            "models/../models/own-llama", "linked"]  # fmt: skip


def test_every_spelling_is_the_same_base(spellings: list[str], published: Path) -> None:
    bases = [prepare(spelling) for spelling in spellings]
    assert all(base == bases[0] for base in bases)
    assert bases[0].name == str(published.resolve()) and bases[0].label == "own-llama"
    assert len({id(loaded(spelling)) for spelling in spellings}) == 1
    forget()


def test_every_spelling_makes_the_same_version(spellings: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    versions = [register(prepare(spelling), "mail", 1) for spelling in spellings]
    assert len({version.sha for version in versions}) == 1
    (entry,) = aliases.read("mail").versions
    assert listing({}, {}, quiet=True)["versions"][0]["base"] == "own-llama"
    shown = show({"version": "mail@v1"}, {}, quiet=True)
    assert (shown["base"], shown["base_name"]) == ("own-llama", entry.base)
    assert Known("mail", 1, versions[0], "", True).base_model == "own-llama"
    facts = store.facts_of(Recipe.model_validate({"task": "mail", "kind": "general", "folder": "."}), prepare("linked"))
    assert facts.base == entry.base
    assert main(["base", "base=linked"]) == 0
    assert "own-llama" in capsys.readouterr().out


def test_recipes_that_write_it_differently_train_together(
    spellings: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wanted = [
        SimpleNamespace(task=f"t{n}", base=spelling, rubric="", stages=[]) for n, spelling in enumerate(spellings)
    ]
    together: list[list[str]] = []

    def fit(on: Any, jobs: list[Any]) -> list[Any]:
        together.append([job.name for job in jobs])
        return [None] * len(jobs)

    def prepare(recipe: Any, on: Any) -> Any:
        job = SimpleNamespace(name=recipe.task, run=tmp_path / recipe.task, method=Sft())
        made = SimpleNamespace(recipe=recipe, on=on, job=job, parent="a version")
        made.after = lambda *_: made
        return made

    monkeypatch.setattr(train, "gradable", lambda *_: None)
    monkeypatch.setattr(train, "files_of", lambda *_: {})
    monkeypatch.setattr(train, "prepare", prepare)
    monkeypatch.setattr(train, "registered", lambda one, result: SimpleNamespace(**vars(one), version=""))
    made: list[Any] = list(train.register(wanted, fit))  # type: ignore[arg-type]
    assert together == [[recipe.task for recipe in wanted]] and {m.on.base.label for m in made} == {"own-llama"}
    forget()


def test_a_folder_that_no_model_could_be_called_after(published: Path, place: Path) -> None:
    link = published.parent / "my model"
    link.symlink_to(published)
    assert prepare(str(link)).label == "own-llama"  # a link is called after what it leads to
    folder = published.rename(published.parent / "own llama")
    try:
        with pytest.raises(
            InputError, match=r"the folder's name is what the API calls the base.*'own llama'.*rename it"
        ):
            prepare(str(folder))
    finally:
        folder.rename(published)


@pytest.fixture
def twins(place: Path, tmp_path: Path) -> list[Base]:
    """Two bases in folders of one name."""
    return [fake_base(str(tmp_path / where / "model")) for where in ("first", "second")]


def ask(fake: Fake, model: str) -> httpx.Response:
    return httpx.post(f"{fake.url}/v1/chat/completions", json={"model": model, "messages": USER}, timeout=30)


def test_tasks_of_one_folder_share_an_engine_under_its_name(place: Path, twins: list[Base]) -> None:
    register(twins[0], "one", 1)
    register(twins[0], "two", 2)
    with fake_server(place) as fake:
        names = {model["id"] for model in httpx.get(f"{fake.url}/v1/models").json()["data"]}
        assert {"model", "one", "two"} <= names and not [name for name in names if "first" in name]
        assert ask(fake, "model").json()["model"] == "model"
        assert [engine["base"] for engine in (remote.state() or {})["engines"]] == ["model"]
        assert 'factory_engines_ready{base="model"} 1.0' in httpx.get(f"{fake.url}/metrics").text


def test_two_bases_of_one_name_are_never_mixed_up(place: Path, twins: list[Base]) -> None:
    register(twins[0], "one", 1)
    register(twins[1], "two", 2)
    with fake_server(place) as fake:
        assert ask(fake, "one").status_code == 200 and ask(fake, "model").status_code == 200
        said = ask(fake, "two@v1").json()["error"]
        assert (
            f"two bases are called model, {twins[0].name} and {twins[1].name}, and model= could mean" in said["message"]
        )
        with pytest.raises(FactoryError, match="two bases are called model"):
            promote("two@v1")
        assert ask(fake, "one").status_code == 200
        assert [engine["base"] for engine in (remote.state() or {})["engines"]] == ["model"]
