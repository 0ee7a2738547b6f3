"""Tests of training are written for a GPU and have a small form on the CPU, so that they are no code that never ran."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from bench.gpu import COMMON, SHAPES, random_base
from factory.base.build import Base, load_model
from factory.shares import give_back
from tests.factory.train.fused_support import make_base
from tests.gpu import WITHOUT

TOY = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 512}
TOY |= {"num_key_value_heads": 2, "head_dim": 16}


@pytest.fixture(scope="session", params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip(WITHOUT)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch.device("cuda:0" if request.param == "cuda" else "cpu")
    torch.set_num_threads(threads)
    give_back()


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    """A random Qwen2 of two layers, quantised on the CPU as every base is, on the disk."""
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def model(base: Base, device: torch.device) -> Any:
    return load_model(base, device=str(device))


@pytest.fixture(scope="session")
def shaped(device: torch.device) -> Any:
    """Qwen3-0.6B's shape with random weights on a GPU, a toy's on the CPU."""
    return random_base(COMMON | SHAPES["0.6B"] if device.type == "cuda" else COMMON | TOY, device)


@pytest.fixture(scope="session", autouse=True)
def ten_minutes() -> Iterator[None]:
    """All of them together on one GPU."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 600 or not torch.cuda.is_available()
