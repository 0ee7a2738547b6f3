"""Stages that learn from texts: every token of them, and what 4 bits cost is undone, once for all tasks."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from factory.base.build import Base, load_model, locate
from factory.base.loaded import loaded
from factory.cli import main
from factory.data.rows import Row
from factory.pipeline import recovery
from factory.registry import store
from factory.train import curves
from factory.train.fused import Job
from factory.train.methods import Recover
from factory.train.tokens import IGNORE, Example, encode_whole
from tests.factory.train.fused_support import LOSS, WEIGHT, apart, final_weights, largest, losses, make_job
from tests.fakes.project import inside, write
from tests.tiny_base import TINY

pytestmark = pytest.mark.usefixtures("one_thread")
COURSE = {"lr": 1e-3, "epochs": 6, "evals": 3, "schedule": "constant", "warmup": 0}
SMALL = ["train.evals=1", "train.patience=0", "train.epochs=1", "data.tune_share=0.2", "--json"]


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = write(tmp_path_factory.mktemp("project"), train=16, evaluation=4)
    texts = folder / "adapters" / "classification" / "texts"
    texts.mkdir()
    notes = [f"Note {n}: parcel {n * 7} went to gate {n % 5} at {n % 12} o'clock." for n in range(60)]
    (texts / "notes.txt").write_text("\n\n".join(notes[:30]))
    (texts / "more.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in notes[30:]))
    with inside(folder, FACTORY_HOME=str(folder / "home")):
        yield folder


def factory(*words: str) -> tuple[list[dict[str, Any]], str]:
    out, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        code = main(["train", *words, *SMALL])
    assert code == 0, said.getvalue()
    return json.loads(out.getvalue())["versions"], said.getvalue()


def test_every_token_of_a_text_is_learned_once() -> None:
    tokenizer = loaded(TINY).tokenizer
    words = [f"Word number {n} of a long text, and then some more." for n in range(12)]
    rows = [Row(({"role": "assistant", "content": text},), file="a.txt", line=n) for n, text in enumerate(words)]
    asked = ({"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Hi."})
    made = encode_whole(tokenizer, [*rows, Row(asked)], 40)
    ends = [e for e in made if e.input_ids[-1] == tokenizer.eos_token_id]
    assert len(ends) == 2 and all(e.labels == e.input_ids and len(e.input_ids) <= 40 for e in made)
    text = made[: made.index(ends[0]) + 1]
    whole = [*text[0].input_ids, *(token for piece in text[1:] for token in piece.input_ids[1:])]
    assert all(a.input_ids[-1] == b.input_ids[0] for a, b in itertools.pairwise(text))
    assert tokenizer.decode(whole[:-1]) == "\n\n".join(words)
    sizes: dict[Any, int] = {}
    for example in made:
        sizes[example.group] = sizes.get(example.group, 0) + len(example.input_ids)
    assert max(sizes.values()) <= 40 and len(sizes) <= len(made)


def test_pretraining_goes_before_fine_tuning(project: Path) -> None:
    """Of a task with labels, whose eval rows stay its own; general rows are among the texts."""
    (first, second), said = factory("task=classification", "stages=[{pretrain: {replay: 0.2}}, sft]")
    assert (first["stage"], second["stage"], second["parent"]) == ("pretrain", "sft", first["version"])
    assert first["scorecard"]["n"] == 4 and "for pretrain" in said
    noted = store.noted(first["version"].split("@")[1], "data")
    assert noted["hash"] and "eval_loss" in curves.read(Path(first["run"]))[-1]
    trained = (project / "home" / "data" / noted["hash"] / "train.jsonl").read_text().splitlines()
    kinds = [bool(json.loads(row)["meta"].get("replay")) for row in trained]
    assert sum(kinds) >= 2 and kinds.count(False) >= 30


@pytest.fixture(scope="module")
def known(base: Base) -> Base:
    """The small base, with where it came from."""
    source = str(base.folder.parent / "full")
    return replace(base, name=source, revision=locate(source, source, "")[1])


def recovering(known: Base, run: Path, **settings: Any) -> Job:
    job = make_job(run, "recover", rows=0, **settings)
    draw = torch.Generator().manual_seed(0)
    made = [[int(t) for t in torch.randint(3, 256, (n,), generator=draw)] for n in range(8, 40)]
    examples = [Example(ids, ids, group) for group, ids in enumerate(made)]
    teacher = functools.partial(recovery.states, known)
    return replace(job, method=Recover(), train=examples[4:], eval=examples[:4], teacher=teacher)


def test_the_divergence_falls_and_company_changes_nothing(model: Any, base: Base, known: Base, tmp_path: Path) -> None:
    job = recovering(known, tmp_path / "alone", **COURSE)
    alone = final_weights(model, base, [job])["recover"]
    with recovery.sixteen_bits(known) as whole, torch.no_grad():
        first = plain(load_model(base), whole, job.eval)
    records = curves.read(job.run)
    evals = [record["eval_loss"] for record in records if "eval_loss" in record]
    assert evals[-1] < evals[0] < first and evals[-1] < 0.85 * first
    assert sum(losses(job)[-4:]) < 0.6 * sum(losses(job)[:4])
    other = recovering(known, tmp_path / "together", **COURSE)
    together = final_weights(model, base, [other, make_job(tmp_path / "together", "sft", seed=4)], budget=90)
    assert largest(alone, together["recover"]) < WEIGHT and apart(losses(job), losses(other)) < LOSS


def plain(model: Any, whole: Any, examples: list[Example]) -> float:
    total, count = 0.0, 0
    for example in examples:
        ids = torch.tensor([example.input_ids])
        ours, theirs = (each(input_ids=ids).logits[0, :-1].float().log_softmax(-1) for each in (model, whole))
        total += F.kl_div(ours, theirs, reduction="sum", log_target=True).item()
        count += sum(label != IGNORE for label in example.labels[1:])
    return total / count


def test_recovery_is_trained_once_for_all_tasks(project: Path) -> None:
    stage = "{recover: {lr: 2e-3, data: adapters/classification/texts/*}}"
    (first, second), said = factory("task=summary,identity", f"stages=[{stage}]")
    assert (first["task"], second["task"]) == ("summary", "identity") and first["run"] == second["run"]
    perplexity = store.noted(first["version"].split("@")[1], "run")["perplexity"]
    assert set(perplexity) == {"in 16 bits", "in 4", "in 4, recovered"} and "held-out texts" in said
    (again, tuned), _ = factory("task=identity", f"stages=[{stage}, sft]")
    assert again["version"] == second["version"] and tuned["parent"] == second["version"]
    assert len([*(project / "home" / "runs").glob("recover-*/adapter")]) == 1
