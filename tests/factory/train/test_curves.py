"""What the curves are said to mean."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import torch

from factory.train.curves import warnings
from factory.train.fused.run import Run


def steps(losses: list[float], evals: dict[int, float] | None = None) -> list[dict[str, float]]:
    records: list[dict[str, float]] = [{"step": i, "loss": loss} for i, loss in enumerate(losses, 1)]
    return records + [{"step": step, "eval_loss": loss} for step, loss in (evals or {}).items()]


FALLING = [2 * 0.97**i for i in range(60)]


def test_good_curves_need_no_words() -> None:
    assert warnings(steps(FALLING, {20: 1.0, 40: 0.6, 60: 0.5})) == []


def test_overfitting_names_the_step() -> None:
    (said,) = warnings(steps(FALLING, {20: 0.6, 40: 0.8, 60: 1.1}))
    assert said.startswith("overfitting from step 20: the eval loss rose from 0.600 to 1.100")


def test_a_loss_that_never_fell() -> None:
    (said,) = warnings(steps([2.0] * 40))
    assert said.startswith("the loss never fell")


def test_a_spike_names_the_step() -> None:
    losses = list(FALLING)
    losses[30:33] = [6.0, 7.0, 6.5]
    (said,) = warnings(steps(losses))
    assert said.startswith("the loss spikes at step 31 (") and "to 6.000" in said


def test_one_hard_batch_is_no_spike() -> None:
    losses = list(FALLING)
    losses[30] = 6.0
    assert warnings(steps(losses)) == []


def test_what_goes_wrong_with_rewards_is_told() -> None:
    fine = {"reward": 0.5, "length": 9.0, "cut": 0.0, "even": 0.0, "grad_norm": 0.1}
    assert warnings([{"step": n, **fine} for n in range(1, 9)]) == []
    (still,) = warnings([{"step": n, **fine, "grad_norm": float(n == 1)} for n in range(1, 9)])
    assert still.startswith("the adapter does not move: every gradient is 0")
    (endless,) = warnings([{"step": n, **fine, "cut": 1.0} for n in range(1, 9)])
    assert endless == "no answer came to an end: the end token is not learned (sft before teaches it)"
    cut, longer = warnings([{"step": n, **fine, "cut": n / 20, "length": 9.0 * n} for n in range(1, 9)])
    assert cut.startswith("40% of the answers were cut off") and longer == "answers grew from 9 to 72 tokens"
    (even,) = warnings([{"step": n, **fine, "even": 0.9} for n in range(1, 9)])
    assert "the reward has no variance" in even


def test_a_gold_reward_that_fell_is_told_unless_it_is_noise() -> None:
    def of(*golds: float, up: float = 0.05) -> list[str]:
        fine = {"length": 9.0, "cut": 0.0, "even": 0.0, "grad_norm": 0.1}
        records = [{"step": n, "reward": 0.5 + up * n, **fine} for n in range(1, 9)]
        run: Any = Run.__new__(Run)  # what a run of 40 questions makes of its evals, without a base
        vars(run).update(job=SimpleNamespace(rollouts=True, eval=[None] * 40), best=math.inf, since_best=0)
        vars(run).update(adapter=SimpleNamespace(weights=torch.zeros(1)), note=lambda record: record)
        for n, gold in enumerate(golds):
            run.step = 4 * n
            records.append(run.judge(1 - gold))
        return warnings(records)

    assert of(0.2, 0.175, 0.2) == of(0.2, 0.25, 0.22) == []
    (hacked,) = of(0.2, 0.4, 0.1)
    assert hacked.startswith("the gold reward fell from 0.40 to 0.10 while the reward went from 0.55 to 0.90")
    assert "what pays is not what is wanted. The weights of step 4 are kept" in hacked
    (worse,) = of(0.4, 0.1, up=-0.05)
    assert "it unlearned what it knew. The weights of step 0 are kept; lower lr" in worse
