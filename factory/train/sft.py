"""Train one adapter with TRL's SFTTrainer: a LoRA over the NF4 base, loss on the answers only, trained in fp32."""

from __future__ import annotations

import importlib.util
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import get_peft_model
from transformers import EarlyStoppingCallback, TrainerCallback, set_seed
from transformers.trainer_utils import get_last_checkpoint
from trl import SFTConfig, SFTTrainer

from factory.base.build import Base
from factory.errors import FactoryError, InputError
from factory.precision import precision
from factory.recipe import Recipe
from factory.train import curves, lora
from factory.train.kernels import check_kernels
from factory.train.tokens import IGNORE, Example
from factory.train.trained import Trained

MICRO_TOKENS = 16_384  # tokens of one forward pass, padding counted, when train.micro_batch is not set

Progress = Callable[[dict[str, Any]], None]


def train(
    recipe: Recipe,
    base: Base,
    model: Any,
    tokenizer: Any,
    rows: Sequence[Example],
    held_out: Sequence[Example],
    run: Path,
    progress: Progress = lambda record: None,
) -> Trained:
    """Train the recipe's adapter over the loaded base and leave it in `run/adapter`; the base is left as it was.

    A run that was interrupted goes on from its last checkpoint. Errors: no row with a trainable token; a loss that is
    not finite; a tracker (train.report_to) that is not installed.
    """
    settings = recipe.train
    check(recipe, rows)
    started = time.monotonic()
    micro = settings.micro_batch or _micro_batch(settings.batch, max(len(e.input_ids) for e in rows))
    per_epoch = math.ceil(len(rows) / settings.batch)
    total = max(1, math.ceil(per_epoch * settings.epochs))
    every = max(1, total // settings.evals)
    rate = lora.learning_rate(recipe, base)
    checkpointing = settings.gradient_checkpointing
    arguments = SFTConfig(
        output_dir=str(run / "checkpoints"),
        max_steps=total,
        per_device_train_batch_size=micro,
        per_device_eval_batch_size=micro,
        gradient_accumulation_steps=math.ceil(settings.batch / micro),
        learning_rate=rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=math.ceil(total * settings.warmup),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        bf16=precision(settings.precision).name == "bf16",
        use_cpu=not torch.cuda.is_available(),
        use_liger_kernel=settings.use_liger_kernel,
        gradient_checkpointing=torch.cuda.is_available() if checkpointing == "auto" else checkpointing,
        train_sampling_strategy="group_by_length",
        seed=settings.seed,
        max_length=None,
        logging_steps=1,
        logging_nan_inf_filter=False,
        eval_strategy="steps" if held_out else "no",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=bool(held_out),
        metric_for_best_model="eval_loss" if held_out else None,
        greater_is_better=False if held_out else None,
        report_to=[] if settings.report_to == "none" else [settings.report_to],
        run_name=run.name,
        disable_tqdm=True,
        dataset_num_proc=None,
    )
    set_seed(settings.seed)
    with _attached(model, recipe) as adapted:
        recorder = _Recorder(run, total, sum(len(e.input_ids) for e in rows) / len(rows), progress)
        callbacks: list[TrainerCallback] = [recorder]
        if held_out and settings.patience:
            callbacks.append(EarlyStoppingCallback(settings.patience))
        trainer = SFTTrainer(
            model=adapted,
            args=arguments,
            train_dataset=_dataset(rows),
            eval_dataset=_dataset(held_out) if held_out else None,
            processing_class=tokenizer,
            callbacks=callbacks,
        )
        trainer.remove_callback(_printer())
        parameters = lora.upcast(adapted)
        if settings.loraplus:
            trainer.optimizer = _loraplus(adapted, rate, settings.loraplus, settings.weight_decay)
        folder = run / "checkpoints"
        last = get_last_checkpoint(str(folder)) if folder.is_dir() else None
        recorder.resume_at(int(last.rsplit("-", 1)[1]) if last else 0)
        trainer.train(resume_from_checkpoint=last)
        if not all(p.isfinite().all() for p in parameters):
            raise FactoryError(f"{recipe.task}: the weights are not finite; lower train.lr (it is {rate:g})")
        state = trainer.state
        adapter = run / "adapter"
        shutil.rmtree(adapter, ignore_errors=True)
        lora.save(adapted, adapter)
    shutil.rmtree(run / "checkpoints", ignore_errors=True)
    losses = [r["eval_loss"] for r in recorder.records if "eval_loss" in r]
    return Trained(
        adapter=adapter,
        run=run,
        train_tokens=recorder.tokens,
        seconds=time.monotonic() - started,
        steps=state.global_step,
        stopped="early" if state.global_step < total else "",
        eval_loss=min(losses) if losses else math.nan,
    )


class _Recorder(TrainerCallback):
    """Writes metrics.jsonl step by step, tells the caller, and stops a run whose loss is not a number."""

    def __init__(self, run: Path, total: int, mean_length: float, progress: Progress) -> None:
        self.path = run / "metrics.jsonl"
        self.total, self.progress, self.mean_length = total, progress, mean_length
        self.records: list[dict[str, Any]] = []
        self.tokens, self.first, self.started = 0, 0, time.monotonic()

    def resume_at(self, step: int) -> None:
        """Keep the records up to `step`: those after it come again."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.records = [r for r in curves.read(self.path.parent) if r["step"] <= step]
        self.path.write_text("".join(json.dumps(r) + "\n" for r in self.records))
        self.first = step

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        names = {"loss": "loss", "grad_norm": "grad_norm", "learning_rate": "lr", "eval_loss": "eval_loss"}
        record = {ours: float(logs[theirs]) for theirs, ours in names.items() if logs and theirs in logs}
        if not record:
            return
        for name, value in record.items():
            if not math.isfinite(value):
                raise FactoryError(
                    f"the {name.replace('_', ' ')} is {value} at step {state.global_step}: lower train.lr, or look for "
                    f"broken rows; the steps until then are in {self.path}"
                )
        record = {"step": state.global_step, **record}
        self.records.append(record)
        with open(self.path, "a") as out:
            out.write(json.dumps(record) + "\n")
        if "loss" in record:
            per_step = args.train_batch_size * args.gradient_accumulation_steps * self.mean_length
            self.tokens = round(state.global_step * per_step)
            rate = (state.global_step - self.first) * per_step / (time.monotonic() - self.started)
            record["tokens_per_second"] = rate
        self.progress({**record, "total": self.total, "tokens": self.tokens})


@contextmanager
def _attached(model: Any, recipe: Recipe) -> Iterator[Any]:
    """The base with the recipe's fresh LoRA on it, taken off again at the end for the next task to have the base."""
    adapted = get_peft_model(model, lora.config(recipe.lora))
    try:
        yield adapted
    finally:
        adapted.unload()
        if hasattr(model, "peft_config"):
            del model.peft_config
        model.gradient_checkpointing_disable()
        model.requires_grad_(False)


def check(recipe: Recipe, rows: Sequence[Example]) -> None:
    """InputError for what can be seen before anything is trained."""
    if not any(label != IGNORE for example in rows for label in example.labels):
        raise InputError(
            f"{recipe.task}: no row has a trainable token left (are the answers empty, or is train.max_length="
            f"{recipe.train.max_length} shorter than the prompts?)"
        )
    if recipe.lora.init not in lora.PLAIN_INITS:
        raise InputError(
            f"{recipe.task}: lora.init={recipe.lora.init} needs the base's weights in full, and here they are in 4 "
            f"bits and shared by all adapters: take {' or '.join(lora.PLAIN_INITS)}"
        )
    check_kernels(recipe)
    tracker = recipe.train.report_to
    if tracker != "none" and importlib.util.find_spec(tracker) is None:
        raise InputError(f"train.report_to={tracker} needs a package that is not here: pip install {tracker}")


def _micro_batch(batch: int, longest: int) -> int:
    """The largest divisor of the batch whose padded tokens fit one forward pass."""
    return max((n for n in range(1, batch + 1) if batch % n == 0 and n * longest <= MICRO_TOKENS), default=1)


def _dataset(examples: Sequence[Example]) -> Dataset:
    return Dataset.from_dict({"input_ids": [e.input_ids for e in examples], "labels": [e.labels for e in examples]})


def _loraplus(model: Any, rate: float, ratio: float, weight_decay: float) -> Any:
    from peft.optimizers import create_loraplus_optimizer

    return create_loraplus_optimizer(
        model, torch.optim.AdamW, lr=rate, loraplus_lr_ratio=ratio, weight_decay=weight_decay
    )


def _printer() -> type[TrainerCallback]:
    from transformers.trainer_callback import PrinterCallback

    return PrinterCallback
