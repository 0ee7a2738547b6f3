"""Which GPUs an engine gets and how much of them, as its process sees it. The cards are simulated, the engines fake."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from factory.base.build import Base
from tests.fakes.serving import fake_server
from tests.serve.load import children


@pytest.mark.parametrize(
    ("options", "visible", "engines"),
    [
        ({"replicas": 2, "tensor_parallel": 2, "memory": 0.3}, "0,1,2,3", [("0,1", 2, 0.3), ("2,3", 2, 0.3)]),
        ({"replicas": 3}, "4,GPU-5e", [("4", 1, 0.46), ("4", 1, 0.46), ("GPU-5e", 1, 0.46)]),
    ],
)
def test_each_replica_gets_gpus_of_its_own_while_there_are_enough(
    place: Path, made_up: Base, monkeypatch: pytest.MonkeyPatch, options: Any, visible: str, engines: list[Any]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setenv("FAKE_GPU_BYTES", str(24 * 10**9))
    with fake_server(place, **options) as running:
        assert sorted(map(seen, children(running.process.pid))) == engines


def seen(pid: int) -> tuple[str, int, float]:
    """What the engine's process was given: CUDA_VISIBLE_DEVICES, GPUs it is split over, share of their memory."""
    words, environment = (Path(f"/proc/{pid}/{name}").read_text() for name in ("cmdline", "environ"))

    def value(pattern: str, text: str) -> str:
        found = re.search(pattern + "=([^\0]+)", text)
        assert found, text
        return found[1]

    visible = value("CUDA_VISIBLE_DEVICES", environment)
    return visible, int(value("--tensor-parallel-size", words)), float(value("--gpu-memory-utilization", words))
