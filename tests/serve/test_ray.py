"""Engines on a local Ray cluster of three nodes, one of which is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from factory.base.build import Base
from serve import remote
from tests.fakes.adapters import register
from tests.fakes.serving import fake_server

pytestmark = pytest.mark.slow
ray = pytest.importorskip("ray")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    nodes = Cluster()
    nodes.add_node(num_cpus=0)  # the head runs no engine
    for _ in range(3):
        nodes.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    yield nodes
    nodes.shutdown()


def test_engines_are_placed_on_nodes_and_placed_again_when_one_is_lost(
    place: Path, made_up: Base, cluster: Any
) -> None:
    for seed in (1, 2):
        register(made_up, "summary", seed)
    with fake_server(place, engine="ray", replicas=2) as running:

        def ask() -> int:
            body = {"model": "summary", "messages": [{"role": "user", "content": "x"}]}
            return httpx.post(f"{running.url}/v1/chat/completions", json=body, timeout=30).status_code

        def engines() -> list[bool]:
            return [engine["ready"] for engine in (remote.state() or {})["engines"]]

        assert engines() == [True, True] and ask() == 200
        assert (remote.promote("summary@v2") or {})["prod"] == "summary@v2"
        worker = next(iter(cluster.worker_nodes))
        cluster.remove_node(worker, allow_graceful=False)
        deadline = time.monotonic() + 90
        lost = False
        while time.monotonic() < deadline and not (lost and all(engines())):
            lost = lost or not all(engines())
            assert ask() in (200, 503)
            time.sleep(0.2)
            if not lost and time.monotonic() > deadline - 60:
                break  # the node that was free has gone
        assert all(engines()) and ask() == 200
        assert (remote.state() or {})["tasks"][0]["prod"] == "summary@v2"
