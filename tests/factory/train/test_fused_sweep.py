"""Sweeps: every combination, the worse half out at each rung, the winner as if it had been trained alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from rich.progress import Progress
from safetensors.torch import load_file

from factory.base.build import load_model
from factory.errors import InputError
from factory.train.fused import ALL, Failed, train_many
from factory.train.fused.progress import lines
from factory.train.fused.sweep import Standing, grid, name_of, rows, sweep, write
from factory.train.trained import Trained
from tests.factory.train.fused_support import make_base, make_job


def test_a_grid_is_every_combination() -> None:
    assert grid("lora.r:8,16 train.lr:1e-4,3e-4") == [
        {"lora.r": "8", "train.lr": "1e-4"},
        {"lora.r": "8", "train.lr": "3e-4"},
        {"lora.r": "16", "train.lr": "1e-4"},
        {"lora.r": "16", "train.lr": "3e-4"},
    ]
    assert name_of(make_job(Path("x"), "summary").recipe, {"lora.r": "8"}) == "summary lora.r=8"
    for broken in ("lora.r", "lora.r:8,,16", "lora.r:8 lora.r:16"):
        with pytest.raises(InputError, match="sweep"):
            grid(broken)


def test_the_worse_half_stops_at_every_rung(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    base = make_base(tmp_path)
    model = load_model(base)
    quality = {"a": 0.1, "b": 0.9, "c": 0.5, "d": 0.7}
    asked: list[str] = []

    def score(adapter: Path) -> float:
        asked.append(adapter.parent.name)
        assert (adapter / "adapter_model.safetensors").is_file()
        return quality[adapter.parent.name]

    jobs = [
        replace(make_job(tmp_path / "sweep", name, rows=32, seed=at, r=4), score=score)
        for at, name in enumerate(quality)
    ]
    broken = replace(make_job(tmp_path / "sweep", "broken", rows=32, alpha=1e38, lr=1e-2), score=score)
    told: list[tuple[str, dict[str, Any]]] = []
    standings = sweep([*jobs, broken], base, model, progress=lambda name, record: told.append((name, record)))
    assert [s.name for s in standings] == ["b", "d", "c", "a", "broken"]
    assert asked == ["a", "b", "c", "d", "b", "d", "c", "b", "d"]
    assert standings[0].scores == [(2, 0.9), (4, 0.9), (8, 0.9)] and standings[3].scores == [(2, 0.1)]
    assert isinstance(standings[-1].result, Failed) and isinstance(standings[0].result, Trained)
    alone = make_job(tmp_path / "alone", "b", rows=32, seed=1, r=4)
    train_many([alone], base, model)
    winner, expected = (
        load_file(run / "adapter" / "adapter_model.safetensors") for run in (standings[0].result.run, alone.run)
    )
    assert all(torch.allclose(winner[k].float(), expected[k].float(), atol=1e-3) for k in expected)
    assert write(standings, tmp_path / "out").stat().st_size > 5_000
    table = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert [row["score"] for row in table] == [0.9, 0.7, 0.5, 0.1, None] and "not finite" in table[-1]["failed"]
    assert ("b", {"step": 8, "score": 0.9}) in told
    torch.set_num_threads(threads)


def test_nothing_is_said_of_what_was_not_scored() -> None:
    assert rows([Standing("a")]) == [{"name": "a", "scores": []}]


def test_one_line_for_each_adapter_and_one_for_all() -> None:
    bar = Progress(console=Console(file=None, quiet=True))
    show = lines(bar)
    show("a", {"step": 1, "loss": 2.5, "total": 8, "tokens": 10})
    show("a", {"step": 1, "eval_loss": 2.0, "total": 8, "tokens": 10})
    show(ALL, {"tokens": 10, "tokens_per_second": 5000.0, "row": 10, "running": 1, "waiting": 2, "budget": 64})
    show("a", {"step": 1, "score": 0.5})
    one, every = bar.tasks
    assert one.description == "a" and one.total == 8 and one.fields["text"] == "loss 2.500  eval 2.000  score 0.500"
    assert every.fields["text"] == "5,000 tokens/s, 1 training, 2 waiting" and every.completed == 10
