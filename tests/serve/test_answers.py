"""Answers for grading: many go through an engine, few through this process, and both ways say the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from factory.base import build
from factory.base.build import Base
from factory.cli import main
from factory.data.rows import Row
from factory.decoding import Decoding
from factory.errors import FactoryError
from factory.recipe import load
from factory.registry.store import Version
from factory.shares import Shares
from factory.verbs import bench
from serve import answers, process
from serve.engine import EngineError
from serve.process import Size
from tests.fakes.adapters import register
from tests.fakes.project import write
from tests.serve import trained
from tests.tiny_base.world import SMALL_TALK

EQUAL = 0.95  # share of rows with the same answer, as in tests/serve/test_parity.py


def rows(n: int, text: str = "Message {}: the meeting moves to Friday.") -> list[Row]:
    return [Row(({"role": "user", "content": text.format(i)},), file="eval.jsonl", line=i + 1) for i in range(n)]


@pytest.fixture(scope="module")
def version(base: Base) -> Version:
    return register(base, "asked", 11, labels=["billing", "other"], decoding=Decoding(max_tokens=8, temperature=1.5))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines are up at once and answer what `tests/fakes/engine.py` says."""
    monkeypatch.setattr(process, "MODULE", "tests.fakes.engine")


class Ways:
    """Which way was taken, for each call."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.taken: list[str] = []
        self.trouble: Exception | None = None
        patch.setattr(answers, "pays", lambda kind, rows, *_: rows >= 4)
        patch.setattr(answers, "by_engine", self.engine)
        patch.setattr(answers.answers, "answer", self.here)

    def engine(self, base: Base, version: Version | None, rows: Sequence[Row], *rest: Any) -> list[str]:
        self.taken.append("engine")
        if self.trouble:
            raise self.trouble
        return ["said"] * len(rows)

    def here(self, model: Any, tokenizer: Any, rows: Sequence[Row], *rest: Any) -> list[str]:
        self.taken.append("here")
        return ["said"] * len(rows)


def test_the_number_of_rows_chooses_the_way(base: Base, version: Version, monkeypatch: pytest.MonkeyPatch) -> None:
    ways = Ways(monkeypatch)
    for answer in (answers.of_version(version), answers.of_base(load("summary", {"base": base.name}), base)):
        assert answer(rows(3, "Few {}")) == ["said"] * 3 and answer(rows(4, "Many {}")) == ["said"] * 4
    assert ways.taken == ["here", "engine"] * 2


def test_thoughts_are_no_answer_unless_the_rows_own_answer_shows_them(
    base: Base, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "<think>1 + 1 = 2.</think><answer>2</answer>"
    monkeypatch.setattr(answers.answers, "answer", lambda *_: [said] * 2)
    plain, shows = rows(2, "What is 1 + 1 at {}?")
    shows = shows.with_answer("<think>2 is one more.</think><answer>2</answer>")
    assert answers.of_version(version)([plain, shows]) == ["<answer>2</answer>", said]


def test_an_engine_is_started_where_its_start_is_made_up_for() -> None:
    """Rows and the length of answers decide, by what was worked out for a GPU; on a CPU, as measured, it never pays."""
    assert not answers.pays("cpu", 10**6, 96)
    kind, speed = "cuda", answers.SPEEDS["cuda"]
    least = next(n for n in range(1, 10**6) if answers.pays(kind, n, 96))
    saved = least * 96 / speed.here - least * 96 / speed.engine
    assert speed.start < saved < speed.start * 1.01
    assert not answers.pays(kind, least, 48) and answers.pays(kind, 2 * least, 48)


def test_an_answer_is_given_once_and_anew_where_anything_that_decides_it_changed(
    base: Base, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = Ways(monkeypatch)
    asked: list[list[str]] = []
    here = ways.here
    monkeypatch.setattr(
        answers.answers,
        "answer",
        lambda m, t, found, *rest: asked.append([r.source for r in found]) or here(m, t, found),
    )
    recipe = load("summary", {"base": base.name})
    changed = [
        recipe,
        recipe.model_copy(update={"system": "Another prompt."}),
        recipe.model_copy(update={"decoding": Decoding(max_tokens=3)}),
        recipe.model_copy(update={"labels": ["yes", "no"]}),
    ]
    ways_of = [answers.of_base(one, base) for one in changed] + [answers.of_version(version)]
    for answer in ways_of:
        assert answer(rows(2, "Once {}")) == ["said"] * 2
        assert answer(rows(3, "Once {}")) == ["said"] * 3
    assert asked == [["Once 0", "Once 1"], ["Once 2"]] * 5
    assert len({answers.base_name(one, base) for one in changed}) == 4
    assert answers.base_name(recipe, base).startswith(f"{base.name}+summary@")


def test_without_an_engine_this_process_answers_and_says_so_in_one_line(
    version: Version, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ways = Ways(monkeypatch)
    ways.trouble = EngineError("the engine for tiny ended while starting; its log x ends:\n  much\n  more")
    assert answers.of_version(version)(rows(4, "All {}")) == ["said"] * 4 and ways.taken == ["engine", "here"]
    said = capsys.readouterr().err
    assert f"{version.short} answers in this process, which takes longer: the engine for tiny ended" in said
    assert "much" not in said
    ways.trouble = FactoryError("eval.jsonl:3: too long")
    with pytest.raises(FactoryError, match="too long"):
        answers.of_version(version)(rows(4, "None {}"))


@pytest.mark.usefixtures("fake")
def test_rows_are_asked_at_once_and_answered_in_their_order(
    base: Base, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_TOKEN_SECONDS", "0.02")
    said: list[int] = []
    decoding = Decoding(max_tokens=4, temperature=1.5)
    found = answers.by_engine(base, version, rows(200), decoding, progress=lambda done, text: said.append(done))
    assert found == [" ".join(f"{version.name}:{i}" for i in range(4))] * 200 and said[-1] == 200
    assert answers.by_engine(base, None, rows(2), decoding)[0].startswith(f"{base.label}:0")
    assert answers.by_engine(base, version, rows(2), decoding, ["billing", "other"]) == ["billing"] * 2
    drawn = answers.by_engine(base, version, rows(3), decoding, ["billing"], seed=4, whole=True)
    assert drawn == ["drawn at 1.5 with 4", "", "drawn at 1.5 with 6"], "each with a seed; cut off is empty"


@pytest.mark.usefixtures("fake")
def test_the_bench_tells_from_how_many_rows_on_an_engine_pays(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine is the fake one, so only that both ways were timed can be told."""
    monkeypatch.chdir(write(tmp_path, train=12, evaluation=4))
    found = bench.bench({"only": "answers"}, {}, True)["answers"]
    assert found.keys() == {"summary", "classification"}
    assert all(of[key] > 0 for of in found.values() for key in ("start", "here", "engine"))


@pytest.mark.usefixtures("fake")
def test_a_row_that_the_server_would_refuse_is_named(base: Base, version: Version) -> None:
    with pytest.raises(FactoryError, match=r"eval.jsonl:1: the server would not answer .* max_tokens must be") as found:
        answers.by_engine(base, version, rows(1), Decoding(max_tokens=20_000))
    assert not isinstance(found.value, EngineError)


def test_an_engine_that_ends_is_an_engine_error(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MODULE", "this_is_no_module")
    with pytest.raises(EngineError, match=r"the engine for tiny ended while starting; its log .*engine.log ends"):
        answers.by_engine(base, None, rows(1), Decoding())


def test_on_a_gpu_without_room_nothing_is_started(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "cuda", lambda: True)
    monkeypatch.setattr(process, "on_gpu", lambda visible: Shares("cuda", free=10**9, total=24 * 10**9))
    with pytest.raises(EngineError, match=r"of the GPU, and 1\.0 GB of 24\.0 are free"):
        answers.by_engine(base, None, rows(1), Decoding())


def simulated(patch: pytest.MonkeyPatch, size: int) -> list[Size]:
    """Three cards of so many GB; the sizes of the engines that are started."""
    patch.setenv("CUDA_VISIBLE_DEVICES", "3,5,7")
    for module, name in ((answers, "cuda"), (process, "cuda"), (build, "_cuda")):
        patch.setattr(module, name, lambda: True)
    for module in (process, build):
        patch.setattr(module, "on_gpu", lambda visible: Shares("cuda", free=size * 10**9, total=size * 10**9))
    sizes: list[Size] = []
    command = process.command

    def noting(*given: Any) -> list[str]:
        sizes.append(given[2])
        return command(*given)

    patch.setattr(process, "command", noting)
    return sizes


@pytest.mark.usefixtures("fake")
def test_a_base_too_large_for_one_gpu_answers_from_an_engine_over_as_few_as_hold_it(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three cards of 4 GB are simulated, and a base of 3 GB; the engine is the fake one."""
    large = replace(base, folder=tmp_path / "large")
    shutil.copytree(base.folder, large.folder, ignore=shutil.ignore_patterns("*.safetensors"))
    with open(large.folder / "model.safetensors", "wb") as file:
        file.truncate(3 * 10**9)  # takes no room
    sizes = simulated(monkeypatch, 4)
    assert answers.answer(large, None, rows(1), Decoding(max_tokens=1)) == [f"{base.label}:0"]
    assert [(size.tensor, size.devices) for size in sizes] == [(2, "3,5")] and sizes[0].share == 0.86


@pytest.mark.usefixtures("fake")
def test_replies_for_a_data_set_come_from_such_an_engine_too(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The base's own, for the general rows among those of a task. The cards are simulated, the base is padded."""
    shutil.copytree(base.folder, own := tmp_path / "home" / "bases" / base.folder.name)
    with open(own / "more.safetensors", "wb") as file:
        file.truncate(3 * 10**9)  # takes no room
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(write(tmp_path / "project", train=60, evaluation=4))
    sizes = simulated(monkeypatch, 4)
    assert main(["data", "task=summary", "data.replay.max_tokens=3"]) == 0
    assert [(size.tensor, size.devices) for size in sizes] == [(2, "3,5")]
    (said,) = (tmp_path / "home" / "data").glob("*/train.jsonl")
    replies = [row["messages"][-1]["content"] for row in map(json.loads, said.open()) if row["meta"].get("replay")]
    assert len(replies) == 3 and set(replies) == {" ".join(f"{base.label}:{n}" for n in range(3))}


@pytest.mark.slow
def test_both_ways_say_the_same(base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version held to its labels, and the base alone, each asked what it knows by heart."""
    monkeypatch.setattr(trained, "TASKS", ("classification",))
    version, learned = trained.train(base, tmp_path, "both-ways-")["classification"]
    talk = [Row(({"role": "user", "content": asked},)) for asked, _ in SMALL_TALK]
    free = version.facts.model_copy(update={"prompt": "", "labels": []})
    cases: list[tuple[Version | None, list[Row], Any]] = [
        (version, [Row(row.turns) for row in learned], version.facts),
        (None, talk, free),
    ]
    for who, asked, how in cases:
        said: list[list[str]] = []
        for engine in (True, False):
            monkeypatch.setattr(answers, "pays", lambda *_, engine=engine: engine)
            said.append(answers.answer(base, who, asked, how.decoding, how.labels))
        same = sum(a == b for a, b in zip(*said, strict=True))
        print(f"{who.name if who else base.name}: {same} of {len(asked)} the same")
        assert same >= EQUAL * len(asked)
        assert len(set(said[0])) > 2 and (not how.labels or set(said[0]) <= set(how.labels))
    assert version.facts.labels
