"""Dropout: the same masks whatever the company, the rows or an interruption; TRL with these masks trains the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from factory.base.build import Base
from factory.train.fused import Job, train_many
from factory.train.fused.dropout import Dropout
from factory.train.fused.run import Run
from tests.factory.train.fused_support import LOSS, WEIGHT, apart, final_weights, largest, losses, make_job
from tests.factory.train.test_fused import by_trl

pytestmark = pytest.mark.usefixtures("one_thread")


def two(run: Path) -> list[Job]:
    return [
        make_job(run, "a", r=4, dropout=0.3, seed=1, rows=16),
        make_job(run, "b", r=8, dropout=0.1, batch=3, lr=3e-3, seed=2, rows=12, high=60),
    ]


@pytest.fixture(scope="module")
def together(model: Any, base: Base, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Job], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("together")
    jobs = two(folder)
    return jobs, final_weights(model, base, [*jobs, make_job(folder, "none", r=4, seed=3, rows=12)])


class OurDropout(torch.nn.Module):
    """In the place of PEFT's dropout: our masks, for the batches of a run in their order."""

    def __init__(self, run: Run, layer: str) -> None:
        super().__init__()
        self.run, self.layer, self.step = run, layer, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = [len(self.run.job.train[i].input_ids) for i in self.run.schedule.batch(self.step)]
        share, seed = self.run.job.recipe.lora.dropout, self.run.job.recipe.train.seed
        mask = torch.ones_like(x)
        for place, tokens in enumerate(rows):
            one = Dropout(share, seed, self.step, [(place, tokens)])
            mask[place, :tokens] = one.mask(self.layer, x[place, :tokens])
        self.step += 1
        return x * mask


def with_our_masks(peft: Any, run: Run) -> None:
    from peft.tuners.lora import LoraLayer

    for name, module in peft.named_modules():
        if isinstance(module, LoraLayer):
            module.lora_dropout["default"] = OurDropout(run, name.removeprefix("base_model.model."))  # type: ignore[operator]


def test_with_the_same_masks_trl_trains_the_same(model: Any, base: Base, together: Any, tmp_path: Path) -> None:
    jobs, weights = together
    for job in jobs:
        logged, trained, _ = by_trl(model, base, job, tmp_path / job.name, with_our_masks)
        assert apart(losses(job), logged) < LOSS, job.name
        assert largest(weights[job.name], trained) < WEIGHT, job.name


def test_company_rows_and_pauses_change_nothing(model: Any, base: Base, together: Any, tmp_path: Path) -> None:
    _, weights = together
    for job in two(tmp_path / "alone"):
        assert largest(weights[job.name], final_weights(model, base, [job])[job.name]) < WEIGHT
    in_pieces = final_weights(model, base, two(tmp_path / "pieces"), budget=60)
    assert max(largest(weights[name], in_pieces[name]) for name in in_pieces) < WEIGHT
    paused = two(tmp_path / "paused")
    train_many(paused, base, model, until=0.4)
    gone_on = final_weights(model, base, paused)
    assert max(largest(weights[name], gone_on[name]) for name in gone_on) < WEIGHT


def test_who_has_none_is_as_without(model: Any, base: Base, together: Any, tmp_path: Path) -> None:
    _, weights = together
    alone = make_job(tmp_path, "none", r=4, seed=3, rows=12)
    assert largest(weights["none"], final_weights(model, base, [alone])["none"]) < WEIGHT
    without = make_job(tmp_path, "a", r=4, seed=1, rows=16)
    assert largest(weights["a"], final_weights(model, base, [without])["a"]) > 10 * WEIGHT


def test_a_mask_drops_its_share_and_keeps_the_mean() -> None:
    like = torch.zeros(400, 64)
    mask = Dropout(0.25, 0, 3, [(0, 150), (1, 250)]).mask("layer", like)
    assert mask.unique().tolist() == pytest.approx([0, 4 / 3]) and mask.mean().item() == pytest.approx(1, abs=0.02)
    assert torch.equal(mask[150:], Dropout(0.25, 0, 3, [(1, 250)]).mask("layer", like[150:]))
    others = [Dropout(0.25, 1, 3, [(0, 150)]), Dropout(0.25, 0, 4, [(0, 150)]), Dropout(0.25, 0, 3, [(1, 150)])]
    assert all(not torch.equal(mask[:150], other.mask("layer", like[:150])) for other in others)
    assert not torch.equal(mask[:150], Dropout(0.25, 0, 3, [(0, 150)]).mask("other", like[:150]))
