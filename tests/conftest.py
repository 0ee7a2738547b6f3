"""What tests of several parts share: a home of their own, a base, and one running server for the whole run.

Starting vLLM takes half a minute, so there is one for all tests (`server`), over the tasks that are registered here.
Tests may register and promote versions of tasks with names of their own; those of `server.tasks` stay as they are.
`FACTORY_TEST_BASE` names another base than the tests' own (`tests/tiny_base`): a short name, a Hub id or a folder.

`make test` runs two processes side by side (pytest-xdist), for half of the time is spent waiting for servers and
commands. What shares a fixture stays in one of them; each computes with its share of the cores.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from factory.base.build import Base, prepare
from factory.registry.store import Version
from tests.tiny_base import TINY

processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0))
if processes:  # before anything imports torch
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // processes))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Files that ask the shared engine go to one process, so that there is one engine; so do those of any_lm, whose
    bases are made once; others go wherever there is room, a file at a time. (pytest 9.2 and xdist 3.8 lose groups.)"""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            return "any_lm" if "any_lm" in path else "engine" if _asks_the_engine(path) else path

    return Scheduling(config, log)


@functools.cache
def _asks_the_engine(path: str) -> bool:
    return "server: Server" in (Path(__file__).parents[1] / path).read_text()


@dataclass(frozen=True)
class Server:
    """A running server: its address without /v1, the home it serves and the versions in it, oldest first."""

    url: str
    home: Path
    base: Base
    tasks: dict[str, list[Version]]
    said: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A factory's home for the whole run; FACTORY_HOME points there from its first use on."""
    folder = tmp_path_factory.mktemp("home")
    before = os.environ.get("FACTORY_HOME")
    os.environ["FACTORY_HOME"] = str(folder)
    yield folder
    if before is None:
        del os.environ["FACTORY_HOME"]
    else:
        os.environ["FACTORY_HOME"] = before


@pytest.fixture(scope="session")
def base(home: Path) -> Base:
    """The base that tests train and serve on, quantised."""
    return prepare(os.environ.get("FACTORY_TEST_BASE", TINY))


@pytest.fixture(scope="session")
def server(home: Path, base: Base) -> Iterator[Server]:
    """vLLM and the gateway over three tasks with random adapters; `summary` has three versions, the first is live."""
    from serve.server import Options, running
    from tests.fakes.adapters import register

    tasks = {
        "summary": [register(base, "summary", seed, kind="summary") for seed in (1, 2, 3)],
        "identity": [register(base, "identity", 4, kind="identity")],
        "classification": [
            register(base, "classification", 5, kind="classification", labels=["billing", "delivery", "other"])
        ],
    }
    said: list[str] = []
    with running(Options(port=0), said.append) as url:
        yield Server(url, home, base, tasks, said)
