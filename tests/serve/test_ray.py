"""Engines on a local Ray cluster of three nodes, one of which is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
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
    here = {"node_ip_address": "127.0.0.1", "object_store_memory": 80 * 2**20}
    nodes.add_node(num_cpus=0, **here)  # the head runs no engine
    for _ in range(3):
        nodes.add_node(num_cpus=1, **here)
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    yield nodes
    nodes.shutdown()


def hosts_engine(node: Any) -> bool:
    """Whether an engine's process runs under this node."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    return any("tests.fakes.engine" in child.cmdline() for child in raylet.children(recursive=True))


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
        cluster.remove_node(next(filter(hosts_engine, cluster.worker_nodes)), allow_graceful=False)
        deadline = time.monotonic() + 120
        while all(engines()) and time.monotonic() < deadline:
            assert ask() in (200, 503)
        while not all(engines()) and time.monotonic() < deadline:
            assert ask() == 200  # by the other replica
        assert all(engines()) and ask() == 200
        assert (remote.state() or {})["tasks"][0]["prod"] == "summary@v2"
