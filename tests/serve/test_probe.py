"""The probe at every load: an adapter that does nothing, not what it did, or something to the base, is refused."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import pytest

from factory import probe
from factory.base.build import Base
from factory.errors import FactoryError
from factory.registry import aliases, store
from serve import remote
from tests.fakes.adapters import promote, register
from tests.fakes.serving import fake_server
from tests.serve.load import children, until
from tests.serve.test_keys_doors import ask, task


@pytest.mark.parametrize(
    ("name", "why"),
    [("does-nothing", "as the base does alone"), ("spoils", "the base itself answers otherwise")],
)
def test_an_adapter_that_does_not_do_what_it_should_is_refused(place: Path, made_up: Base, name: str, why: str) -> None:
    register(made_up, "good", 1)
    register(made_up, name, 2)
    with fake_server(place) as fake:
        assert why in task(name)["why_not"]
        assert ask(fake, model=name).status_code == ask(fake, model=f"{name}@v1").status_code == 404
        assert ask(fake, model="good").status_code == 200
        with pytest.raises(FactoryError, match=why):
            promote(f"{name}@v1")
        assert (remote.state() or {})["engines"][0]["adapters"] == 1


def test_an_adapter_that_a_restarted_engine_forgot_is_refused_and_the_one_before_answers(
    place: Path, made_up: Base
) -> None:
    first, second = register(made_up, "good", 1), register(made_up, "forgets", 2)
    with fake_server(place) as fake:
        assert ask(fake, model="forgets").headers["x-adapter-version"] == second.name
        os.kill(children(fake.process.pid)[0], 9)
        assert until(lambda: ask(fake, model="good").status_code == 200, 30)
        assert ask(fake, model="good").headers["x-adapter-version"] == first.name
        assert "since the engine was restarted" in task("forgets")["why_not"]
        assert ask(fake, model="forgets@v1").status_code == 404
        assert until(lambda: ask(fake, model="forgets").status_code == 404, 10)


def test_an_adapter_that_is_not_as_it_was_made_is_refused(place: Path, made_up: Base) -> None:
    """Some of its modules ignored: it does something, but not what training saw."""
    for name in ("good", "half"):
        register(made_up, name, 1)
    scores = [[-1.0 - 1 - zlib_share(aliases.resolve("good").name)] * 4]
    store.note(aliases.resolve("good"), probe.NOTE, {"logprobs": scores})
    store.note(aliases.resolve("half"), probe.NOTE, {"logprobs": [[-90.0] * 4]})
    with fake_server(place) as fake:
        assert ask(fake, model="good").status_code == 200
        assert "as it did when it was made" in task("half")["why_not"]


def zlib_share(name: str) -> float:
    """How the fake engine scores an adapter's tokens."""
    return zlib.crc32(name.encode()) % 1000 / 100
