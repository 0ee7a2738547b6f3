"""Every rule of `factory.train.schedule` against the Trainer that it restates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer, TrainingArguments

from factory.recipe import Train
from factory.train.schedule import Schedule

SHAPES = [(10, 4, 3.0), (12, 4, 1.0), (7, 16, 2.0), (33, 5, 1.5), (9, 2, 0.4)]


class Noted(torch.nn.Module):
    """A model that only writes down which rows it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.batches: list[list[int]] = []

    def forward(self, row: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        self.batches.append(row.tolist())
        return {"loss": self.weight.sum()}


def trained(folder: Path, rows: int, settings: Train) -> tuple[Noted, Trainer, list[float]]:
    model, rates = Noted(), []
    arguments = TrainingArguments(
        output_dir=str(folder), use_cpu=True, report_to=[], disable_tqdm=True, save_strategy="no", logging_steps=1000,
        per_device_train_batch_size=settings.batch, num_train_epochs=settings.epochs, seed=settings.seed,
        learning_rate=1e-3, lr_scheduler_type=settings.schedule, warmup_steps=settings.warmup,
        remove_unused_columns=False,
    )  # fmt: skip
    data: Any = [{"row": i, "labels": i} for i in range(rows)]
    trainer = Trainer(model, arguments, train_dataset=data)
    step = torch.optim.AdamW.step

    def noting(optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        rates.append(optimizer.param_groups[0]["lr"])
        return step(optimizer, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", noting)
        trainer.train()
    return model, trainer, rates


@pytest.mark.parametrize(("rows", "batch", "epochs"), SHAPES)
def test_rows_and_steps_are_the_trainers(tmp_path: Path, rows: int, batch: int, epochs: float) -> None:
    settings = Train(batch=batch, epochs=epochs, seed=5)
    schedule = Schedule(rows, 1e-3, settings)
    model, trainer, _ = trained(tmp_path, rows, settings)
    assert schedule.steps == trainer.state.global_step
    assert [schedule.batch(step) for step in range(schedule.steps)] == model.batches


def test_a_run_goes_on_behind_what_another_went_through() -> None:
    """With batches of another size too; once all rows are through, in the order of the next epoch."""
    one = Schedule(20, 1e-3, Train(batch=4, epochs=0.4, seed=5))
    two = Schedule(20, 1e-3, Train(batch=3, epochs=0.5, seed=5), one.through)
    whole = Schedule(20, 1e-3, Train(batch=20, epochs=2, seed=5))
    seen = [row for run in (one, two) for step in range(run.steps) for row in run.batch(step)]
    assert (one.through, two.through) == (8, 20) and seen == whole.batch(0)
    assert Schedule(20, 1e-3, whole.settings, two.through).batch(0) == whole.batch(1)


@pytest.mark.parametrize("kind", ["cosine", "linear", "constant", "constant_with_warmup"])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.3])
def test_learning_rates_are_the_trainers(tmp_path: Path, kind: Any, warmup: float) -> None:
    settings = Train(batch=2, epochs=3, schedule=kind, warmup=warmup)
    schedule = Schedule(14, 1e-3, settings)
    _, _, rates = trained(tmp_path, 14, settings)
    assert [schedule.rate_at(step) for step in range(schedule.steps)] == pytest.approx(rates, rel=1e-9, abs=1e-12)


def test_a_single_step_learns() -> None:
    assert Schedule(7, 1e-3, Train(batch=16, epochs=1)).rate_at(0) == 1e-3


def test_evals_are_spread_and_one_is_at_the_end() -> None:
    schedule = Schedule(44, 1e-3, Train(batch=4, epochs=1, evals=4))
    assert [s for s in range(1, 12) if schedule.evaluates_after(s)] == [2, 4, 6, 8, 10, 11]
