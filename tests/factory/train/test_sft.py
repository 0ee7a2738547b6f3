"""TRL's trainer as the factory uses it: for what cannot share a base, and as the reference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from factory.base.build import Base
from factory.errors import FactoryError, InputError
from factory.recipe import Recipe
from factory.train import sft
from factory.train.fused import Job
from factory.train.tokens import IGNORE, Example
from factory.train.trained import Trained
from tests.factory.train.fused_support import make_job, make_tokenizer

pytestmark = pytest.mark.usefixtures("one_thread")


def job(folder: Path, lora: dict[str, Any] | None = None, **train: Any) -> Job:
    """A job whose recipe may say what vLLM cannot serve."""
    made = make_job(folder, rows=24, held_out=6, evals=3, **train)
    recipe = made.recipe.model_dump() | {"folder": folder, "serve": False}
    recipe["lora"] |= lora or {}
    return Job(made.name, Recipe.model_validate(recipe), made.train, made.eval, made.run)


def train(model: Any, base: Base, one: Job, told: list[dict[str, Any]] | None = None) -> Trained:
    progress = (lambda record: None) if told is None else told.append
    return sft.train(one.recipe, base, model, make_tokenizer(), one.train, one.eval, one.run, progress)


def weights(trained: Trained) -> dict[str, torch.Tensor]:
    return dict(load_file(trained.adapter / "adapter_model.safetensors"))


@pytest.mark.parametrize(
    "lora",
    [{"dora": True}, {"rslora": True, "dropout": 0.1, "init": "gaussian", "rank_pattern": {"q_proj": 2}}],
    ids=str,
)
def test_every_form_of_lora_trains_and_leaves_the_base_as_it_was(
    model: Any, base: Base, tmp_path: Path, lora: dict[str, Any]
) -> None:
    model.eval()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    trained = train(model, base, job(tmp_path, lora))
    config = json.loads((trained.adapter / "adapter_config.json").read_text())
    assert config["use_dora"] == lora.get("dora", False) and config["use_rslora"] == lora.get("rslora", False)
    assert config["lora_dropout"] == lora.get("dropout", 0) and config["rank_pattern"] == lora.get("rank_pattern", {})
    assert any("magnitude" in key for key in weights(trained)) == lora.get("dora", False)
    assert all(t.dtype == torch.bfloat16 and t.isfinite().all() for t in weights(trained).values())
    after = dict(model.named_parameters())
    assert after.keys() == before.keys() and not hasattr(model, "peft_config")
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_run_is_noted_and_told_and_comes_out_again(model: Any, base: Base, tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    trained = train(model, base, job(tmp_path / "one", loraplus=4.0), told)
    assert (trained.steps, trained.stopped) == (6, "") and trained.train_tokens > 24 * 9
    kept = [json.loads(line) for line in (trained.run / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in kept if "loss" in r] == [1, 2, 3, 4, 5, 6] and kept[-1].keys() == {"step", "eval_loss"}
    assert trained.eval_loss == min(r["eval_loss"] for r in kept if "eval_loss" in r)
    assert {"loss", "grad_norm", "lr", "total", "tokens", "tokens_per_second"} <= told[0].keys()
    again = train(model, base, job(tmp_path / "two", loraplus=4.0))
    assert all(torch.equal(t, weights(again)[k]) for k, t in weights(trained).items())
    other = train(model, base, job(tmp_path / "three"))
    assert not all(torch.equal(t, weights(other)[k]) for k, t in weights(trained).items())


def test_an_interrupted_run_goes_on(model: Any, base: Base, tmp_path: Path) -> None:
    whole = train(model, base, job(tmp_path / "whole"))

    def stop(record: dict[str, Any]) -> None:
        if record["step"] == 4 and "loss" in record:
            raise KeyboardInterrupt

    one = job(tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        sft.train(one.recipe, base, model, make_tokenizer(), one.train, one.eval, one.run, stop)
    told: list[dict[str, Any]] = []
    resumed = train(model, base, one, told)
    assert [r["step"] for r in told if "loss" in r] == [3, 4, 5, 6] and resumed.steps == 6
    assert max((weights(whole)[k] - t).abs().max().item() for k, t in weights(resumed).items()) < 1e-3
    kept = [json.loads(line)["step"] for line in (one.run / "metrics.jsonl").read_text().splitlines()]
    assert kept == [1, 2, 2, 3, 4, 4, 5, 6, 6]


def test_a_loss_that_is_not_a_number_stops_it(model: Any, base: Base, tmp_path: Path) -> None:
    with pytest.raises(FactoryError, match=r"at step \d: lower train.lr"):
        train(model, base, job(tmp_path, {"alpha": 1e38}, lr=1.0))
    assert not hasattr(model, "peft_config") and not (tmp_path / "one" / "adapter").exists()


def test_what_cannot_be_trained_is_said_before(tmp_path: Path) -> None:
    one = job(tmp_path)
    with pytest.raises(InputError, match="no row has a trainable token"):
        sft.check(one.recipe, [Example([5, 6, 7], [IGNORE] * 3)])
    for init in ("pissa", "olora", "orthogonal"):
        written = job(tmp_path, {"init": init})
        with pytest.raises(InputError, match=f"lora.init={init} needs the base's weights in full"):
            sft.check(written.recipe, written.train)
    tracked = job(tmp_path, report_to="mlflow")
    with pytest.raises(InputError, match="pip install mlflow"):
        sft.check(tracked.recipe, tracked.train)
