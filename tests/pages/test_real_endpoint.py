"""The demo's questions against the real gateway and engine: who answered, how fast, how much, and what is unknown."""

from __future__ import annotations

import asyncio

import pytest

from serve.pages.ask import Answer, Server, ask_all
from tests import conftest


@pytest.fixture(autouse=True)
def own_home() -> None:
    """The shared server has a home of its own."""


def test_the_real_gateway_says_who_answered(server: conftest.Server) -> None:
    version = server.tasks["summary"][0]
    base = server.base.label
    answers = [
        Answer("summary", "live"),
        Answer("summary@v2", "second"),
        Answer(base, "base"),
        Answer("nobody", "none"),
    ]

    async def ask() -> None:
        async for _ in ask_all(Server(f"{server.url}/v1"), "Lunch moves to Friday 12:30, room 4.", answers):
            pass

    asyncio.run(ask())
    live, second, bare, unknown = answers
    assert live.version == version.name and second.version == server.tasks["summary"][1].name
    assert bare.version == f"{base}@base"
    for answer in (live, second, bare):
        assert not answer.fault and answer.first and answer.total and answer.tokens and answer.total >= answer.first
    assert unknown.fault == "fault_unknown" and "nobody" in unknown.detail
    assert asyncio.run(Server(f"{server.url}/v1").up()) and not asyncio.run(Server("http://127.0.0.1:9/v1").up())
