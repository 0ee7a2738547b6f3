"""From files to the store: what is written, when it is reused, what a kill leaves behind."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from data_support import ROOT, SHARED, needs_shared
from fakes.endpoint import FakeEndpoint
from fakes.tokenizer import FakeTokenizer

from bench import data as bench
from factory import recipe as recipes
from factory.data import scaffold
from factory.data.build import STEPS, Built, build, evals_of_others
from factory.data.exam import edited, exam
from factory.data.rows import Row
from factory.data.steps import Count, Replier
from factory.errors import FactoryError, InputError
from factory.recipe import Recipe

Make = Callable[..., Recipe]


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def texts(n: int, seed: int = 0) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    return [
        {"prompt": " ".join(f"w{draw.randrange(5000)}" for _ in range(20)), "completion": f"answer {i}"}
        for i in range(n)
    ]


@pytest.fixture
def project(own_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path / "home"))
    return own_project


def test_what_a_data_set_holds(make: Make, folder: Path) -> None:
    rows = texts(300)
    rows[10] = rows[11]
    write(folder / "train.jsonl", [*rows, {"prompt": "x", "completion": ""}, {"prompt": 7, "completion": "y"}])
    write(folder / "eval.jsonl", [*texts(20, 1), rows[40]])
    seen: set[str] = set()
    built = build(make(), FakeTokenizer(), other_evals={}, progress=lambda step, n: seen.add(step))
    m = built.manifest
    assert sorted(path.name for path in built.folder.iterdir()) == [
        "dropped.jsonl", "eval.jsonl", "manifest.json", "train.jsonl", "tune.jsonl",
    ]  # fmt: skip
    assert m["rows"] == {"train": 298, "replay": 0, "tune": 0, "eval": 21, "split": 0, "dropped": 4}
    assert len(built.train) + len(built.dropped()) == 302 == m["funnel"][0]["in"]
    assert [step["step"] for step in m["funnel"]] == [
        "read",
        "rules",
        "exact",
        "near",
        "decontaminate",
        "own words",
        "mix",
    ]
    assert m["reasons"] == {
        "read": {"prompt is a number, not text": 1},
        "rules": {"the answer is empty": 1},
        "exact": {"the same as an earlier row": 1},
        "decontaminate": {"the question of an eval row of trial": 1},
    }
    assert m["leaks"] == {"trial": 1}
    assert {(d.step, d.line) for d in built.dropped()} == {
        ("read", 302),
        ("rules", 301),
        ("exact", 12),
        ("decontaminate", 41),
    }
    assert all(row.tokens[0] and row.tokens[1] for row in [*built.train, *built.eval])
    assert sum(step["seconds"] for step in m["funnel"]) > 0


def test_nothing_changed_means_nothing_is_done(make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder / "train.jsonl", texts(50))
    first = build(make(), FakeTokenizer(), other_evals={})
    stamp = (first.folder / "train.jsonl").stat().st_mtime_ns

    def fail(*args: Any) -> Any:
        raise AssertionError("a step ran again")

    with monkeypatch.context() as patch:
        patch.setitem(STEPS, "rules", fail)
        again = build(make(), FakeTokenizer(), other_evals={})
    assert again == first and (again.folder / "train.jsonl").stat().st_mtime_ns == stamp
    other = FakeTokenizer()
    other.chat_template = "another"
    changes: list[Callable[[], Built]] = [
        lambda: build(make(near=0.8), FakeTokenizer(), other_evals={}),
        lambda: build(make(max_length=512), FakeTokenizer(), other_evals={}),
        lambda: build(make(), other, other_evals={}),
        lambda: build(make(), FakeTokenizer(), other_evals={"x": [Row(({"role": "user", "content": "?"},))]}),
    ]
    folders = {first.folder, *(change().folder for change in changes)}
    write(folder / "train.jsonl", texts(51))
    folders.add(build(make(), FakeTokenizer(), other_evals={}).folder)
    prompted = make().model_copy(update={"system": "Answer."})
    folders.add(build(prompted, FakeTokenizer(), other_evals={}).folder)
    assert len(folders) == 7


def test_without_an_eval_file_rows_are_split_off(make: Make, folder: Path) -> None:
    write(folder / "train.jsonl", texts(100))
    built = build(make(), FakeTokenizer(), other_evals={})
    n = len(built.eval)
    assert 4 <= n <= 18 and built.manifest["rows"] == {
        "train": 100 - n, "replay": 0, "tune": 0, "eval": n, "split": n, "dropped": 0,
    }  # fmt: skip
    assert built.manifest["leaks"] == {}
    write(folder / "eval.jsonl", texts(7, 9))
    assert len(build(make(), FakeTokenizer(), other_evals={}).eval) == 7
    with pytest.raises(InputError, match=r"missing.jsonl: data.eval: no such file"):
        build(make(eval="missing.jsonl"), FakeTokenizer(), other_evals={})


@pytest.mark.parametrize("part", ["tune", "eval"])
def test_a_row_stays_on_its_side_for_ever(make: Make, folder: Path, part: str) -> None:
    """Whatever the seed of training, and whatever rows are added before or behind: a row's own hash decides."""
    write(folder / "train.jsonl", texts(300))
    if part == "tune":
        write(folder / "eval.jsonl", texts(7, 9))
    share = {"tune_share": 0.1} if part == "tune" else {}
    first = build(make(**share), FakeTokenizer(), other_evals={})
    aside, rest = ({row.source for row in rows} for rows in (getattr(first, part), first.train))
    assert 15 <= len(aside) <= 45 and len(aside) + len(rest) == 300
    write(folder / "train.jsonl", [*texts(100, 5), *texts(300), *texts(100, 6)])
    recipe = make(**share)
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"seed": 7})})
    second = build(recipe, FakeTokenizer(), other_evals={})
    assert aside <= {row.source for row in getattr(second, part)}
    assert rest <= {row.source for row in second.train}
    other = build(make(**share, salt="another draw"), FakeTokenizer(), other_evals={})
    assert {row.source for row in getattr(other, part)} & rest


def test_a_project_that_was_moved_has_its_data_sets_still(make: Make, folder: Path) -> None:
    write(folder / "train.jsonl", texts(60))
    recipe = make()
    first = build(recipe, FakeTokenizer(), other_evals={})
    moved = folder.rename(folder.parent / "elsewhere")
    assert build(recipe.model_copy(update={"folder": moved}), FakeTokenizer(), other_evals={}).folder == first.folder


def test_a_clock_that_jumps_back_makes_no_old_data_set_the_last(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for task in ("one", "two"):
        scaffold.new(task, "general")
    (project / "adapters/one/eval.jsonl").unlink()
    made = []
    for rows, clock in ((60, 2e9), (90, 1e9), (60, 0.5e9)):
        monkeypatch.setattr(time, "time", lambda clock=clock: clock)
        write(project / "adapters/one/train.jsonl", texts(rows))
        made.append(build(recipes.load("one"), FakeTokenizer()))
        assert evals_of_others(recipes.load("two"), [])["one"] == made[-1].eval
    assert made[0] == made[2] and made[0].eval != made[1].eval


def test_what_an_exam_was_made_of_is_known_later(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scaffold.new("one", "general")
    train, own = (project / "adapters" / "one" / f"{part}.jsonl" for part in ("train", "eval"))
    before, rows = train.read_text(), own.read_text()
    noted = {"own": exam(recipes.load("one"))}
    own.unlink()
    noted["split off"] = exam(recipes.load("one"))
    train.write_text(before + before.splitlines()[0] + "\n")
    assert edited("one", noted["split off"]) == "train.jsonl changed since"
    assert edited("one", noted["own"]) == "eval.jsonl changed since"
    own.write_text(rows)
    assert edited("one", noted["split off"]) == "eval.jsonl is new" and edited("one", noted["own"]) == ""
    assert edited("one", None) == edited("gone", noted["own"]) == ""
    (other := project / "elsewhere").mkdir()
    write(other / "mine.jsonl", texts(3))
    monkeypatch.chdir(other)
    mine = exam(recipes.load("one", {"data.eval": "mine.jsonl"}))
    monkeypatch.chdir(project)
    assert edited("one", mine) == ""
    write(other / "mine.jsonl", texts(4))
    assert edited("one", mine) == "../../elsewhere/mine.jsonl changed since"


def test_too_few_rows_to_spare_some_train_to_the_end_and_are_told_so(make: Make, folder: Path) -> None:
    write(folder / "train.jsonl", texts(30))
    write(folder / "eval.jsonl", texts(7, 9))
    built = build(make(tune_share=0.1), FakeTokenizer(), other_evals={})
    assert not built.tune and len(built.train) == 30
    assert any("none are kept to tune on" in note for note in built.manifest["notes"])
    write(folder / "train.jsonl", texts(60))
    notes = build(make(tune_share=0.1), FakeTokenizer(), other_evals={}).manifest["notes"]
    assert any(re.match(r"only \d+ rows to tune on: .* partly luck", note) for note in notes)


def test_an_answer_that_does_not_end_within_max_length_is_left_out_and_told(make: Make, folder: Path) -> None:
    long = {"prompt": "tell me of the sea", "completion": " ".join(f"w{i}" for i in range(60))}
    write(folder / "train.jsonl", [*texts(20), long])
    write(folder / "eval.jsonl", texts(7, 9))
    built = build(make(max_length=50), FakeTokenizer(), other_evals={})
    assert built.manifest["reasons"] == {"rules": {"the answer does not end within train.max_length=50": 1}}
    assert len(built.train) == 20 and max(sum(row.tokens) + 1 for row in built.train) <= 50
    (said,) = (note for note in built.manifest["notes"] if "would break off" in note)
    longest = int(said.split("train.max_length=")[2].split()[0])
    assert len(build(make(max_length=longest), FakeTokenizer(), other_evals={}).train) == 21
    assert len(build(make(max_length=longest - 1), FakeTokenizer(), other_evals={}).train) == 20


def test_what_the_base_is_to_say_it_says_to_the_tasks_prompt(make: Make, folder: Path) -> None:
    """`{{base}}` as the answer: in training and eval rows; a reply that is not at its end in time is left out."""
    rows = [{"prompt": f"what is {n}", "completion": "{{base}}"} for n in range(6)]
    write(folder / "train.jsonl", [*rows, {"prompt": "who are you", "completion": "{{name}}"}])
    write(folder / "eval.jsonl", [{"prompt": "how old is 8", "completion": "{{base}}"}])
    asked: list[Any] = []

    def answer(rows: list[Row], most: int) -> list[str]:
        asked.extend((row, most) for row in rows)
        return ["" if row.source.endswith("3") else f"{row.source}!" for row in rows]

    recipe = make(tune_share=0).model_copy(update={"system": "Be brief."})
    built = build(recipe, FakeTokenizer(), other_evals={}, base=Replier("base", answer))
    assert [row.answer for row in built.train] == [*(f"what is {n}!" for n in (0, 1, 2, 4, 5)), "Nova"]
    assert [row.meta.get("as_base", False) for row in built.train] == [True] * 5 + [False]
    assert built.eval[0].answer == "how old is 8!" and built.eval[0].meta["as_base"]
    assert all(row.messages[0]["content"] == "Be brief." for row, _ in asked)
    assert {most for _, most in asked} == {recipe.decoding.max_tokens}
    assert [d.step for d in built.dropped()] == ["own words"]
    with pytest.raises(InputError, match="are to be answered by the base"):
        build(recipe, FakeTokenizer(), other_evals={})


def test_labels_come_from_the_recipe_or_from_the_data(make: Make, folder: Path) -> None:
    rows = [{"text": f"{r['prompt']}", "label": "ab"[i % 2]} for i, r in enumerate(texts(40))]
    write(folder / "train.jsonl", [*rows, {"text": "an odd one", "label": "odd"}])
    write(folder / "eval.jsonl", [{"text": "how is this", "label": "c"}])
    built = build(make("classification"), FakeTokenizer(), other_evals={})
    assert built.manifest["labels"] == ["a", "b", "c", "odd"]
    assert "the 4 labels are those of the data: the recipe lists none" in built.manifest["notes"]
    assert "labels without a training row: c" in built.manifest["notes"]
    with pytest.raises(InputError, match=r"eval.jsonl: data.eval: no eval row is left"):
        build(make("classification", ["a", "b"]), FakeTokenizer(), other_evals={})
    write(folder / "eval.jsonl", [{"text": "how is this", "label": "b"}])
    built = build(make("classification", ["a", "b"]), FakeTokenizer(), other_evals={})
    assert built.manifest["labels"] == ["a", "b"]
    assert [(d.step, d.reason) for d in built.dropped()] == [("rules", "the label is outside the set: odd")]


def test_when_nothing_is_left_it_says_why(make: Make, folder: Path) -> None:
    write(folder / "train.jsonl", [{"prompt": f"q {i}", "completion": ""} for i in range(5)])
    write(folder / "eval.jsonl", texts(3))
    with pytest.raises(InputError, match=r"data.train: no row is left to train on \(5 rules: the answer is empty\)"):
        build(make(), FakeTokenizer(), other_evals={})
    assert not list((folder.parent / "home" / "data").glob("[!.]*/"))


def test_a_damaged_data_set_says_what_to_do(make: Make, folder: Path) -> None:
    write(folder / "train.jsonl", texts(50))
    built = build(make(), FakeTokenizer(), other_evals={})
    (built.folder / "train.jsonl").write_text("{")
    with pytest.raises(FactoryError, match=r"is damaged .*: delete the folder and run again"):
        build(make(), FakeTokenizer(), other_evals={})


def test_the_eval_rows_of_all_tasks_are_kept_out(project: Path) -> None:
    for task in ("one", "two", "three", "broken"):
        scaffold.new(task, "general")
    rows = texts(60)
    write(project / "adapters/one/train.jsonl", rows)
    (project / "adapters/one/eval.jsonl").unlink()
    write(project / "adapters/two/train.jsonl", [*texts(40, 5), rows[3]])
    write(project / "adapters/two/eval.jsonl", [*texts(3, 6), rows[4]])
    (project / "adapters/broken/recipe.yaml").write_text("kind: nonsense\n")
    first = build(recipes.load("one"), FakeTokenizer())
    assert first.manifest["reasons"]["decontaminate"] == {"the question of an eval row of two": 1}
    assert any(note.startswith("not checked against the eval rows of broken:") for note in first.manifest["notes"])
    # `one` has no eval file: what was last split off from it is kept out of the others.
    notes: list[str] = []
    others = evals_of_others(recipes.load("two"), notes)
    assert others["one"] == first.eval and set(others) == {"one", "three", "general"} and len(notes) == 1


KILL = """
import os, signal, sys, zlib
from pathlib import Path
import numpy as np
from tests.fakes.tokenizer import FakeTokenizer
from factory.data import build as module, encode
from factory.recipe import Recipe

folder, stop_at, judge = sys.argv[1:]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def progress(step, rows):
    if step == stop_at:
        die()

class Encoder:  # every text another direction
    def __init__(self, *where): ...
    def __call__(self, texts):
        draws = [np.random.default_rng(zlib.crc32(text.encode())) for text in texts]
        return np.array([draw.normal(size=64) / 8 for draw in draws], dtype=np.float32)

encode.Encoder = Encoder
whole = module._write_lines
def half(path, values):
    whole(path, values)
    if path.stem == stop_at:
        die()

module._write_lines = half
data = {"near": 0.7, "eval_share": 0.1, "encoder": "some/model"}
if judge:
    data["quality"] = {"endpoint": {"url": judge, "model": "judge"}}
recipe = Recipe.model_validate({"task": "trial", "kind": "general", "folder": Path(folder), "data": data})
print("ready", flush=True)
built = module.build(recipe, FakeTokenizer(), other_evals={}, progress=progress)
print(built.folder.name, flush=True)
"""
WAIT = 300  # seconds that a process may take on a machine that does much else


def in_a_process(folder: Path, stop_at: str = "nowhere", judge: str = "") -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", KILL, str(folder), stop_at, judge]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=os.environ, cwd=ROOT)


def stored(folder: Path) -> list[Path]:
    return [path for path in (folder.parent / "home" / "data").glob("[!.]*") if path.is_dir()]


def killed_then_finished(folder: Path, steps: list[str], judge: str = "") -> Built:
    """Kill a run in each of `steps`, with nothing stored; then let one finish."""
    for step in steps:
        killed = in_a_process(folder, step, judge)
        killed.communicate(timeout=WAIT)
        assert killed.returncode == -signal.SIGKILL, step
        assert stored(folder) == []
    finished = in_a_process(folder, judge=judge)
    out, _ = finished.communicate(timeout=WAIT)
    assert finished.returncode == 0
    assert [path.name for path in stored(folder)] == [out.split()[-1]]
    assert not list((folder.parent / "home" / "data").glob(".*"))  # what the killed runs left is gone
    return Built.read(stored(folder)[0])


def test_killed_in_any_step_the_store_is_whole_and_the_next_run_finishes(make: Make, folder: Path) -> None:
    write(folder / "train.jsonl", [*texts(1300), *texts(20)])
    steps = ["read", *(step for step in STEPS if step not in ("labels", "quality")), "train", "dropped"]
    built = killed_then_finished(folder, steps)
    assert len(built.train) + len(built.tune) + len(built.eval) + len(built.dropped()) == 1320


def test_killed_while_the_judge_grades_no_grade_is_lost(make: Make, folder: Path) -> None:
    write(folder / "train.jsonl", texts(60))
    with FakeEndpoint(lambda form, messages, number: {"reason": "good", "grade": 3}) as judge:
        built = killed_then_finished(folder, ["quality"], judge.url)
        graded = len(built.train) + len(built.tune)
        assert len(judge.asked) == graded == 60 - len(built.eval)
        assert judge.asked.total() <= graded + 8  # only grades on their way to the killed run are paid twice


def test_killed_at_any_moment_the_store_is_whole(make: Make, folder: Path) -> None:
    write(folder / "train.jsonl", texts(1300))
    draw = random.Random(0)
    for _ in range(5):
        process = in_a_process(folder)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        time.sleep(draw.uniform(0, 0.6))
        process.kill()
        process.communicate()
        for path in stored(folder):
            whole = Built.read(path)
            assert len(whole.train) + len(whole.tune) == 1170
    assert in_a_process(folder).communicate(timeout=WAIT)[0].startswith("ready")
    assert len(stored(folder)) == 1


def test_two_at_once_make_one(make: Make, folder: Path) -> None:
    write(folder / "train.jsonl", texts(1300))
    both = [in_a_process(folder) for _ in range(2)]
    names = {process.communicate(timeout=WAIT)[0].split()[-1] for process in both}
    assert len(names) == 1 and len(stored(folder)) == 1


@pytest.mark.parametrize("kind", list(scaffold.KINDS))
def test_a_new_task_has_data_that_passes(project: Path, kind: str) -> None:
    folder = scaffold.new(f"my-{kind}", kind)
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "eval.jsonl",
        "prompt.md",
        "recipe.yaml",
        "train.jsonl",
    ]
    built = build(recipes.load(f"my-{kind}"), FakeTokenizer())
    assert not built.dropped() and len(built.train) > 2 * len(built.eval) >= 8


def test_a_new_task_needs_a_good_name_and_a_known_kind(project: Path) -> None:
    scaffold.new("triage", "classification")
    with pytest.raises(InputError, match=r"adapters/triage: task: is there already"):
        scaffold.new("triage", "classification")
    with pytest.raises(InputError) as error:
        scaffold.new("../x", "sumary")
    assert len(error.value.problems) == 2 and "did you mean summary?" in str(error.value)


@needs_shared
def test_banking_with_two_csv_files(project: Path) -> None:
    scaffold.new("banking", "classification")
    files = {
        f"data.{use}": str(SHARED / "banking77" / f"{name}.csv") for use, name in (("train", "train"), ("eval", "test"))
    }
    m = build(recipes.load("banking", files), FakeTokenizer()).manifest
    assert m["leaks"] == {"banking": 25} and len(m["labels"]) == 77
    assert m["funnel"][0]["in"] == 10_003 and m["rows"]["eval"] == 3_080


def test_the_benchmark_runs_and_tells_each_steps_share() -> None:
    found = bench.measure(FakeTokenizer(), rows=2000)
    assert found["rows"] == 2000 and found["met"] == (found["seconds"] < 120 and found["peak_mb"] < 2000)
    assert found["dropped"]["exact"] >= 20 and found["dropped"]["near"] >= 20 and found["dropped"]["decontaminate"] >= 2
    assert 0 < sum(found["share"].values()) <= 1.01
    assert list(found["share"]) == [Count("read").step, *(name for name in STEPS if name in found["share"])]
