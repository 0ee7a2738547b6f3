"""One adapter on its way: weights, optimizer, where it stands, its checkpoints, its evals and when it is done."""

import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save

from factory.base.build import Base
from factory.home import digest, sha256, write_file, write_json
from factory.precision import precision
from factory.recipe import Recipe
from factory.train import curves
from factory.train.fused.dropout import Dropout
from factory.train.fused.lora import Adapter
from factory.train.fused.packing import own_size, size, usual_beginning
from factory.train.methods import Method, Seen, Sft, Totals
from factory.train.schedule import Schedule
from factory.train.tokens import Example, grouped
from factory.train.trackers import Reporter
from factory.train.trained import Trained


@dataclass(frozen=True)
class Job:
    """One adapter to train: its rows as tokens and its run's folder. `score` grades an adapter's folder (sweeps). Where
    it only `follows` what another process reports of the same job, no tracker hears of it. It starts as the adapter in
    the folder `parent`, which it is compared with by a `method` that compares; without one it starts as PEFT has it.
    Of a method that draws, `train` are questions, and `rollouts` makes answers of them with the adapter on its base:
    see `factory.pipeline.rewards`, going on behind the `before` that stages before it have asked; the reward model in
    the folder `reward` pays for them too. A `teacher` gives of each example the hidden states that it is to come to,
    see `factory.pipeline.recovery`."""

    name: str
    recipe: Recipe
    train: list[Example]
    eval: list[Example]
    run: Path
    score: Callable[[Path], float] | None = None
    follows: bool = False
    method: Method = field(default_factory=Sft)
    parent: Path | None = None
    rollouts: Any = None
    before: int = 0
    reward: Path | None = None
    teacher: Callable[[Sequence[Example]], list[torch.Tensor]] | None = None

    def identity(self, base: Base) -> str:
        """What decides the result: a checkpoint of another identity is not resumed."""
        rows = [[[e.input_ids, e.labels] for e in part] for part in (self.train, self.eval)]
        train = self.recipe.train.model_dump() | {"precision": precision(self.recipe.train.precision).name}
        facts = [self.recipe.lora.model_dump(), train, base.fingerprint, base.lr, rows]
        if self.parent or not isinstance(self.method, Sft):
            groups = [[e.group, e.reward] for e in (*self.train, *self.eval)]
            method = self.method.model_dump(exclude={"parent", "data", "floor"})
            facts += [method, _weights(self.parent) if self.parent else "", groups]
        if self.reward:
            facts.append(_weights(self.reward))
        if self.before:
            facts.append(self.before)
        return digest(facts)

    def schedule(self, rate: float = 0.0) -> Schedule:
        """Which rows are seen when."""
        return Schedule(len(grouped(self.train)), rate, self.recipe.train, self.before)


@dataclass(frozen=True)
class Failed:
    """An adapter that was stopped: why, and after how many steps."""

    name: str
    why: str
    step: int
    run: Path


class Run:
    """The state of one job. `waiting` are the sequences of the current step that have not gone through yet."""

    def __init__(self, job: Job, base: Base, model: Any) -> None:
        self.job = job
        self.identity = job.identity(base)
        settings = job.recipe.train
        self.groups = grouped(job.train)
        self.schedule = job.schedule(base.lr if settings.lr == "auto" else settings.lr)
        self.adapter = Adapter(model, job.recipe.lora, settings.seed)
        if job.parent:
            self.adapter.load(job.parent)
        weights, grads, split = self.adapter.weights, self.adapter.grads, self.adapter.a_size
        self.parameters = [weights[:split].requires_grad_(), weights[split:].requires_grad_()]
        for parameter, grad in zip(self.parameters, (grads[:split], grads[split:]), strict=True):
            parameter.grad = grad
        self.optimizer = torch.optim.AdamW(
            [{"params": [p]} for p in self.parameters],
            betas=(0.9, 0.999), eps=1e-8, weight_decay=settings.weight_decay, fused=True,
        )  # fmt: skip
        self.beginning = usual_beginning(job.train)
        self.row_tokens = len(self.beginning) + settings.batch * (
            sum(own_size(e, self.beginning) for e in job.train) / len(self.groups)
        )
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        self.references: torch.Tensor | None = None
        self.taught: list[torch.Tensor] = []  # of each example, as the teacher has it
        self._places = {id(example): place for place, example in enumerate((*job.train, *job.eval))}
        self.best, self.since_best = math.inf, 0
        self.best_weights: torch.Tensor | None = None
        self.origin = weights.detach().clone() if job.rollouts else weights.detach()  # what answers are compared with
        self.reward = self.adapter.read(job.reward) if job.reward else None
        self.metrics = job.run / "metrics.jsonl"
        self.checkpoint = job.run / "checkpoint.safetensors"
        self._restore()
        self.begin_step()
        facts = {"task": job.recipe.task, "rows": len(job.train), "steps": self.schedule.steps, "base": base.label}
        facts |= {f"lora.{key}": str(value) for key, value in job.recipe.lora.model_dump().items()}
        facts |= {f"train.{key}": str(value) for key, value in settings.model_dump().items()}
        self.reporter = Reporter("none" if job.follows else settings.report_to, job.name, job.run, facts)

    @property
    def done(self) -> bool:
        return self.step >= self.schedule.steps or self.stopped_early

    @property
    def stopped_early(self) -> bool:
        patience = self.job.recipe.train.patience
        return bool(patience) and self.since_best >= patience

    @property
    def tokens_left(self) -> float:
        return (self.schedule.steps - self.step) * self.tokens_per_step

    @property
    def tokens_per_step(self) -> float:
        return size(self.job.train) / self.schedule.per_epoch

    def begin_step(self) -> None:
        """Take the next batch, or the same again after its rows were given up."""
        self.adapter.grads.zero_()
        self.told = torch.zeros(1 + len(self.job.method.figures), device=self.adapter.weights.device)
        self.totals: Totals | None = None
        self.rolled: dict[str, float] = {}
        if not self.done:
            self.batch = [example for i in self.schedule.batch(self.step) for example in self.groups[i]]
            self.waiting = [example for example in self.batch if example.reward]
            self.batch_tokens = size(self.batch)

    def losses(
        self, examples: Sequence[Example], logps: torch.Tensor, of: torch.Tensor, totals: Totals | None = None
    ) -> tuple[torch.Tensor, ...]:
        """What the method makes of the examples' log-probabilities (see `Seen`), within the current step or others'
        `totals`."""
        compared = self.references_of(examples).to(logps.device) if self.job.method.refers else None
        within = totals or self.totals or Totals.of(self.batch)
        return self.job.method.loss(Seen(examples, logps, of, compared, within))

    def references_of(self, examples: Sequence[Example]) -> torch.Tensor:
        """Their log-probabilities before training, [n]."""
        assert self.references is not None
        return self.references[[self._places[id(example)] for example in examples]]

    def taught_of(self, examples: Sequence[Example], of: torch.Tensor) -> torch.Tensor | None:
        """The teacher's hidden states of the examples' supervised tokens, in the order of `of` (see `Seen`): [m, H]."""
        if not self.taught:
            return None
        each = torch.cat([self.taught[self._places[id(example)]] for example in examples])
        return each[of.argsort(stable=True).argsort()]

    def dropout(self, examples: Sequence[Example]) -> Dropout | None:
        """What the adapter drops of these sequences of the current batch; None where its recipe has no dropout, and of
        drawn answers: nothing was dropped when they were said."""
        if not (share := self.job.recipe.lora.dropout) or self.job.rollouts:
            return None
        places = {id(example): place for place, example in enumerate(self.batch)}
        sequences = [(places[id(example)], len(example.input_ids)) for example in examples]
        return Dropout(share, self.job.recipe.train.seed, self.step, sequences)

    def finish_step(self, told: Sequence[float], norm: float) -> dict[str, Any]:
        """Clip, step and go on to the next batch; returns the step's record, of the loss and the method's figures in
        `told`. `norm` is that of the whole gradient."""
        settings = self.job.recipe.train
        rate = self.schedule.rate_at(self.step)
        for group, factor in zip(self.optimizer.param_groups, (1.0, settings.loraplus or 1.0), strict=True):
            group["lr"] = rate * factor
        if (clip := settings.max_grad_norm / (norm + 1e-6)) < 1:
            self.adapter.grads.mul_(clip)
        self.optimizer.step()
        self.adapter.refresh()
        rolled = self.rolled
        self.step += 1
        self.tokens += self.batch_tokens
        self.begin_step()
        figures = dict(zip(("loss", *self.job.method.figures), told, strict=True)) | rolled
        return self.note({"step": self.step, **figures, "grad_norm": norm, "lr": rate})

    def judge(self, eval_loss: float) -> dict[str, Any]:
        """Take note of an eval: the best weights are kept, and `patience` evals without a better one end the run. Gold
        rewards are means of so few answers that one within a standard error of the best counts as no worse."""
        count = len(self.job.eval)
        error = float((eval_loss * (1 - eval_loss) / count) ** 0.5) if self.job.rollouts else 0.0  # at most so much
        kept = eval_loss - error < self.best
        gold = {"gold": 1 - eval_loss, "gold_error": error, "kept": int(kept)} if self.job.rollouts else {}
        if kept:
            self.best, self.since_best = min(self.best, eval_loss), 0
            self.best_weights = self.adapter.weights.detach().clone()
        else:
            self.since_best += 1
        return self.note({"step": self.step, "eval_loss": eval_loss, **gold})

    def note(self, record: dict[str, Any]) -> dict[str, Any]:
        """Append a record to metrics.jsonl; returned as progress shows it."""
        with open(self.metrics, "a") as out:
            out.write(json.dumps(record) + "\n")
        self.reporter.log(record)
        return {**record, "total": self.schedule.steps, "tokens": self.tokens}

    def snapshot(self) -> Callable[[], None]:
        """Everything a new process needs to go on as if nothing had happened, copied between two optimizer steps; the
        function that is returned writes it, whatever the run does meanwhile."""
        tensors = {"weights": self.adapter.weights.detach()}
        for name, kept in (("best", self.best_weights), ("references", self.references)):
            if kept is not None:
                tensors[name] = kept
        for i, parameter in enumerate(self.parameters):
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"{key}.{i}"] = value
        place = {name: getattr(self, name) for name in ("step", "tokens", "seconds", "best", "since_best", "identity")}
        on_cpu = {key: value.to("cpu", copy=True) for key, value in tensors.items()}
        metadata = {"place": json.dumps(place)}
        return lambda: write_file(self.checkpoint, save(on_cpu, metadata=metadata))

    def _restore(self) -> None:
        self.job.run.mkdir(parents=True, exist_ok=True)
        if self.checkpoint.is_file():
            with safe_open(self.checkpoint, "pt", device=str(self.adapter.weights.device)) as file:
                place = json.loads(file.metadata()["place"])
                if place.pop("identity") == self.identity:
                    vars(self).update(place)
                    self._load({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
        records = [json.dumps(record) + "\n" for record in curves.read(self.job.run) if record["step"] <= self.step]
        write_file(self.metrics, "".join(records if self.step else []))

    def _load(self, tensors: dict[str, torch.Tensor]) -> None:
        self.adapter.weights.data.copy_(tensors["weights"])
        self.best_weights = tensors.get("best")
        self.references = tensors["references"].cpu() if "references" in tensors else None
        for i, parameter in enumerate(self.parameters):
            self.optimizer.state[parameter] = {
                key: tensors[f"{key}.{i}"].cpu() if key == "step" and not parameter.is_cuda else tensors[f"{key}.{i}"]
                for key in ("step", "exp_avg", "exp_avg_sq")
                if f"{key}.{i}" in tensors
            }
        self.adapter.refresh()

    def result(self) -> Trained:
        """Write `adapter/`: the weights of the best eval, or the last where nothing was held out."""
        folder = self.job.run / "adapter"
        shutil.rmtree(folder, ignore_errors=True)
        weights = self.adapter.weights if self.best_weights is None else self.best_weights
        self.adapter.save(folder, weights.detach())
        return Trained(
            adapter=folder,
            run=self.job.run,
            train_tokens=self.tokens,
            seconds=self.seconds,
            steps=self.step,
            stopped="early" if self.stopped_early else "" if self.done else "paused",
            eval_loss=self.best if math.isfinite(self.best) else math.nan,
        )

    def finish(self) -> Trained:
        """The result, marked so that a run of the same identity is not trained again."""
        result = self.result()
        facts = result.to_json() | {"identity": self.identity, "weights": _weights(result.adapter)}
        write_json(self.job.run / "trained.json", facts)
        self.checkpoint.unlink(missing_ok=True)
        return result


def finished(job: Job, base: Base) -> Trained | None:
    """The result of this very job if an earlier process has finished it."""
    path = job.run / "trained.json"
    facts = json.loads(path.read_text()) if path.is_file() else {}
    if facts.pop("identity", None) != job.identity(base):
        return None
    if facts.pop("weights", None) != _weights(job.run / "adapter"):  # damaged since, or of an earlier release
        return None
    return replace(Trained.of_json(facts), adapter=job.run / "adapter", run=job.run)


def _weights(adapter: Path) -> str:
    path = adapter / "adapter_model.safetensors"
    return sha256(path) if path.is_file() else ""
