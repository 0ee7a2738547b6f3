"""The engine on a GPU answers what this process answers over the same NF4 checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from factory import answers
from factory.base.build import load_model, load_tokenizer, prepare
from factory.data.rows import Row
from factory.decoding import Decoding
from tests.fakes.adapters import register
from tests.gpu import WITHOUT
from tests.tiny_base import TINY
from tests.tiny_base.world import SMALL_TALK

EQUAL = 0.9  # share of rows with the same answer; both compute in bf16, in other orders


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path / "home"))
    yield tmp_path


@pytest.mark.gpu
def test_vllm_says_what_this_process_says(own_home: Path) -> None:
    """On a CPU: tests/serve/test_answers.py::test_both_ways_say_the_same."""
    if not torch.cuda.is_available():
        pytest.skip(WITHOUT)
    pytest.importorskip("vllm", reason="vLLM is not installed here")
    from serve.answers import by_engine

    base = prepare(TINY)
    version = register(base, "parity", 3, scale=0.02)
    rows = [Row(({"role": "user", "content": asked},)) for asked, _ in SMALL_TALK]
    how = Decoding(max_tokens=12)
    model, tokenizer = load_model(base), load_tokenizer(base)
    here = [answers.answer(model, tokenizer, rows, how)]
    with answers.adapted(model, version.folder) as peft:
        here.append(answers.answer(peft, tokenizer, rows, how))
    del model
    for who, said in zip((None, version), here, strict=True):
        there = by_engine(base, who, rows, how)
        assert sum(a == b for a, b in zip(said, there, strict=True)) >= EQUAL * len(rows)
    assert here[0] != here[1], "the adapter does something"
