"""Learning from pairs, thumbs and draws: TRL's losses and weights, together as alone, killed as undisturbed."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch

from factory.answers import adapted
from factory.answers.greedy import ROWS, greedy
from factory.answers.score import scores
from factory.base.build import Base
from factory.errors import InputError
from factory.train import curves
from factory.train.fused import Job, train_many
from factory.train.fused.group import Group
from factory.train.fused.layers import Layers
from factory.train.fused.packing import pack, share_out
from factory.train.fused.passes import Passes
from factory.train.fused.precision import computing_in
from factory.train.fused.run import Run
from factory.train.methods import Dpo, DpoNorm, Grpo, Kto, Method, Reward, Seen, Totals
from factory.train.methods.reward import log_odds
from factory.train.tokens import IGNORE, Example, grouped
from tests.factory.train.fused_support import (
    LOSS,
    WEIGHT,
    apart,
    drawing,
    examples,
    final_weights,
    largest,
    losses,
    make_job,
    make_tokenizer,
    upcast,
)
from tests.factory.train.test_fused_resume import killed

pytestmark = pytest.mark.usefixtures("one_thread")


def pairs(count: int, seed: int) -> list[Example]:
    """To each question its own answer and, rejected, the start of another's."""
    rows = examples(count, seed, 6, 30)
    others = [*rows[1:], rows[0]]
    return [
        side
        for group, (row, other) in enumerate(zip(rows, others, strict=True))
        for side in (replace(row, group=group), _answered(row, _answer(other)[: 2 + group % 3], group, -1.0))
    ]


def thumbs(count: int, seed: int) -> list[Example]:
    """Answers, each second one disliked; beside each question the answer before, which is only measured."""
    rows = examples(count, seed, 6, 30)
    return [
        side
        for n, row in enumerate(rows)
        for side in (replace(row, group=n, reward=1.0 - 2 * (n % 2)), _answered(row, _answer(rows[n - 1]), n, 0.0))
    ]


def _answer(row: Example) -> list[int]:
    return [label for label in row.labels if label != IGNORE]


def _answered(row: Example, answer: list[int], group: int, reward: float) -> Example:
    prompt = row.input_ids[: row.labels.count(IGNORE)]
    return Example([*prompt, *answer], [IGNORE] * len(prompt) + answer, group, reward)


def of(method: Method, run: Path, name: str = "one", parent: Path | None = None, **settings: Any) -> Job:
    """A job of that method over made-up rows."""
    job = make_job(run, name, rows=0, **settings)
    make = thumbs if isinstance(method, Kto) else pairs
    seed = 50 + job.recipe.train.seed
    return replace(job, method=method, parent=parent, train=make(16, seed), eval=make(4, seed + 1))


@pytest.fixture(scope="module")
def parent(model: Any, base: Base, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter to start from."""
    job = make_job(tmp_path_factory.mktemp("parent"), lr=1e-2)
    train_many([job], base, model)
    return job.run / "adapter"


def by_trl(model: Any, base: Base, job: Job, folder: Path, **settings: Any) -> tuple[list[float], torch.Tensor]:
    """The same job by TRL's trainer of the method, its reference a frozen copy of the parent."""
    from datasets import Dataset
    from peft import get_peft_model
    from transformers.trainer_callback import PrinterCallback
    from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer

    from factory.train import lora

    kto = isinstance(job.method, Kto)
    Config, Trainer = (KTOConfig, KTOTrainer) if kto else (DPOConfig, DPOTrainer)
    train = job.recipe.train
    with computing_in(model, torch.float32), pytest.MonkeyPatch.context() as patch:
        run = Run(replace(job, eval=[], run=folder / "start"), base, model)
        rows = []
        for step in range(run.schedule.steps):
            for one, other in (run.groups[i] for i in run.schedule.batch(step)):
                row: dict[str, Any] = {"prompt_ids": one.input_ids[: one.labels.count(IGNORE)]}
                if kto:
                    row |= {
                        "completion_ids": _answer(one),
                        "KL_completion_ids": _answer(other),
                        "label": one.reward > 0,
                    }
                rows.append(row if kto else {**row, "chosen_ids": _answer(one), "rejected_ids": _answer(other)})
        patch.setattr(Trainer, "_prepare_dataset", lambda self, dataset, *_: dataset)
        patch.setattr(Config, "label_names", ["labels"], raising=False)
        arguments = Config(
            output_dir=str(folder), max_steps=run.schedule.steps, per_device_train_batch_size=train.batch,
            learning_rate=run.schedule.rate, lr_scheduler_type=train.schedule, warmup_steps=train.warmup,
            max_grad_norm=train.max_grad_norm, train_sampling_strategy="sequential", max_length=None, bf16=False,
            use_cpu=True, gradient_checkpointing=False, logging_steps=1, save_strategy="no", report_to=[],
            disable_tqdm=True, beta=job.method.beta, **settings,
        )  # fmt: skip
        peft = get_peft_model(model, lora.config(job.recipe.lora, model))
        trainer = Trainer(
            peft, args=arguments, train_dataset=Dataset.from_list(rows), processing_class=make_tokenizer()
        )
        trainer.remove_callback(PrinterCallback)
        upcast(peft)
        ours = run.adapter.tensors(run.adapter.weights.detach())
        named = {key: parameter for key, parameter in peft.named_parameters() if "lora_" in key}
        for key, parameter in named.items():
            parameter.data = ours[key.replace(".default", "").replace(".ref", "")].clone()
        trainer.train()
        found = torch.cat([named[k.replace(".weight", ".default.weight")].detach().flatten() for k in ours])
        peft.unload()
        model.requires_grad_(False)
    return [record["loss"] for record in trainer.state.log_history if "loss" in record], found


METHODS: dict[str, tuple[Method, dict[str, Any]]] = {
    "dpo": (Dpo(sft=0), {"loss_type": ["sigmoid"]}),
    "dpo_norm": (DpoNorm(sft=0.2), {"loss_type": ["sigmoid_norm", "sft"], "loss_weights": [1.0, 0.2]}),
    "kto": (Kto(desirable=1.5), {"desirable_weight": 1.5}),
}


@pytest.mark.parametrize("name", METHODS)
def test_losses_and_weights_are_those_of_trl(model: Any, base: Base, parent: Path, tmp_path: Path, name: str) -> None:
    method, settings = METHODS[name]
    job = of(method, tmp_path, parent=parent, lr=5e-3)
    weights = final_weights(model, base, [job])["one"]
    logged, theirs = by_trl(model, base, job, tmp_path / "trl", **settings)
    assert apart(losses(job), logged) < LOSS and largest(weights, theirs) < WEIGHT
    began = Run(replace(job, run=tmp_path / "began"), base, model).adapter.weights
    assert largest(weights, began.detach()) > 20 * WEIGHT, "it learned something"


def test_the_reward_loss_is_that_of_trl() -> None:
    """With margins and centring."""
    from trl import RewardTrainer

    torch.manual_seed(0)
    margins, method, gather = torch.tensor([1.0, 0.5, 0.0]), Reward(centre=0.1), SimpleNamespace()
    logps = (-torch.rand(6) * 4 - 0.1).requires_grad_()
    made = [Example([1, 2], [IGNORE, 2], n // 2, 1 + margins[n // 2].item() if n % 2 == 0 else -1.0) for n in range(6)]
    of = torch.tensor([1, 0, 2, 3, 5, 4])
    loss, accuracy, score = method.loss(Seen(made, logps[of], of, None, Totals.of(made)))
    odds = logps - (1 - logps.exp()).log()
    gather.gather_for_metrics = gather.gather = lambda found: found
    trl: Any = MagicMock(
        RewardTrainer, args=SimpleNamespace(center_rewards_coefficient=0.1), model=SimpleNamespace(training=False),
        accelerator=gather, _total_train_tokens=0, _metrics=MagicMock(),
    )  # fmt: skip
    sides: Any = SimpleNamespace(logits=torch.cat([odds[::2], odds[1::2]])[:, None])
    theirs = RewardTrainer.compute_loss(trl, lambda **_: sides, {"margin": margins})
    assert torch.allclose(loss, theirs, atol=1e-6) and accuracy.item() == (odds[::2] > odds[1::2]).float().mean()
    assert score.item() == pytest.approx(odds.mean().item(), abs=1e-6)
    grads = [torch.autograd.grad(one, logps, retain_graph=True)[0] for one in (loss, theirs)]
    assert torch.allclose(*grads, atol=1e-6)


def test_a_reward_model_reloads_to_equal_scores(model: Any, base: Base, parent: Path, tmp_path: Path) -> None:
    """The engine's own forward pass, and the saved adapter by PEFT."""
    job = of(Reward(), tmp_path, parent=parent, lr=5e-3)
    job = replace(job, train=[_asked(one) for one in job.train], eval=[])
    train_many([job], base, model)
    with computing_in(model, torch.float32):
        run = Run(replace(job, parent=job.run / "adapter", run=tmp_path / "again"), base, model)
        passes = Passes(model, base, [job], Group(0, 1))
        passes.budget = 200
        ours = log_odds(passes.references(run, job.train))
        for _ in range(2):
            with adapted(model, job.run / "adapter") as peft:
                assert scores(peft, job.train) == pytest.approx(ours.tolist(), abs=1e-3)
    assert (ours[::2] > ours[1::2]).float().mean() > 0.8, "it learned the pairs"


def _asked(one: Example) -> Example:
    return replace(one, input_ids=[*one.input_ids, 5], labels=[IGNORE] * len(one.input_ids) + [5])


def several(run: Path, parent: Path) -> list[Job]:
    return [
        of(Dpo(), run, "a", parent, seed=1, lr=5e-3),
        of(DpoNorm(), run, "b", batch=3, seed=2, r=4, alpha=8),
        of(Kto(), run, "c", parent, batch=8, seed=3),
        make_job(run, "d", seed=4, held_out=4),
        drawing(Grpo(group=4), run, "e", parent, batch=2, seed=5, lr=5e-3),
        drawing(Grpo(group=3, over="dr_grpo", beta=0.01), run, "f", batch=3, seed=6, r=4, alpha=8),
    ]


@pytest.mark.parametrize("budget", [None, 80])
def test_together_is_alone_and_pairs_stay_together(
    model: Any, base: Base, parent: Path, tmp_path: Path, budget: int | None
) -> None:
    """Methods mixed in one packed batch, and steps spread over many."""
    jobs = several(tmp_path / "together", parent)
    together = final_weights(model, base, jobs, budget=budget)
    for at, alone in enumerate(several(tmp_path / "alone", parent)):
        solo = final_weights(model, base, [alone])[alone.name]
        assert largest(together[alone.name], solo) < WEIGHT and apart(losses(jobs[at]), losses(alone)) < LOSS
        assert any(record.get("grad_norm") for record in curves.read(alone.run))


@pytest.mark.parametrize(("golds", "kept"), [((0.2, 0.175, 0.2), 2), ((0.2, 0.3, 0.1), 1)])
def test_a_gold_reward_within_its_error_is_no_worse(
    model: Any, base: Base, parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, golds: Any, kept: int
) -> None:
    """A row more or less of 40 is no reason to throw away what was learned."""
    seen: list[torch.Tensor] = []
    judge = Run.judge

    def judged(run: Run, eval_loss: float) -> dict[str, Any]:
        seen.append(run.adapter.weights.detach().clone())
        return judge(run, 1 - golds[len(seen) - 1])

    monkeypatch.setattr(Run, "judge", judged)
    ends: list[torch.Tensor | None] = []
    result = Run.result
    monkeypatch.setattr(Run, "result", lambda run: (ends.append(run.best_weights), result(run))[1])
    train_many([drawing(Grpo(group=4), tmp_path, "e", parent, batch=6, evals=2, held_out=40, lr=5e-3)], base, model)
    assert len(seen) == 3 and not torch.equal(seen[0], seen[2])
    assert ends[0] is not None and torch.equal(ends[0], seen[kept])


def test_a_pair_is_never_divided() -> None:
    made = pairs(6, 0)
    assert [len(group) for group in grouped(made)] == [2] * 6
    (chosen,) = share_out([made], 3 * len(made[0].input_ids))
    assert all(len(group) == 2 for group in grouped(chosen)) and len(chosen) < 12
    for rank in range(2):
        assert all(len(group) == 2 for group in grouped(Group(rank, 2).part(made)))
    row = pack([made], torch.device("cpu"), share=True)
    found = row.of.bincount().tolist()
    assert found == [sum(label != IGNORE for label in e.labels) for e in made]


def test_what_a_step_tells_and_a_parent_of_another_form(model: Any, base: Base, parent: Path, tmp_path: Path) -> None:
    job = of(Dpo(), tmp_path, parent=parent, lr=1e-2, epochs=4, evals=2)
    train_many([job], base, model)
    records = [json.loads(line) for line in (job.run / "metrics.jsonl").read_text().splitlines()]
    steps = [record for record in records if "loss" in record]
    assert steps[0]["chosen"] == pytest.approx(0, abs=1e-5) and steps[0]["accuracy"] <= 1
    assert steps[-1]["accuracy"] == 1 and steps[-1]["chosen"] > steps[-1]["rejected"]
    with pytest.raises(InputError, match=r"lora.r is 4, in the version to start from 8: set lora.r to that"):
        train_many([of(Dpo(), tmp_path, "other", parent, r=4)], base, model)


@pytest.mark.parametrize("places", [64, 5])
def test_answers_to_many_prompts_are_those_to_each_alone(
    model: Any, monkeypatch: pytest.MonkeyPatch, places: int
) -> None:
    """Whichever of them end first: the last ones take their places, and who waits for one joins those that go on."""
    monkeypatch.setitem(ROWS, "cpu", places)
    draw = random.Random(3)
    prompts = [[draw.randrange(5, 200) for _ in range(draw.randint(2, 9))] for _ in range(14)]
    done: list[int] = []
    with computing_in(model, torch.float32):
        free = greedy(model, prompts, [], 12)
        ends = [answer.ids[number % 12] for number, answer in enumerate(free)]
        together = greedy(model, prompts, ends, 12, progress=done.append)
        alone = [greedy(model, [prompt], ends, 12)[0].ids for prompt in prompts]
    assert [answer.ids for answer in together] == alone
    assert len({len(ids) for ids in alone}) > 3
    assert done == sorted(done) and done[-1] == 14


def test_what_is_left_of_a_label_is_not_waited_for(model: Any) -> None:
    """One look at the prompt chooses between two labels; a third begins like the first and takes another."""
    labels, read = [[50, 51, 52, 2], [60, 61, 62, 63, 2], [50, 51, 53, 2]], []

    def allowed(number: int, so_far: Sequence[int]) -> list[int]:
        return sorted({ids[len(so_far)] for ids in labels[: 2 + number] if ids[: len(so_far)] == [*so_far]})

    hook = model.base_model.register_forward_hook(lambda module, given, out: read.append(1))
    with computing_in(model, torch.float32):
        (two,) = greedy(model, [[7, 8, 9]], [2], 12, allowed)
        assert len(read) == 1
        of_two, of_three = greedy(model, [[7, 8, 9], [7, 8, 9]], [2], 12, allowed)
        (cut,) = greedy(model, [[7, 8, 9]], [2], 2, allowed)
    hook.remove()
    assert two.ended and two == of_two and [*two.ids, 2] in labels[:2]
    assert of_three.ended and [*of_three.ids, 2] in labels
    assert not cut.ended and cut.ids == two.ids[:2]


def test_answers_while_it_trains_are_those_of_the_saved_adapter(
    model: Any, base: Base, parent: Path, tmp_path: Path
) -> None:
    """Drawn through the engine's own layers, and by PEFT: token by token the same, and not the base's."""
    job = of(Dpo(), tmp_path, parent=parent)
    prompts = [e.input_ids[: e.labels.count(IGNORE)] for e in job.train[::2]]
    with computing_in(model, torch.float32):
        run = Run(job, base, model)
        with Layers(model).answering(run.adapter):
            ours = greedy(model, prompts, [2], 8)
        with adapted(model, parent) as peft:
            assert ours == greedy(peft, prompts, [2], 8)
        assert ours != greedy(model, prompts, [2], 8)


def test_killed_and_resumed_is_undisturbed(tmp_path: Path) -> None:
    killed(tmp_path, "tests.factory.train.test_preferences", times=1)


def jobs(run: Path) -> list[Job]:
    """For `killed`: none has a parent, so that nothing has to be made before."""
    return [
        of(Dpo(), run, "a", seed=1, epochs=6),
        of(Kto(), run, "b", batch=2, seed=2, epochs=3),
        drawing(Grpo(group=4), run, "c", batch=2, seed=3, epochs=2),
    ]
