"""Jobs over an animal, and the same job by plain PEFT: sequence by sequence, with the optimizer written out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from factory.base.build import Base
from factory.data.rows import Row
from factory.recipe import Recipe
from factory.train import lora
from factory.train.fused import Job
from factory.train.fused.packing import supervised
from factory.train.fused.precision import computing_in
from factory.train.fused.run import Run
from factory.train.tokens import encode
from tests.any_lm.zoo import TEXT
from tests.factory.train.fused_support import upcast

PROMPT = "Answer briefly, in one sentence."


def rows(count: int, begin: str) -> list[Row]:
    """Questions under one system prompt, and under none; longer than any window of the zoo."""
    asked = [
        (f"{begin} {number}: {TEXT[number % len(TEXT)]}", f"{number} is in the small room") for number in range(count)
    ]
    plain = [Row(({"role": "user", "content": q}, {"role": "assistant", "content": a})) for q, a in asked]
    return [row.with_system(PROMPT) if number % 3 else row for number, row in enumerate(plain)]


def job(tokenizer: Any, folder: Path, name: str, *, steps: int = 2, batch: int = 3, **settings: Any) -> Job:
    """`steps` steps over rows of the name's own."""
    r = settings.pop("r", 8)
    train = {"lr": 2e-2, "batch": batch, "epochs": 1, "precision": "fp32", "patience": 0, **settings}
    form = {"task": name, "kind": "general", "folder": folder, "system": PROMPT, "lora": {"r": r, "alpha": 16}}
    recipe = Recipe.model_validate({**form, "train": train})
    learn = [encode(tokenizer, row, recipe.train.max_length) for row in rows(steps * batch, name)]
    return Job(name, recipe, learn, [], folder / name)


def by_peft(model: Any, base: Base, job: Job, folder: Path) -> tuple[list[float], torch.Tensor]:
    """(each step's loss, the weights at the end in the order of ours) of plain PEFT over the same base."""
    from peft import get_peft_model

    settings = job.recipe.train
    with computing_in(model, torch.float32):
        run = Run(Job(job.name, job.recipe, job.train, [], folder), base, model)
        peft = get_peft_model(model, lora.config(job.recipe.lora, model)).train()
        upcast(peft)
        ours = run.adapter.tensors(run.adapter.weights)
        theirs = {k.replace(".default", ""): p for k, p in peft.named_parameters() if p.requires_grad}
        assert theirs.keys() == ours.keys()
        for key, parameter in theirs.items():
            parameter.data.copy_(ours[key])
        optimizer = torch.optim.AdamW(theirs.values(), betas=(0.9, 0.999), eps=1e-8, weight_decay=settings.weight_decay)
        losses = []
        for step in range(run.schedule.steps):
            batch = [job.train[i] for i in run.schedule.batch(step)]
            optimizer.zero_grad()
            loss = torch.stack([_summed(peft, e.input_ids, e.labels) for e in batch]).sum() / supervised(batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(theirs.values(), settings.max_grad_norm)
            optimizer.param_groups[0]["lr"] = run.schedule.rate_at(step)
            optimizer.step()
            losses.append(loss.item())
        peft.unload()
        model.requires_grad_(False)
    return losses, torch.cat([theirs[key].detach().flatten() for key in ours])


def _summed(model: Any, ids: list[int], labels: list[int]) -> torch.Tensor:
    logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, :-1]
    return F.cross_entropy(logits.float(), torch.tensor(labels[1:]), reduction="sum")
