"""Adapters trained together are the adapters trained alone, and the ones TRL trains; nothing of the company shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from factory.base.build import Base
from factory.errors import FactoryError, InputError
from factory.train import curves
from factory.train.fused import Failed, Job, below, memory, passes, train_many
from factory.train.fused.passes import Passes
from factory.train.fused.precision import computing_in
from factory.train.fused.run import Run
from factory.train.tokens import IGNORE, Example
from factory.train.trained import Trained
from tests.factory.train.fused_support import (
    LOSS,
    WEIGHT,
    apart,
    final_weights,
    largest,
    losses,
    make_job,
    make_tokenizer,
    upcast,
)

BF16_LOSS = 2e-2  # per step, bf16: rows of another company are rounded otherwise


pytestmark = pytest.mark.usefixtures("one_thread")


def four(run: Path, **settings: Any) -> list[Job]:
    """Different in rank, alpha, layers, targets, learning rate, schedule, batch, epochs and length."""
    some = ["q_proj", "down_proj"]
    return [
        make_job(run, "a", r=4, alpha=8, lr=1e-3, seed=1, **settings),
        make_job(run, "b", r=8, alpha=8, layers=0.5, lr=3e-3, schedule="linear", batch=3, seed=2, high=12, **settings),
        make_job(run, "c", r=16, lr=5e-4, warmup=0.2, batch=8, epochs=1.5, low=30, high=90, seed=3, **settings),
        make_job(run, "d", r=6, targets=some, schedule="constant", batch=1, seed=4, rows=8, **settings),
    ]


def answers(model: Any, job: Job, adapter: Path) -> list[list[int]]:
    """What the saved adapter makes, greedily, of the job's prompts."""
    from factory.answers import adapted

    model.eval()
    with adapted(model, adapter) as peft:
        prompts = [[i for i, y in zip(e.input_ids, e.labels, strict=True) if y == IGNORE] for e in job.train[:4]]
        return [
            peft.generate(input_ids=torch.tensor([p]), max_new_tokens=8, do_sample=False)[0, len(p) :].tolist()
            for p in prompts
        ]


@pytest.fixture(scope="module")
def together(model: Any, base: Base, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Job], dict[str, Any]]:
    jobs = four(tmp_path_factory.mktemp("together"))
    return jobs, final_weights(model, base, jobs)


def by_trl(
    model: Any, base: Base, job: Job, folder: Path, changed: Callable[[Any, Run], None] = lambda peft, run: None
) -> tuple[list[float], torch.Tensor, Run]:
    """The same job by SFTTrainer, row by row in the same order: the loss of every step, the weights in our order."""
    from datasets import Dataset
    from peft import get_peft_model
    from transformers.trainer_callback import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    from factory.train import lora

    settings = job.recipe.train
    with computing_in(model, torch.float32):
        run = Run(Job(job.name, job.recipe, job.train, [], folder / "start"), base, model)
        order = [i for step in range(run.schedule.steps) for i in run.schedule.batch(step)]
        rows = {"input_ids": [job.train[i].input_ids for i in order], "labels": [job.train[i].labels for i in order]}
        peft = get_peft_model(model, lora.config(job.recipe.lora, model))
        changed(peft, run)
        arguments = SFTConfig(
            output_dir=str(folder), max_steps=run.schedule.steps, per_device_train_batch_size=settings.batch,
            learning_rate=run.schedule.rate, lr_scheduler_type=settings.schedule, warmup_steps=settings.warmup,
            max_grad_norm=settings.max_grad_norm, train_sampling_strategy="sequential", max_length=None, bf16=False,
            use_cpu=True, gradient_checkpointing=False, logging_steps=1, save_strategy="no", report_to=[],
            disable_tqdm=True,
        )  # fmt: skip
        tokenizer = make_tokenizer()
        trainer = SFTTrainer(peft, arguments, train_dataset=Dataset.from_dict(rows), processing_class=tokenizer)
        trainer.remove_callback(PrinterCallback)
        upcast(peft)
        ours = run.adapter.tensors(run.adapter.weights)
        theirs = {k.replace(".default", ""): p for k, p in peft.named_parameters() if p.requires_grad}
        for key, parameter in theirs.items():
            parameter.data.copy_(ours[key])
        trainer.train()
        peft.unload()
    logged = [record["loss"] for record in trainer.state.log_history if "loss" in record]
    return logged, torch.cat([theirs[key].detach().flatten() for key in ours]), run


def test_together_is_alone(model: Any, base: Base, together: Any, tmp_path: Path) -> None:
    jobs, weights = together
    for at, alone in enumerate(four(tmp_path)):
        solo = final_weights(model, base, [alone])[alone.name]
        assert largest(weights[alone.name], solo) < WEIGHT
        assert apart(losses(jobs[at]), losses(alone)) < LOSS
        assert answers(model, jobs[at], jobs[at].run / "adapter") == answers(model, alone, alone.run / "adapter")


def test_together_is_trl(model: Any, base: Base, together: Any, tmp_path: Path) -> None:
    jobs, weights = together
    for job in jobs:
        logged, trained, run = by_trl(model, base, job, tmp_path / job.name)
        assert apart(losses(job), logged) < LOSS, job.name
        assert largest(weights[job.name], trained) < WEIGHT, job.name
        run.adapter.save(tmp_path / "adapter" / job.name, trained)
        assert answers(model, job, job.run / "adapter") == answers(model, job, tmp_path / "adapter" / job.name)


def test_order_and_company_change_nothing(model: Any, base: Base, together: Any, tmp_path: Path) -> None:
    _, weights = together
    a, b, c, d = four(tmp_path)
    company = make_job(tmp_path, "e", r=2, seed=9, rows=40)
    for jobs in ([d, company, b], [c, a]):
        for name, trained in final_weights(model, base, jobs).items():
            assert name == "e" or largest(weights[name], trained) < WEIGHT


def test_in_bf16_company_changes_no_more_than_rounding(model: Any, base: Base, tmp_path: Path) -> None:
    jobs = four(tmp_path / "together", precision="bf16")
    train_many(jobs, base, model)
    for at, alone in enumerate(four(tmp_path / "alone", precision="bf16")):
        train_many([alone], base, model)
        assert apart(losses(jobs[at]), losses(alone)) < BF16_LOSS


@pytest.mark.parametrize("budget", [60, 100, 250])
def test_the_length_of_rows_changes_nothing(model: Any, base: Base, together: Any, tmp_path: Path, budget: int) -> None:
    """Batches spread over several rows, and adapters that wait until another has left."""
    _, weights = together
    states: list[dict[str, Any]] = []
    jobs = four(tmp_path)
    trained = final_weights(
        model,
        base,
        jobs,
        budget=budget,
        progress=lambda name, record: states.append(record) if "row" in record else None,
    )
    assert max(largest(weights[name], trained[name]) for name in weights) < WEIGHT
    longest = max(len(example.input_ids) for job in jobs for example in job.train)
    assert max(state["row"] for state in states) <= max(budget, longest)
    if budget == 60:
        assert states[0]["waiting"] > 0 and states[-1]["waiting"] == 0


def test_gradient_checkpointing_changes_nothing(model: Any, base: Base, together: Any, tmp_path: Path) -> None:
    _, weights = together
    trained = final_weights(model, base, four(tmp_path, gradient_checkpointing=True))
    assert max(largest(weights[name], trained[name]) for name in weights) < WEIGHT


@pytest.mark.parametrize("settings", [{}, {"gradient_checkpointing": True}, {"lr": 3e-3, "layers": 1.0}])
def test_lower_layers_without_adapters_are_read_once_and_that_changes_nothing(
    model: Any, base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    """Beginnings in common of other lengths in each row, a batch in several rows, three tasks in one; the rows of one
    of them do not come again."""

    def all_three(folder: Path) -> list[Job]:
        other = make_job(folder, "other", rows=9, epochs=3, layers=0.5)
        once = make_job(folder, "once", rows=30, layers=0.5)
        return [make_job(folder, rows=13, held_out=5, epochs=3, evals=3, **{"layers": 0.5, **settings}), other, once]

    read: list[int] = []
    hook = model.base_model.layers[0].mlp.down_proj.register_forward_hook(
        lambda module, given, out: read.append(out.shape[1])
    )
    weights = final_weights(model, base, jobs := all_three(tmp_path / "kept"), budget=100)
    kept, tokens = sum(read), sum(len(example.input_ids) for job in jobs[:2] for example in job.train)
    read.clear()
    monkeypatch.setattr(below, "KEPT_BYTES", 0)
    anew = final_weights(model, base, all_three(tmp_path / "anew"), budget=100)
    hook.remove()
    assert max(largest(weights[name], anew[name]) for name in weights) < WEIGHT
    if "layers" in settings:
        assert kept == sum(read)
    else:
        assert kept <= sum(read) - 2 * tokens  # none of theirs is read a second time


def test_too_little_memory_halves_the_rows_and_loses_nothing(
    model: Any, base: Base, together: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, weights = together
    carried, rows = passes.supervised_log_probs, []

    def short_of_memory(model: Any, row: Any, *taught: Any) -> Any:
        if row.tokens > 200 and torch.is_grad_enabled() and len(rows) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        rows.append(row.tokens)
        return carried(model, row, *taught)

    monkeypatch.setattr(passes, "supervised_log_probs", short_of_memory)
    trained = final_weights(model, base, four(tmp_path))
    assert max(largest(weights[name], trained[name]) for name in weights) < WEIGHT
    assert max(rows[:4]) > 200 >= max(rows[4:])


def test_one_sequence_too_long_for_the_memory_says_what_to_do(
    model: Any, base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(model: Any, row: Any, *taught: Any) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 400 bytes")

    monkeypatch.setattr(Passes, "measure", lambda *_: memory.Plan(4096, 1.0, float("inf")))
    monkeypatch.setattr(passes, "supervised_log_probs", none_left)
    with pytest.raises(FactoryError, match="gradient_checkpointing=true"):
        train_many([make_job(tmp_path)], base, model)


def test_one_that_fails_is_reported_and_costs_the_others_nothing(
    model: Any, base: Base, together: Any, tmp_path: Path
) -> None:
    _, weights = together
    broken = make_job(tmp_path, "broken", alpha=1e38, lr=1e-2)
    jobs = [broken, *four(tmp_path)]
    outcome = train_many(jobs, base, model)
    assert isinstance(outcome[0], Failed) and outcome[0].name == "broken"
    assert "not finite at step" in outcome[0].why and "lower train.lr" in outcome[0].why
    for job in jobs[1:]:
        saved = load_file(job.run / "adapter" / "adapter_model.safetensors")
        flat = torch.cat([saved[key].flatten() for key in sorted(saved, key=lambda key: "lora_B" in key)])
        alone = weights[job.name].to(torch.bfloat16)
        assert sorted(flat.float().tolist()) == pytest.approx(sorted(alone.float().tolist()), abs=1e-3)


def test_peft_loads_what_is_saved(model: Any, base: Base, together: Any) -> None:
    from peft import PeftModel

    jobs, weights = together
    job = jobs[2]
    config = json.loads((job.run / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["inference_mode"]) == (16, 16, True)
    assert config["target_modules"] == sorted(config["target_modules"])
    peft = PeftModel.from_pretrained(model, str(job.run / "adapter"), autocast_adapter_dtype=False)
    loaded = {name.replace(".default", ""): p for name, p in peft.named_parameters() if "lora_" in name}
    peft.unload()
    saved = load_file(job.run / "adapter" / "adapter_model.safetensors")
    assert all(p.dtype == torch.bfloat16 for p in saved.values())
    assert sum(p.numel() for p in loaded.values()) == weights["c"].numel()
    assert (
        largest(torch.cat([p.float().flatten() for p in loaded.values()]).abs().max(), weights["c"].abs().max()) < 1e-2
    )


def test_the_base_is_left_as_it_was(model: Any, base: Base, tmp_path: Path) -> None:
    def state() -> dict[str, Any]:
        tensors = {n: (t.dtype, t.requires_grad) for n, t in (*model.named_parameters(), *model.named_buffers())}
        modules = {n: (type(m), m.training, "forward" in vars(m)) for n, m in model.named_modules()}
        return {"tensors": tensors, "modules": modules, "attention": model.config._attn_implementation}

    model.eval()
    before, sample = state(), model(input_ids=torch.tensor([[5, 6, 7]])).logits
    train_many([make_job(tmp_path, gradient_checkpointing=True)], base, model)
    assert state() == before and not hasattr(model, "peft_config")
    assert torch.equal(model(input_ids=torch.tensor([[5, 6, 7]])).logits, sample)


def test_stopping_early_keeps_the_weights_of_the_best_eval(
    model: Any, base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    scripted = iter([3.0, 2.0, 2.5, 2.1, 1.0])

    def evaluate(_: Passes, run: Run) -> float:
        seen.append(run.adapter.weights.detach().to(torch.bfloat16))
        return next(scripted)

    monkeypatch.setattr(Passes, "eval_loss", evaluate)
    job = make_job(tmp_path, rows=32, held_out=2, evals=8, patience=2)
    (result,) = train_many([job], base, model)
    assert isinstance(result, Trained) and (result.stopped, result.steps, result.eval_loss) == ("early", 4, 2.0)
    assert result.train_tokens == sum(len(e.input_ids) for e in job.train) * 4 // 8 or result.train_tokens > 0
    saved = load_file(result.adapter / "adapter_model.safetensors")
    assert sorted(torch.cat([t.flatten() for t in saved.values()]).tolist()) == sorted(seen[1].tolist())


def test_what_a_run_reports(model: Any, base: Base, tmp_path: Path) -> None:
    told: list[tuple[str, dict[str, Any]]] = []
    job = make_job(tmp_path, "x", held_out=6, evals=3)
    (result,) = train_many([job], base, model, progress=lambda name, record: told.append((name, record)))
    assert isinstance(result, Trained) and result.stopped == "" and result.steps == 6
    assert result.train_tokens == sum(len(e.input_ids) for e in job.train) and result.seconds > 0
    own = [record for name, record in told if name == "x"]
    assert [r["step"] for r in own if "loss" in r] == [1, 2, 3, 4, 5, 6] and own[-1]["tokens"] == result.train_tokens
    evals = [r["eval_loss"] for r in own if "eval_loss" in r]
    assert len(evals) == 3 and result.eval_loss == min(evals)
    kept = [json.loads(line) for line in (result.run / "metrics.jsonl").read_text().splitlines()]
    assert kept == [{k: v for k, v in r.items() if k not in ("total", "tokens")} for r in own]


def test_a_pause_and_a_second_call_change_nothing(model: Any, base: Base, together: Any, tmp_path: Path) -> None:
    _, weights = together
    jobs = four(tmp_path)
    for outcome in train_many(jobs, base, model, until=0.4):
        assert isinstance(outcome, Trained) and outcome.stopped == "paused" and outcome.adapter.is_dir()
    trained = final_weights(model, base, jobs)
    assert max(largest(weights[name], trained[name]) for name in weights) < WEIGHT
    assert [r["step"] for r in map(json.loads, (jobs[0].run / "metrics.jsonl").read_text().splitlines())] == [
        *range(1, 7)
    ]
    told: list[str] = []
    again = train_many(jobs, base, model, progress=lambda name, record: told.append(name))
    assert told == [] and [o.steps for o in again if isinstance(o, Trained)] == [6, 8, 5, 8]


def test_a_checkpoint_of_other_rows_is_not_resumed(model: Any, base: Base, tmp_path: Path) -> None:
    train_many([make_job(tmp_path)], base, model, until=0.5)
    (result,) = train_many([make_job(tmp_path, lr=1e-3)], base, model)
    assert isinstance(result, Trained)
    assert len((result.run / "metrics.jsonl").read_text().splitlines()) == result.steps == 6


def test_what_cannot_be_trained_is_said_before_anything_is(model: Any, base: Base, tmp_path: Path) -> None:
    good = make_job(tmp_path, "good")
    mute = replace(make_job(tmp_path, "mute"), train=[Example([5, 6, 7], [IGNORE] * 3)])
    tracked = make_job(tmp_path, "tracked", report_to="mlflow")
    with pytest.raises(InputError) as caught:
        train_many([good, mute, tracked, good], base, model)
    said = str(caught.value)
    assert "mute: no row has a trainable token" in said and "pip install mlflow" in said and "same name" in said
    assert not good.run.exists()
    for targets, why in (
        (["q_proj", "q_prjo"], r"lora.targets: no layer is called 'q_prjo'; did you mean q_proj\?"),
        (["q_proj", "embed_tokens"], r"lora.targets: model.embed_tokens is no linear layer in 4 bits .* all-linear"),
        (["lm_head"], "lora.targets: lm_head is no linear layer"),
        (r".*\.(q_proj|input_layernorm)", r"lora.targets: model.layers.0.input_layernorm is no linear layer"),
    ):
        with pytest.raises(InputError, match=why):
            train_many([good, make_job(tmp_path, "bad", targets=targets)], base, model)
    assert not good.run.exists()
    wide, narrow = (make_job(tmp_path, name, targets=targets) for name, targets in
                    (("wide", r".*\.[qv]_proj"), ("narrow", ["self_attn.q_proj"])))  # fmt: skip
    assert all(isinstance(one, Trained) for one in train_many([wide, narrow], base, model))


def test_a_line_that_a_crash_tore_does_not_stop_a_resume(model: Any, base: Base, tmp_path: Path) -> None:
    job = make_job(tmp_path, held_out=6, evals=3)
    train_many([job], base, model, until=0.5)
    with open(job.run / "metrics.jsonl", "ab") as out:
        out.write(b'{"step": 4, "loss": {"x": 1}' + b"\xff")
    assert curves.last_step(job.run) == 3
    (result,) = train_many([job], base, model)
    assert isinstance(result, Trained)
    assert [record["step"] for record in curves.read(job.run) if "loss" in record] == [1, 2, 3, 4, 5, 6]


def test_a_finished_run_that_was_damaged_is_trained_again(model: Any, base: Base, tmp_path: Path) -> None:
    job = make_job(tmp_path)
    (first,) = train_many([job], base, model)
    assert isinstance(first, Trained)
    path = first.adapter / "adapter_model.safetensors"
    before = path.read_bytes()
    for harm in (lambda: path.write_bytes(before[:-8]), path.unlink):
        harm()
        train_many([job], base, model)
        assert path.read_bytes() == before
    told: list[str] = []
    train_many([job], base, model, progress=lambda name, record: told.append(name))
    assert not told


@pytest.mark.skipif(torch.cuda.is_available(), reason="Liger runs where there is a GPU")
def test_liger_is_refused_where_its_kernels_cannot_run(model: Any, base: Base, tmp_path: Path) -> None:
    job = make_job(tmp_path, use_liger_kernel=True)
    with pytest.raises(InputError, match="use_liger_kernel needs an NVIDIA GPU"):
        train_many([job], base, model)
    assert not job.run.exists()
