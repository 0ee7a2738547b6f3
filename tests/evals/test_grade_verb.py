"""The gate as people meet it: `factory grade` and `factory promote`, their exit codes, and what stays on record.

The answers of the versions are in the ratings database beforehand, so that no adapter has to be trained for this.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import pytest

from evals import answers, decisions, oversight, tables
from factory import recipe as recipes
from factory.base.build import Base
from factory.cli import main
from factory.home import project as checkout
from factory.pipeline.data import dataset
from factory.recipe import load
from factory.registry import aliases, store
from factory.registry.store import Version
from tests.fakes.adapters import register

LABELS = ["billing", "delivery", "other"]
RECIPE = "kind: classification\nlabels: [billing, delivery, other]\nrubric: classification\n"


def lines(name: str, n: int) -> str:
    rows = [{"text": f"{name} {i}: my {LABELS[i % 3]} question {i * 7}", "label": LABELS[i % 3]} for i in range(n)]
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(scope="module")
def versions(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Version]]:
    """A project and a home of its own, which no server of other tests knows, with one task; versions that are right in
    90, 100, 40 and 90 % of 90 eval rows."""
    folder, rubrics = tmp_path_factory.mktemp("project"), checkout() / "rubrics"
    task = folder / "adapters" / "parcels"
    task.mkdir(parents=True)
    (folder / "rubrics").mkdir()
    for name in ("classification.yaml", "general.yaml"):
        shutil.copy(rubrics / name, folder / "rubrics")
    (folder / "rubrics" / "general.jsonl").write_text('{"prompt": "What do bees make?", "kind": "fact"}\n')
    (folder / "adapters" / "defaults.yaml").write_text(f"base: {base.name}\ngate: {{evidence: checks}}\n")
    (task / "recipe.yaml").write_text(RECIPE)
    (task / "train.jsonl").write_text(lines("note", 120))
    (task / "eval.jsonl").write_text(lines("letter", 90))
    (folder / "home" / "bases").mkdir(parents=True)
    (folder / "home" / "bases" / base.folder.name).symlink_to(base.folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("FACTORY_HOME", str(folder / "home"))
        patch.setenv("FACTORY_RATINGS", f"sqlite:///{folder}/ratings.db")
        rows = dataset(load("parcels")).eval
        found = [register(base, "parcels", seed, kind="classification", labels=LABELS) for seed in range(4)]
        for version, share in zip(found, (0.9, 1.0, 0.4, 0.9), strict=True):
            said = [r.meta["label"] if i < share * len(rows) else "wrong" for i, r in enumerate(rows)]
            answers.record(tables.open_database(), "parcels", version.name, rows, said)
        yield found


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    ("number", "changes", "decision"),
    [(2, [], "PROMOTE"), (3, [], "REJECT"), (4, ["gate.share=0.2"], "INCONCLUSIVE")],
)
def test_good_is_promoted_bad_rejected_and_few_labels_are_inconclusive_with_a_number(
    capsys: pytest.CaptureFixture[str], versions: list[Version], number: int, changes: list[str], decision: str
) -> None:
    code, out, _ = run(capsys, "grade", f"version=parcels@v{number}", "against=prod", *changes, "--json")
    report = json.loads(out)
    assert code == 0 and report["gate"]["decision"] == decision, report["gate"]["why"]
    assert report["against"] == versions[0].name and report["gate"]["plan"]["margin_good"] == 0.1
    assert {cell["task"] for cell in report["matrix"]} == {"parcels", "general"}
    if decision == "INCONCLUSIVE":
        needed = report["gate"]["labels_needed"]
        assert needed == 40 - report["rows"] and f"label {needed} more" in report["gate"]["why"]
    page = store.get(versions[number - 1].sha).notes("report.html").read_text()
    assert decision in page and "Did anything else change?" in page
    assert store.noted(versions[number - 1], "gate")["decision"] == decision


def test_promote_obeys_the_gate_with_exit_code_3_and_an_override_is_recorded(
    capsys: pytest.CaptureFixture[str], versions: list[Version]
) -> None:
    for number in (2, 3):
        run(capsys, "grade", f"version=parcels@v{number}", "--json")
    code, out, err = run(capsys, "promote", "version=parcels@v3", "--json")
    assert code == 3 and "REJECT: " in out + err and "good against production" in out + err and "Traceback" not in err
    assert aliases.read("parcels").aliases["prod"] == versions[0].sha
    assert run(capsys, "promote", "version=parcels@v3", "force=now")[0] == 2, "a reason is more than a word"
    assert run(capsys, "promote", "version=parcels@v2")[0] == 0
    code, _, err = run(capsys, "promote", "version=parcels@v1")
    assert code == 3 and f"{versions[0].short} was never graded: factory grade version=" in err
    assert run(capsys, "promote", "version=parcels@v3", "force=wrong amounts, see the incident of today")[0] == 0
    kept = decisions.overridden(tables.open_database(), versions[2].name, versions[1].name)
    assert kept and kept["decision"] == "REJECT" and kept["forced"] == "wrong amounts, see the incident of today"
    assert recipes.tasks() == ["parcels"]


def test_rows_that_were_edited_after_a_grade_must_be_graded_again(
    capsys: pytest.CaptureFixture[str], versions: list[Version]
) -> None:
    """Until then the old score is said to be one on other rows, and the gate's old word counts for nothing."""
    folder = checkout() / "adapters" / "parcels"
    before = (folder / "eval.jsonl").read_text()
    run(capsys, "grade", "version=parcels@v2", "--json")
    listed = json.loads(run(capsys, "list", "task=parcels", "--json")[1])["versions"]
    assert [version["rows_edited"] for version in listed] == [None] * 4
    (folder / "eval.jsonl").write_text(before.replace("letter 7:", "message 7:"))
    code, _, err = run(capsys, "promote", "version=parcels@v2")
    assert code == 3 and "was graded on other rows (eval.jsonl changed since): grade again: factory grade" in err
    listed = json.loads(run(capsys, "list", "task=parcels", "--json")[1])["versions"]
    assert (
        "graded on other rows" in run(capsys, "list")[1]
        and "of other rows" in run(capsys, "show", "version=parcels@v2")[1]
    )
    assert listed[1]["rows_edited"] == "eval.jsonl changed since" and listed[0]["rows_edited"] is None  # never graded
    report = json.loads(run(capsys, "grade", "version=parcels@v2", "--json")[1])
    assert report["gate"]["decision"] == "PROMOTE" and report["baseline"]["rows"] == report["scorecard"]["rows"] == 90
    assert run(capsys, "promote", "version=parcels@v2")[0] == 0
    (folder / "eval.jsonl").write_text(before)


def test_label_opens_the_batch_for_people(capsys: pytest.CaptureFixture[str], versions: list[Version]) -> None:
    words, people = ("grade", "version=parcels@v4"), "gate.evidence=people"
    assert run(capsys, *words, "label=random")[0] == 2, "checks decide here"
    code, _, err = run(capsys, *words, people, "label=uncertain")
    assert code == 2 and "no judge is heard" in err
    code, out, _ = run(capsys, *words, people, "label=random")
    assert code == 0 and "people can label these pairs now: factory rate" in out
    (found,) = oversight.batches(tables.open_database())
    prod = aliases.read("parcels").aliases["prod"]
    assert {*found.versions} >= {versions[3].name, f"parcels@{prod}"} and found.left == found.planned > 0


def test_an_edited_prompt_has_the_base_asked_anew(capsys: pytest.CaptureFixture[str], versions: list[Version]) -> None:
    names = []
    for prompt in ("Which is it?", "Which is it?", "Name the label."):
        (checkout() / "adapters" / "parcels" / "prompt.md").write_text(prompt)
        names.append(json.loads(run(capsys, "grade", "version=parcels@v2", "against=base", "--json")[1])["against"])
    assert names[0] == names[1] != names[2] and "+parcels@" in names[0]


def test_a_task_that_was_renamed_says_so_and_can_be_retired(
    capsys: pytest.CaptureFixture[str], versions: list[Version]
) -> None:
    folder = checkout() / "adapters"
    (folder / "parcels").rename(folder / "letters")
    try:
        assert len(json.loads(run(capsys, "list", "task=parcels", "--json")[1])["versions"]) == 4
        code, _, err = run(capsys, "grade", "version=parcels@v2")
        assert code == 2 and "versions of parcels are here, but its folder adapters/parcels is not" in err
        assert run(capsys, "rollback", "task=parcels")[0] == 0
        assert run(capsys, "retire", "task=parcels")[0] == 0
        assert "prod" not in aliases.read("parcels").aliases
    finally:
        (folder / "letters").rename(folder / "parcels")
