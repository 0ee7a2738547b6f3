"""A server over fake engines with its own home, for tests that would disturb the shared one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from factory.base.build import Base
from tests.fakes.adapters import register
from tests.fakes.serving import Fake, fake_base, fake_server

LABELS = ["billing", "delivery", "other"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of this test's own."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("FACTORY_HOME", str(folder))
    return folder


@pytest.fixture
def made_up(place: Path) -> Base:
    """A base of which only the shapes are there."""
    return fake_base()


@pytest.fixture
def fake(place: Path, made_up: Base) -> Iterator[Fake]:
    """`summary` with three versions, `identity` and `classification` with one, over a fake engine."""
    for seed in (1, 2, 3):
        register(made_up, "summary", seed, kind="summary")
    register(made_up, "identity", 4, kind="identity", prompt="")
    register(made_up, "classification", 5, kind="classification", labels=LABELS)
    with fake_server(place) as running:
        yield running
