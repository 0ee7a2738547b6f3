"""Training as the command line does it: the same seed the same version, a killed run goes on, broken runs say why."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from factory import probe
from factory.base import build
from factory.base import loaded as bases
from factory.cli import main
from factory.pipeline.prepare import prepare
from factory.recipe import load
from factory.registry import store
from factory.shares import Shares
from serve.probe import MADE
from tests.fakes.project import ROOT, inside, no_base_here, running, write
from tests.tiny_base import TINY

APART = 0.02  # how far the losses of two processes may be from those of one, in a base computing in bf16
SMALL = ["train.epochs=3", "train.evals=8", "train.patience=0", "--json"]


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with small tasks, and one that cannot be trained; we are in it."""
    folder = write(tmp_path_factory.mktemp("project"), train=80, evaluation=8)
    broken = folder / "adapters" / "broken"
    shutil.copytree(folder / "adapters" / "summary", broken)
    recipe = yaml.safe_load((broken / "recipe.yaml").read_text())
    recipe |= {"rubric": "summary", "lora": {"alpha": 1e38}}
    (broken / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    with inside(folder):
        yield folder


@pytest.fixture
def home(tmp_path: Path, project: Path) -> Path:
    """A fresh home, but for the base."""
    (project / "bases").mkdir(exist_ok=True)
    (tmp_path / "bases").symlink_to(project / "bases")
    return tmp_path


def factory(home: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    """`factory train` in this process: the exit code, the object on stdout ({} if there is none), stderr."""
    out, said = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        patch.setenv("FACTORY_HOME", str(home))
        code = main(["train", *words, *SMALL])
    return code, json.loads(out.getvalue() or "{}"), said.getvalue()


@pytest.fixture(scope="module")
def undisturbed(project: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = tmp_path_factory.mktemp("home")
    (project / "bases").mkdir(exist_ok=True)
    (home / "bases").symlink_to(project / "bases")
    code, result, said = factory(home, "task=summary")
    assert code == 0, said
    assert "rows to tune on: what early stopping or a sweep chooses by them is partly luck" in said
    return dict(result["versions"][0])


def records(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_what_a_run_tells(undisturbed: dict[str, Any]) -> None:
    assert undisturbed["task"] == "summary" and undisturbed["base"] == "tiny" and undisturbed["ordinal"] == 1
    assert undisturbed["train_tokens"] > 80 * 3 * 20 and undisturbed["tokens_per_second"] > 0
    assert 0 <= undisturbed["scorecard"]["good"] <= 1 and undisturbed["scorecard"]["n"] == 8
    run = Path(undisturbed["run"])
    losses = [r["loss"] for r in records(run) if "loss" in r]
    assert len(losses) == records(run)[-1]["step"] >= 12 and sum(losses[-5:]) < sum(losses[:5])
    assert sum("eval_loss" in r for r in records(run)) >= 8
    assert (run / "curves.png").stat().st_size > 10_000


def test_a_base_is_loaded_once_whatever_it_is_called() -> None:
    assert bases.loaded(TINY) is bases.loaded(TINY)
    assert bases.loaded(os.path.relpath(TINY)) is bases.loaded(TINY)


def test_stopped_killed_and_started_again_it_comes_to_the_same_version(home: Path, undisturbed: dict[str, Any]) -> None:
    """The first process is asked to end, the second dies, this one goes on; nothing of them is in the version, only the
    seed."""
    for number, code in ((signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)):
        process = started(home)
        process.send_signal(number)
        assert process.wait(timeout=60) == code
        told = (home / "said").read_text()
        assert ("factory: interrupted" in told) == (number == signal.SIGTERM) and "Traceback" not in told
        assert not (home / "store").exists()
    code, result, problem = factory(home, "task=summary")
    assert code == 0, problem
    made = result["versions"][0]
    assert made["version"] == undisturbed["version"]
    steps = [record["step"] for record in records(Path(made["run"])) if "loss" in record]
    assert steps == list(range(1, len(steps) + 1))


def started(home: Path, *words: str) -> subprocess.Popen[bytes]:
    """`factory train task=summary`, or with other words, in a process of its own that has made some steps of it."""
    environment = {**os.environ, "FACTORY_HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with open(home / "said", "w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "factory.cli", "train", *(words or ["task=summary"]), *SMALL],
            env=environment, stdout=said, stderr=said,
        )  # fmt: skip
    deadline = time.monotonic() + 400
    while sum(path.read_text().count("\n") for path in home.glob("runs/summary-*/metrics.jsonl")) < 4:
        assert process.poll() is None and time.monotonic() < deadline, (home / "said").read_text()
        time.sleep(0.02)
    return process


def workers(process: subprocess.Popen[bytes]) -> dict[int, list[str]]:
    """The processes that it has started, with their words."""
    threads = Path(f"/proc/{process.pid}/task").glob("*/children")
    pids = [int(pid) for thread in threads for pid in thread.read_text().split()]
    return {pid: Path(f"/proc/{pid}/cmdline").read_text().split("\0") for pid in pids}


@pytest.mark.slow
def test_a_device_that_is_lost_costs_nothing_but_time(home: Path, undisturbed: dict[str, Any]) -> None:
    """Two tasks on two devices, a process each; the one with summary is killed in the middle, the other one takes it
    over from its checkpoint. What comes out is what one device makes."""
    process = started(home, "task=summary,identity", "devices=2")
    there = workers(process)
    (lost,) = [pid for pid, words in there.items() if "task=summary" in words]
    assert [pid for pid, words in there.items() if "task=identity" in words]
    os.kill(lost, signal.SIGKILL)
    assert process.wait(timeout=400) == 0, (home / "said").read_text()
    told = (home / "said").read_text()
    assert "lost: its process ended with -9 on process" in told
    made = {one["task"]: one for one in json.loads(told.splitlines()[-1])["versions"]}
    assert made["summary"]["version"] == undisturbed["version"] and made.keys() == {"summary", "identity"}
    for task in made:
        assert len(json.loads((home / "registry" / f"{task}.json").read_text())["versions"]) == 1
    steps = [record["step"] for record in records(Path(made["summary"]["run"])) if "loss" in record]
    assert steps == list(range(1, len(steps) + 1))


@pytest.mark.slow
def test_one_task_trains_on_two_devices_that_share_base_and_rows(
    home: Path, undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes over gloo, each with half of every 4-bit layer and of every row: step by step the losses of one.
    Where one is lost the other ends at once, and the same command goes on. It holds no base itself, and the version
    remembers what the whole base gives with it."""
    process = started(home, "task=summary", "devices=2")
    lost = next(pid for pid, words in workers(process).items() if '"rank": 1' in words[-2])
    os.kill(lost, signal.SIGKILL)
    assert process.wait(timeout=30) == 1
    told = (home / "said").read_text().splitlines()
    assert told[-1].startswith("factory: summary: its process ended with -9 on process 2: "), told
    assert told[-1].endswith("; the same command goes on where it stopped") and not running(home)
    with monkeypatch.context() as patch:
        no_base_here(patch)
        code, result, said = factory(home, "task=summary", "devices=2")
    assert code == 0, said
    (made,) = result["versions"]
    one, two = (records(Path(version["run"])) for version in (undisturbed, made))
    assert [r.keys() for r in one] == [r.keys() for r in two] and made["train_tokens"] == undisturbed["train_tokens"]
    apart = [abs(a[key] - b[key]) / a[key] for a, b in zip(one, two, strict=True) for key in a if key.endswith("loss")]
    assert max(apart) < APART
    assert made["scorecard"]["n"] == 8 and len(list((home / "store").iterdir())) == 1
    monkeypatch.setenv("FACTORY_HOME", str(home))
    version, on = store.get(made["version"].split("@")[1]), bases.loaded(TINY)
    here = probe.of_version(version, on.model, on.tokenizer)
    base = probe.of_model(on.model, on.tokenizer, version.facts.prompt)
    whole, undivided, untrained = (probe.apart(remembered(made), of) for of in (here, remembered(undisturbed), base))
    assert whole < APART and undivided < MADE / 2 and untrained > 2 * MADE


def remembered(version: dict[str, Any]) -> Any:
    """What is noted of it for the engines that are to load it."""
    notes = Path(version["run"]).parents[1] / "notes" / version["version"].split("@")[1]
    return json.loads((notes / "probe.json").read_text())["logprobs"]


def test_the_same_training_twice_at_once_is_one_training(home: Path, undisturbed: dict[str, Any]) -> None:
    """As two machines on one home may start it: the second waits and takes what the first one made."""
    process = started(home)
    code, result, said = factory(home, "task=summary")
    assert process.wait(timeout=400) == 0, (home / "said").read_text()
    assert code == 0 and "is being trained by another process: waiting for what it makes" in said
    assert result["versions"][0]["version"] == undisturbed["version"]
    steps = [record["step"] for record in records(Path(result["versions"][0]["run"])) if "loss" in record]
    assert steps == list(range(1, len(steps) + 1))
    assert len(json.loads((home / "registry" / "summary.json").read_text())["versions"]) == 1


def test_training_stops_by_tune_rows_and_never_sees_the_exam(
    home: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another exam is another data set, and the same training: what is held out is the same, and so is the run."""
    monkeypatch.setenv("FACTORY_HOME", str(home))
    path = project / "adapters" / "summary" / "eval.jsonl"
    before, made = path.read_text(), []
    for exam in (before, "".join(before.splitlines(keepends=True)[:3])):
        path.write_text(exam)
        one = prepare(load("summary"), bases.loaded(TINY))
        built, job = one.built, one.job
        made.append((job.run, job.eval))
        asked = {row.source for row in built.eval}
        held_out = [bases.loaded(TINY).tokenizer.decode(example.input_ids) for example in job.eval]
        assert len(held_out) == len(built.tune) > 0 and len(asked) == exam.count("\n")
        assert all(any(row.source in text for row in built.tune) for text in held_out)
        assert not any(source in text for source in asked for text in held_out)
    assert made[0] == made[1]
    path.write_text(before)
    prompt = project / "adapters" / "summary" / "prompt.md"
    asked_before = prompt.read_text()
    prompt.write_text("Say it in a line.")
    assert prepare(load("summary"), bases.loaded(TINY)).job.run != made[0][0], "another prompt is another version"
    prompt.write_text(asked_before)


def test_one_that_fails_is_named_and_the_others_are_registered(home: Path) -> None:
    code, result, said = factory(home, "task=broken,summary")
    assert code == 1 and "broken: the gradient is not finite at step 1: lower train.lr" in said
    versions = json.loads((home / "registry" / "summary.json").read_text())["versions"]
    assert len(versions) == 1 and not (home / "registry" / "broken.json").exists()
    assert [made["task"] for made in result["versions"]] == ["summary"]
    (failed,) = result["failed"]
    assert failed["task"] == "broken" and "not finite" in failed["why"]
    assert Path(failed["run"]).parent == home / "runs"


def test_a_sweep_keeps_the_best_and_leaves_a_table_and_a_plot(home: Path) -> None:
    code, result, said = factory(home, "task=summary", "sweep=lora.r:4,8", "train.lr:1e-5,2e-3")
    assert code == 0, said
    names = [row["name"] for row in result["sweep"]]
    assert sorted(names) == sorted(f"summary lora.r={r} train.lr={lr}" for r in (4, 8) for lr in ("1e-5", "2e-3"))
    assert [len(row["scores"]) for row in result["sweep"]] == [3, 2, 1, 1]
    assert all(0 <= score <= 1 for row in result["sweep"] for _, score in row["scores"])
    (version,) = result["versions"]
    config = json.loads((home / "store" / _sha(home, version) / "adapter_config.json").read_text())
    assert f"lora.r={config['r']} " in names[0] and version["run"] == result["sweep"][0]["run"]
    (table,) = home.glob("runs/*/sweep.json")
    assert json.loads(table.read_text()) == result["sweep"] and (table.parent / "sweep.png").stat().st_size > 5_000


def _sha(home: Path, version: dict[str, Any]) -> str:
    short = version["version"].split("@")[1]
    (found,) = (path.name for path in (home / "store").iterdir() if path.name.startswith(short))
    return found


@pytest.mark.parametrize("words", [[], ["devices=2", "sweep=lora.r:4,8"]])
def test_a_base_too_large_for_one_gpu_says_how_to_train_on_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """The card is simulated: 2 GB."""
    monkeypatch.setattr(build, "_cuda", lambda: True)
    monkeypatch.setattr("factory.verbs.train.cuda", lambda: True)
    monkeypatch.setattr(build, "on_gpu", lambda visible: Shares("cuda", free=2 * 10**9, total=2 * 10**9))
    code, _, said = factory(home, "task=summary", *words)
    assert code == 2 and "too large for one GPU here; devices=2 or more divides it over so many" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["task=summary", "train.max_length=16"], "train"),
        (["task=summary", "train.report_to=wandb"], "pip install wandb"),
        (["task=summary", "lora.dora=true"], "lora.dora"),
        (["task=summary,broken", "sweep=lora.r:4,8"], "sweep: varies one task at a time, not summary, broken"),
        (["task=summary", "sweep=data.near:0.5,0.6"], "only keys of lora and train"),
        (["task=summary", "sweep=lora.r:4,many lora.rank:1"], "lora.rank"),
        (["task=summary", "lora.dropout=0.1", "lora.targets=[q_proj,embed_tokens]"], "embed_tokens is no linear layer"),
        (["task=summary", "sweep=lora.r=4"], "is not key:value,value"),
        (["task=summary", "sweep=lora.r:4,8", "data.tune_share=0"], "summary has no rows to tune on"),
    ],
)
def test_what_cannot_train_says_why(home: Path, words: list[str], said: str) -> None:
    code, result, stderr = factory(home, *words)
    assert code == 2 and said in stderr and "Traceback" not in stderr and not result
    assert not (home / "store").exists() and {path.suffix for path in home.glob("runs/*")} <= {".lock"}
