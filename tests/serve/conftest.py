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
    register_three(made_up)
    with fake_server(place) as running:
        yield running


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    """The same once for a module, for tests that leave it as they found it."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACTORY_HOME", str(folder))
        register_three(fake_base())
        with fake_server(folder) as running:
            yield running


def register_three(base: Base) -> None:
    for seed in (1, 2, 3):
        register(base, "summary", seed, kind="summary")
    register(base, "identity", 4, kind="identity", prompt="")
    register(base, "classification", 5, kind="classification", labels=LABELS)
