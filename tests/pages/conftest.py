"""A home of its own for each test, and an HTTP client for the rater's application."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from serve import rater


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FACTORY_RATINGS", raising=False)


@pytest.fixture
def client() -> Iterator[Callable[..., httpx.Client]]:
    """`client("anna")` is signed in; `client()` is not. All of a test's clients visit the same application."""
    site = rater.make()

    def make(name: str = "") -> TestClient:
        made = TestClient(site, follow_redirects=False)
        if name:
            assert made.post("/login", data={"name": name, "password": f"{name}-password"}).status_code == 303
        return made

    yield make
