"""A stranger's adapter on its way into production: made with plain PEFT, adopted, promoted, and answering from vLLM."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from factory.verbs.exchange import adopt
from factory.verbs.registry import promote
from tests.conftest import Server
from tests.factory.registry.conftest import small_project
from tests.factory.registry.plain_peft import make
from tests.tiny_base import TINY


@pytest.fixture(autouse=True)
def own_home(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The home of the running server, instead of the one with the made-up base that the other tests here use."""
    monkeypatch.setenv("FACTORY_HOME", str(server.home))


@pytest.mark.slow
def test_an_adopted_adapter_answers(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_project(tmp_path, server.base.name)
    make(Path(TINY), tmp_path / "plain")
    monkeypatch.chdir(tmp_path)
    made = adopt({"from": f"file:{tmp_path / 'plain'}", "task": "mail"}, {}, True)
    assert made["scorecard"]["rows"] == 6 and made["gate"]["decision"] == "INCONCLUSIVE"
    promoted = promote({"version": made["version"], "force": "six rows prove nothing"}, {}, True)
    assert promoted["served"]
    asked = {"model": "mail", "messages": [{"role": "user", "content": "The meeting moved."}], "max_tokens": 4}
    reply = httpx.post(f"{server.url}/v1/chat/completions", json=asked, timeout=120)
    assert reply.status_code == 200 and reply.headers["x-adapter-version"] == made["version"]
    assert reply.json()["usage"]["completion_tokens"]
