"""Engines on a local Ray cluster of three nodes, one of which is lost.

Ray binds to the machine's own address, not to the loopback, so the test runs again in a network namespace of its own,
where there is nothing but a loopback.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from factory.base.build import Base
from serve import remote
from tests.fakes.adapters import promote, register
from tests.fakes.serving import fake_server

pytestmark = pytest.mark.slow
INSIDE = "FACTORY_TEST_NAMESPACE"
ray = pytest.importorskip("ray")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    if not os.environ.get(INSIDE):
        pytest.skip("only in a network namespace")
    loopback_up()
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    nodes = Cluster()
    here = {"object_store_memory": 80 * 2**20}
    nodes.add_node(num_cpus=0, **here)  # the head runs no engine
    for _ in range(3):
        nodes.add_node(num_cpus=1, **here)
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    yield nodes
    nodes.shutdown()


def loopback_up() -> None:
    """`ip link set lo up`, as there may be no `ip`."""
    import fcntl
    import socket
    import struct

    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: IFF_UP, IFF_RUNNING


def test_in_a_namespace_of_its_own() -> None:
    if os.environ.get(INSIDE):
        pytest.skip("this is the run inside")
    command = ["unshare", "--map-root-user", "--net", sys.executable, "-m", "pytest", "-x", __file__]
    if not shutil.which("unshare") or subprocess.run([*command[:3], "true"], capture_output=True).returncode:
        pytest.skip("no network namespaces here")
    done = subprocess.run(command, env={**os.environ, INSIDE: "1"}, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-3000:]


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
        assert (promote("summary@v2") or {})["prod"] == "summary@v2"
        cluster.remove_node(next(filter(hosts_engine, cluster.worker_nodes)), allow_graceful=False)
        deadline = time.monotonic() + 300
        while all(engines()) and time.monotonic() < deadline:
            assert ask() in (200, 503)
        while not all(engines()) and time.monotonic() < deadline:
            assert ask() == 200  # by the other replica
        assert all(engines()) and ask() == 200
        assert (remote.state() or {})["tasks"][0]["prod"] == "summary@v2"
