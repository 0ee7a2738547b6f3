"""A base in parts, in two real processes: every method learns from it what it learns from the whole base."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from factory import probe
from factory.answers import adapted
from factory.base.build import Base, load_model, load_tokenizer
from factory.base.loaded import Loaded
from factory.train import curves
from factory.train.fused import Job, train_many
from factory.train.methods import Dpo, DpoNorm, Kto, Method, Pretrain, Sft
from factory.train.trained import Trained
from factory.verbs import divided, fan
from tests.factory.train.fused_support import make_job
from tests.factory.train.test_preferences import of

SAME = 1e-4  # how far apart what two processes add up in fp32 may be from what one does


def jobs(folder: Path, parent: Path) -> list[Job]:
    settings = {"epochs": 2, "evals": 2, "lr": 1e-3}
    supervised = [make_job(folder, name, rows=16, held_out=4, **settings) for name in ("sft", "pretrain")]
    texts = [
        [replace(example, labels=example.input_ids, group=n) for n, example in enumerate(examples)]
        for examples in (supervised[1].train, supervised[1].eval)
    ]
    onward: list[Method] = [Dpo(), DpoNorm(), Kto()]
    return [
        replace(supervised[0], method=Sft()),
        replace(supervised[1], method=Pretrain(), train=texts[0], eval=texts[1]),
        *(of(method, folder, method.name, parent, **settings) for method in onward),
    ]


@pytest.mark.slow
def test_every_method_learns_in_parts_what_it_learns_alone(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step by step, and eval by eval; and what each adapter is remembered by is what the whole base gives with it.
    Which pairs are told apart is left out: at the first step they all are as good as even."""
    monkeypatch.setenv("FACTORY_PRECISION", "fp32")
    model, tokenizer = load_model(base), load_tokenizer(base)
    start = make_job(tmp_path, "start", lr=1e-2)
    train_many([start], base, model)
    alone, parts = (jobs(tmp_path / name, start.run / "adapter") for name in ("alone", "parts"))
    results = train_many(alone, base, model), divided.over(fan.devices("2"))(Loaded(base, tokenizer), parts)
    untrained = probe.of_model(model, tokenizer, "")
    for one, other, whole, part in zip(alone, parts, *results, strict=True):
        assert isinstance(whole, Trained) and isinstance(part, Trained)
        records = [curves.read(job.run) for job in (one, other)]
        off = [
            abs(a[key] - b[key]) / max(1, abs(a[key]))
            for a, b in zip(*records, strict=True)
            for key in a.keys() - {"accuracy"}
        ]
        assert max(off) < SAME, one.name
        with adapted(model, whole.adapter) as peft:
            assert probe.apart(probe.of_model(peft, tokenizer, ""), part.probe) < SAME
        assert probe.apart(untrained, part.probe) > 10 * SAME
        assert not whole.probe and whole.train_tokens == part.train_tokens
