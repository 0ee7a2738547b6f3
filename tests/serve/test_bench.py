"""The bench measures what it says, here over a fake engine and with little load."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import apart, serving
from factory.base.build import Base
from serve import process
from tests.fakes.serving import fake_server


def test_it_measures_everything_and_leaves_nothing(made_up: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def running(options: Any, progress: Any) -> Iterator[str]:
        with fake_server(Path(os.environ["FACTORY_HOME"])) as fake:
            yield fake.url

    monkeypatch.setattr(serving, "running", running)
    monkeypatch.setattr(serving, "prepare", lambda name: made_up)
    monkeypatch.setattr(process, "MODULE", "tests.fakes.engine")
    for module in (serving, apart):
        monkeypatch.setattr(module, "REQUESTS", 12)
    monkeypatch.setattr(apart, "ROUNDS", 1)
    home = os.environ["FACTORY_HOME"]
    result = serving.run("tiny", versions=12, soak_minutes=0.05, rounds=1)
    assert os.environ["FACTORY_HOME"] == home
    assert result["failed"] == result["leases_left"] == result["engine_restarts"] == 0
    assert result["gateway"]["throughput_ratio"] > 0 and result["gateway"]["ttft_ms"] > 0
    assert result["mixed8"]["throughput_ratio"] > 0 and result["swap"]["seconds"] > 0
    assert result["one_adapter_against_base"]["throughput_ratio"] > 0
    own = result["one_server_per_adapter"]
    assert own["failed"] == 0 and own["servers"] == 2 and own["throughput_ratio"] > 0
    assert 10 < own["memory_mb_each"] < own["memory_mb_ours"]  # ours holds an engine and the gateway
    assert result["many"]["failed"] == 0 and result["soak"]["leases_left"] == 0 and result["soak"]["memory_mb"] > 10
