"""Stages of a recipe by the command line: each a version that starts from the one before, none made twice."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from evals import feedback, tables
from evals.feedback import Feedback
from factory import recipe as recipes
from factory.base import loaded as bases
from factory.cli import main
from factory.errors import InputError
from factory.pipeline import stages
from factory.registry import store
from factory.train import curves
from tests.fakes.project import inside, no_base_here, write
from tests.tiny_base import world

SMALL = ["train.evals=1", "train.patience=0", "data.tune_share=0.2", "--json"]


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Small tasks; two have pairs (the whole answer over its first words), and one thumbs."""
    folder = write(tmp_path_factory.mktemp("project"), train=32, evaluation=4)
    for task in ("summary", "identity"):
        rows = [json.loads(line) for line in (folder / "adapters" / task / "train.jsonl").read_text().splitlines()]
        messages = [row.get("messages") or _turns(row) for row in rows]
        pairs = [
            {"prompt": asked, "chosen": said, "rejected": said.split()[0] + " " + asked.split()[-1]}
            for asked, said in messages
        ]
        _lines(folder / "adapters" / task / "pairs.jsonl", pairs)
        _lines(
            folder / "adapters" / task / "thumbs.jsonl",
            [
                {"prompt": pair["prompt"], "completion": pair[("rejected", "chosen")[n % 2]], "label": bool(n % 2)}
                for n, pair in enumerate(pairs)
            ],
        )
    with inside(folder):
        yield folder


def _turns(row: dict[str, Any]) -> tuple[str, str]:
    asked = next(row[key] for key in ("prompt", "document", "instruction", "text") if key in row)
    return asked, next(row[key] for key in ("completion", "summary", "output", "response", "label") if key in row)


def _lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def home(project: Path) -> Path:
    return project / "home"


def factory(home: Path, *words: str) -> tuple[int, list[dict[str, Any]], str]:
    """`factory train` in this process: the exit code, the versions on stdout, stderr."""
    out, said = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        patch.setenv("FACTORY_HOME", str(home))
        code = main(["train", *words, *SMALL])
    return code, json.loads(out.getvalue() or "{}").get("versions", []), said.getvalue()


def test_each_stage_is_a_version_that_starts_from_the_one_before(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two tasks together. Asked for again, nothing is trained; another last stage leaves the first as it was."""
    monkeypatch.setenv("FACTORY_HOME", str(home))
    code, made, said = factory(home, "task=summary,identity", "stages=sft,dpo", "train.epochs=1")
    assert code == 0, said
    assert [(one["task"], one["stage"], one["ordinal"]) for one in made] == [
        ("summary", "sft", 1), ("identity", "sft", 1), ("summary", "dpo", 2), ("identity", "dpo", 2),
    ]  # fmt: skip
    first, _, second, _ = made
    assert first["parent"] == "" and second["parent"] == first["version"]
    noted = store.noted(second["version"].split("@")[1], "run")
    assert noted["parent"] == first["version"].split("@")[1] and noted["method"]["beta"] == 0.1
    records = curves.read(Path(second["run"]))
    assert records[0]["chosen"] == pytest.approx(0, abs=0.01) and "accuracy" in records[0]
    changed = [path.stat().st_mtime_ns for path in sorted(home.glob("runs/*/metrics.jsonl"))]
    code, again, _ = factory(home, "task=summary,identity", "stages=sft,dpo", "train.epochs=1")
    assert code == 0 and [one["version"] for one in again] == [one["version"] for one in made]
    assert changed == [path.stat().st_mtime_ns for path in sorted(home.glob("runs/*/metrics.jsonl"))]
    code, other, said = factory(home, "task=summary", "stages=sft,kto", "train.epochs=1")
    assert code == 0, said
    assert [(one["stage"], one["ordinal"]) for one in other] == [("sft", 1), ("kto", 3)]
    assert other[0]["version"] == first["version"] and other[1]["parent"] == first["version"]


@pytest.mark.slow
def test_stages_over_a_base_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes train, one stage after the other; this one never holds the base."""
    with monkeypatch.context() as patch:
        no_base_here(patch)
        code, made, said = factory(tmp_path, "task=summary", "stages=sft,dpo", "train.epochs=1", "devices=2")
    assert code == 0, said
    first, second = made
    assert (first["stage"], second["stage"], second["parent"]) == ("sft", "dpo", first["version"])
    assert curves.read(Path(second["run"]))[0]["chosen"] == pytest.approx(0, abs=0.01)
    assert len([*tmp_path.glob("notes/*/probe.json")]) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["task=summary", "stages=sft,dop"], "stages.1: must be a method, or {method: {settings}}; did you mean dpo?"),
        (["task=summary", "stages=rl"], "stages: must be methods, or a plan of this task (it has none); known: dpo,"),
        (["task=summary", "stages=shrt", "plans.short=sft"], "a plan of this task (short); did you mean short?"),
        (["task=summary", "stages=short", "plans.short=[sft, {dpo: {bta: 1}}]"], "plans.short.1: dpo has no setting"),
        (["task=summary", "plans.dpo=[sft, dpo]"], "plans: a plan cannot be called 'dpo'"),
        (["task=summary", "stages=[{dpo: {bta: 1}}]"], "stages.0: dpo has no setting 'bta'; did you mean beta?"),
        (["task=summary", "stages=[sft, {rounds: {n: 2}}]"], "rounds are {rounds: {n: 2, of: [generate, sft]}}"),
        (["task=summary", "stages=[sft, {dpo: {data: drawn}}]"], "stages.1.dpo.data: nothing is drawn before it"),
        (
            ["task=summary", "stages=[sft, generate, {kto: {data: drawn}}]"],
            "2.kto.data: what is drawn are rows",
        ),
        (["task=summary", "stages=[{dpo: {lr: 1}}]"], "lr is far too large for a LoRA: usual are 5e-06 to 0.0005"),
        (["task=summary", "stages=sft", "train.lr=1e-8"], "lr is far too small for a LoRA: usual are 5e-05 to 0.002"),
        (
            ["task=classification", "stages=dpo", "data.pairs=train.jsonl"],
            "begin with supervised fine-tuning (stages=sft,dpo)",
        ),
        (["task=classification", "stages=sft,dpo"], "data.pairs: no such file"),
        (["task=summary", "stages=sft,dpo", "data.pairs=train.jsonl"], "every row must have a chosen and a rejected"),
        (["task=summary", "stages=sft,dpo", "data.pairs=ratings"], "nobody has yet preferred an answer of summary"),
        (["task=summary", "stages=sft,dpo", "sweep=lora.r:4,8"], "stages: a recipe with stages"),
        (["task=summary", "stages=sft,grpo", "devices=2"], "stages: grpo cannot do with a base in parts"),
        (["task=summary", "stages=[sft, reward, grpo]", "devices=2"], "stages: reward and grpo cannot do"),
    ],
)
def test_what_cannot_be_trained_in_stages_says_why(tmp_path: Path, words: list[str], said: str) -> None:
    code, made, stderr = factory(tmp_path, *words)
    assert code == 2 and said in stderr and not made, stderr
    assert not (tmp_path / "store").exists() and not [*tmp_path.glob("runs/*/metrics.jsonl")]


def test_what_people_rated_becomes_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    """What users would have written instead, accepted by a lead; eval rows are never among it."""
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path))
    engine = tables.open_database(f"sqlite:///{tmp_path / 'ratings.db'}")
    rows = world.rows("summary", 14, seed=3)
    for number, row in enumerate(rows):
        said = Feedback(vote="down", wrote=row["summary"], consent=True, eval=number < 2)
        feedback.give(engine, "summary", "v1", row["document"], "Nothing happened.", said)
    for line in feedback.waiting(engine):
        feedback.settle(engine, line["id"], "lead", True)
    recipe = recipes.load("summary", {"stages": "dpo", "data.pairs": "ratings"})
    on = bases.loaded(recipe.base)
    staged, built, said = stages.rows_of(recipe, recipe.stages[0], on.base)
    assert said == ["12 pairs from ratings: 12 edited"] and built.eval and len(built.train) == 12
    made = stages.examples_of(recipe.stages[0], on, built.train, staged.train.max_length)
    texts = [on.tokenizer.decode(e.input_ids) for e in made]
    assert [e.reward for e in made] == [1, -1] * 12 and [e.group for e in made] == [n // 2 for n in range(24)]
    assert all(any(row["document"] in text and row["summary"] in text for text in texts) for row in rows[2:])
    assert sum("Nothing happened." in text for text in texts) == 12


def test_a_recipe_lists_its_stages_with_their_settings(project: Path) -> None:
    path = project / "adapters" / "summary" / "recipe.yaml"
    before, values = path.read_text(), yaml.safe_load(path.read_text())
    try:
        path.write_text(yaml.safe_dump({**values, "stages": ["sft", {"dpo_norm": {"beta": 2, "epochs": 2}}]}))
        sft, dpo = recipes.load("summary").stages
        assert (sft.name, dpo.name, dpo.model_dump()["beta"], dpo.epochs) == ("sft", "dpo_norm", 2, 2)
        path.write_text(before + "stages:\n- sft\n- dpo:\n    beta: 0\n")
        line = path.read_text().splitlines().index("    beta: 0") + 1
        with pytest.raises(InputError, match=rf"recipe.yaml:{line}: stages.1.dpo.beta: Input should be greater than 0"):
            recipes.load("summary")
    finally:
        path.write_text(before)


def test_a_plan_is_stages_by_name_and_decides_nothing_by_itself(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever does not name it trains as before. Those that are shipped are what the papers do."""
    plan = "[sft, {rounds: {n: 2, of: [generate, {sft: {epochs: 1}}]}}]"
    plain, named, written = (
        recipes.load("summary", changes)
        for changes in ({}, {"plans.short": plan, "stages": "short"}, {"plans.short": "[sft]", "stages": plan})
    )
    assert not plain.stages and named.stages == written.stages and len(named.stages) == 5
    assert plain.hash() == named.hash() == written.hash()
    monkeypatch.chdir(Path(__file__).parents[3])
    shipped = {"sums": "r1", "sql": "tulu", "summary": "llama3"}
    found = {task: [one.name for one in recipes.load(task, {"stages": name}).stages] for task, name in shipped.items()}
    assert found == {
        "sums": ["sft", "grpo", "generate", "sft", "grpo"],
        "sql": ["sft", "generate", "dpo_norm", "grpo"],
        "summary": ["sft", *["generate", "sft", "dpo_norm"] * 2],
    }
    assert not any(recipes.load(task).stages for task in shipped)


def test_alarms_are_told_in_words() -> None:
    steps = [{"step": n, "loss": 0.5 - n / 30, "grad_norm": 0.1, "chosen": -n / 20} for n in range(1, 13)]
    (said,) = curves.warnings(steps)
    assert "chosen answers became less likely than before, too (-0.60 a token)" in said
    still = [{"step": n, "loss": 0.69 - n / 1e3, "grad_norm": 0.0} for n in range(1, 4)]
    assert "the adapter does not move" in curves.warnings(still)[0]
    nothing = [{"step": n, "loss": 10.0**-n, "grad_norm": 0.1} for n in range(1, 13)]
    assert "the loss is 0, nothing is left to learn" in curves.warnings(nothing)[0]
    loop = "again and again " * 20
    longer, repeated = curves.drift(["a short answer"] * 4, ["a short answer"] * 2 + [loop] * 2)
    assert "answers grew longer: 32 words, 3 before" in longer and "2 of 4 answers repeat themselves, 0" in repeated
    assert curves.drift(["one two three"], ["one two three four"]) == []
