"""What the training benchmark computes from what it measured, and that its GPU part runs on any device."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from bench import gpu, peers, rows, training
from bench.training import Process
from factory.base.build import Base
from factory.data.rows import Row
from factory.errors import FactoryError
from factory.train.tokens import Example

MEASURED = {
    "plain": [[Process(10, 6, 15, 1000)] * 3, [Process(12, 7, 16, 1200)] * 3],
    "packed": [[Process(20, 6, 15, 1000)], [Process(22, 7, 16, 1200)]],
    "alone": [[Process(5, 2, 8, 900)] * 3, [Process(6, 2, 8, 900)] * 3],
    "fused 3": [[Process(9, 5, 12, 1100)], [Process(18, 9, 15, 1300)]],
}
LOSSES = {"plain": [1.0, 2.0, 3.0], "packed": [1.0], "alone": [1.0, 2.0, 3.0], "fused 3": [1.0, 2.03, 2.9]}


def test_ratios_are_medians_over_repeats() -> None:
    verdict = training._verdict(3, MEASURED, LOSSES)
    assert (verdict["wall_ratio"], verdict["memory_ratio"], verdict["same_score"]) == (0.4, 1.092, True)
    assert verdict["wall_ratio_range"] == [0.3, 0.5] and verdict["cpu_ratio"] == 0.29
    assert verdict["memory_ratio_ours"] == 1.333  # medians of 1100 and 1300 over 900
    twice = {**MEASURED, "fused 6": MEASURED["fused 3"]}
    assert training._verdict(6, twice, {**LOSSES, "fused 6": LOSSES["fused 3"] * 2})["wall_ratio"] == 0.2
    worse = {**LOSSES, "fused 3": [1.0, 2.05, 2.9]}
    assert not training._verdict(3, MEASURED, worse)["same_score"]


def test_everyone_takes_turns_over_the_same_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def measured(command: list[str]) -> Process:
        commands.append(command)
        return Process(1.0, 0.5, 1.0, 100)

    losses = {"plain": [1.0] * 8, "packed": [1.0], "alone": [1.0] * 3, "fused 1": [1.0], "fused 16": [1.0] * 16}
    monkeypatch.setattr(training, "prepare", lambda name: Base("small", "", "", "", tmp_path, 1e-3))
    monkeypatch.setattr(training, "load_tokenizer", lambda base: None)
    monkeypatch.setattr(training, "measured_process", measured)
    monkeypatch.setattr(training, "_losses", lambda *_: losses)
    monkeypatch.setattr(training, "_tokens", lambda *_: 100)
    monkeypatch.setattr(training.growth, "run", lambda base: {})
    monkeypatch.setattr(
        training.rows, "write", lambda n, *_: [rows.Task(f"{i}-x", tmp_path / f"{i}-x", i) for i in range(n)]
    )
    result = training.run((1, 16), repeats=2)
    plain = [c for c in commands if any(word.endswith("plain_trl.py") for word in c)]
    ours = [c for c in commands if "bench.ours" in c]
    assert (len(plain), len(ours)) == (2 * (8 + 1), 2 * (3 + 2))
    assert sorted({sum("-x" in word for word in c) for c in ours}) == [1, 16]
    assert all(Path(word).is_file() for c in plain for word in c if word.endswith(".py"))
    assert {n: f["wall_ratio"] for n, f in result["fused_vs_trl"].items()} == {"1": 1.0, "16": round(1 / 16, 3)}


def test_a_summary_and_a_plot(tmp_path: Path) -> None:
    tokens = [100, 200, 300]
    result = {
        "fused_vs_trl": {"3": training._verdict(3, MEASURED, LOSSES)},
        "trainers": {kind: training._summary(kind, measured, tokens) for kind, measured in MEASURED.items()},
        "held_out_loss": LOSSES,
        "growth": {axis: [{"at": 1, "tokens_per_second": 5}] for axis in ("adapters", "rank", "length")},
    }
    plain = result["trainers"]["plain"]
    assert plain["wall_seconds"] == 33 and plain["wall_seconds_range"] == [30, 36] and plain["adapters"] == 3
    assert plain["tokens_per_second"] == round(600 / 33)
    assert result["trainers"]["packed"]["tokens_per_second"] == round(100 / 21)
    training.plot(result, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").stat().st_size > 5_000


def test_a_process_is_measured_whole() -> None:
    made = training.measured_process(
        [sys.executable, "-c", "print({'train_runtime': '1.25'}); x = bytearray(80 * 2**20)"]
    )
    assert made.training == 1.25 and made.wall > 0 and 0 < made.cpu < 60 and made.peak > 80 * 2**20
    with pytest.raises(FactoryError, match="ended with 3"):
        training.measured_process([sys.executable, "-c", "import sys; print('why'); sys.exit(3)"])


def test_the_gpu_part_on_a_toy() -> None:
    """The whole of it, TRL too: after the warm steps as many tokens are timed as the rows of the others have."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    shape = {
        "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 128,
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu, "STEPS", 4)
        patch.setattr(gpu, "WARM", 2)
        patch.setattr(gpu, "LENGTH", 32)
        model = gpu.random_base(shape, torch.device("cpu"))
        rows = gpu.random_rows(128, gpu.STEPS * gpu.BATCH, gpu.LENGTH // 2, gpu.LENGTH)
        timed = [gpu._ours(model, rows, 1), gpu._ours(model, rows, 2), gpu._trl(model, rows)]
        one, two = gpu.measure(model, [1, 2])
    torch.set_num_threads(threads)
    half = sum(len(row.input_ids) for row in rows[8:])
    assert timed[2].tokens == half and timed[1].tokens == 2 * timed[0].tokens > half / 2
    assert one["against_one_after_the_other"] == 1 and two["adapters"] == 2
    assert all(point["mfu"] > 0 and point["trl"]["mfu"] > 0 and point["against_trl"] > 0 for point in (one, two))
    assert not hasattr(model, "peft_config") and not any(p.requires_grad for p in model.parameters())


def test_utilisation_is_what_the_tokens_need_of_the_peak() -> None:
    assert gpu.mfu(1000, 3e9, 12e12) == 0.25
    clock = gpu._Clock(torch.device("cpu"))
    for moment in range(gpu.WARM + 2):
        clock.reads.append((10.0 * moment, 100 * moment))
    assert (clock.timed().tokens, clock.timed().seconds, clock.timed().rate) == (200, 20.0, 10.0)


def test_flops_of_a_token() -> None:
    config = gpu.random_base(
        gpu.COMMON | {**gpu.SHAPES["0.6B"], "num_hidden_layers": 1, "vocab_size": 64}, torch.device("cpu")
    ).config
    row = Example([1] * 100, [-100] * 50 + [1] * 50)
    frozen = 1024 * (128 * (16 + 8 + 8 + 16) + 3 * 3072)
    expected = 4 * frozen * 100 + 6 * 7 * 100 + 6 * 100**2 * 16 * 128 + 4 * 50 * 1024 * 64
    assert gpu.flops(config, [row], 7) == expected


def test_without_a_gpu_nothing_is_claimed() -> None:
    if not torch.cuda.is_available():
        assert gpu.run() == {"measured": False, "why": "no CUDA GPU here"}


def test_a_peer_gets_the_same_rows_and_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = rows.Task("0-x", tmp_path / "0-x", 7)
    rows.save(
        task.folder / "train.jsonl", [Row(({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}))]
    )
    base = Base("small", "", "", "", tmp_path, 1e-3)
    settings = {"epochs": 2.0, "batch": 16, "lr": 1e-3, "r": 16, "max_length": 1024}
    config = json.loads(peers.write(base, task, tmp_path / "peer", settings).read_text())
    assert (config["learning_rate"], config["lora_rank"], config["seed"]) == (1e-3, 16, 7)
    kept = json.loads((tmp_path / "peer" / "rows.json").read_text())
    assert [m["content"] for m in kept[0]["messages"]] == ["a", "b"]


def test_a_peer_that_cannot_be_had_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "prepare", lambda name: Base("small", "", "", "", tmp_path, 1e-3))
    monkeypatch.setattr(peers.sys, "executable", "/bin/false")
    result = peers.run()
    assert result["measured"] is False and "could not be installed" in result["why"]
