"""A database of its own for each test, and FakeJudgeEndpoint processes that end with it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import sqlalchemy as sa

from evals import tables
from evals.judges import Judge

FAKE = Path(__file__).parents[1] / "fakes" / "judge_endpoint.py"


hypothesis.settings.register_profile("patient", deadline=None)  # a busy machine is no fault of the code
hypothesis.settings.load_profile("patient")


@pytest.fixture
def database(tmp_path: Path) -> sa.Engine:
    return tables.open_database(f"sqlite:///{tmp_path}/ratings.db")


@pytest.fixture
def fake_judge() -> Iterator[Callable[..., Judge]]:
    """Starts a FakeJudgeEndpoint with the given settings, returns the judge that asks it; `judge` sets its fields."""
    running: list[subprocess.Popen[str]] = []

    def start(judge: dict[str, Any] | None = None, **settings: Any) -> Judge:
        process = subprocess.Popen([sys.executable, FAKE, json.dumps(settings)], stdout=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout
        url = f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
        return Judge(**{"model": "fake", "base_url": url, "concurrency": 8, "timeout": 20} | (judge or {}))

    yield start
    for process in running:
        process.kill()
        process.wait()
