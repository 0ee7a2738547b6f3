"""Asking many things at once of an endpoint that misbehaves: nothing lost, nothing paid twice, nothing made up."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fakes.endpoint import FakeEndpoint

from factory.data.endpoint import Ask, Asker, Form, NoAnswer
from factory.errors import FactoryError, InputError
from factory.recipe import Endpoint


class Echo(Form):
    said: str


def asks(n: int) -> list[Ask]:
    return [Ask([{"role": "user", "content": f"say {i}"}], Echo) for i in range(n)]


def echo(form: str, messages: list[dict[str, str]], number: int) -> dict[str, str]:
    return {"said": messages[-1]["content"].removeprefix("say ")}


def asker(fake: FakeEndpoint, **settings: float) -> Asker:
    fields = {"url": fake.url, "model": "teacher", "concurrency": 8, "timeout": 60.0, "price_in": 1, "price_out": 10}
    return Asker(Endpoint.model_validate(fields | settings), pause=0.01)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path))


def test_answers_come_in_order_concurrently_and_are_counted() -> None:
    def slow(form: str, messages: list[dict[str, str]], number: int) -> dict[str, str]:
        time.sleep(0.05)
        return echo(form, messages, number)

    heard: list[int] = []
    with FakeEndpoint(slow) as fake:
        ask = asker(fake)
        found = ask(asks(40), heard.append)
        assert [answer.said for answer in found if isinstance(answer, Echo)] == [str(i) for i in range(40)]
        assert 2 <= fake.busiest <= 8
        assert heard[-1] == 40 and heard == sorted(heard)
        assert ask.usage.as_json() == {
            "asked": 40, "cached": 0, "retried": 0, "failed": 0, "tokens_in": 4000, "tokens_out": 800, "cost": 0.012,
        }  # fmt: skip
        again = asker(fake)
        assert again(asks(40)) == found
        assert fake.requests == 40 and again.usage.cached == 40 and again.usage.cost == 0


@pytest.mark.parametrize(
    "fault", ["429", "500", "stall", "cut", "length", "prose", "form", "empty", "refusal", "hangup", "garbage"]
)
def test_a_fault_that_passes_costs_nothing(fault: str) -> None:
    seen: set[str] = set()

    def once(number: int, key: str) -> str:
        first = key not in seen
        seen.add(key)
        return fault if first else ""

    with FakeEndpoint(echo, once, stall=6) as fake:
        ask = asker(fake, timeout=3) if fault == "stall" else asker(fake)
        assert [a.said for a in ask(asks(6)) if isinstance(a, Echo)] == [str(i) for i in range(6)]
        assert ask.usage.retried >= 6 and ask.usage.failed == 0  # more where a busy machine is late by itself


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("500", "status 500"),
        ("cut", "the answer lacks its form"),
        ("prose", "the answer lacks its form"),
        ("form", "the answer lacks its form"),
        ("length", "the answer was cut off"),
        ("empty", "the answer is empty"),
        ("refusal", "refused: I would rather not"),
    ],
)
def test_a_fault_that_stays_is_a_failure_and_nothing_else(fault: str, why: str) -> None:
    with FakeEndpoint(echo, lambda i, key: fault if '"say 3"' in key else "") as fake:
        ask = asker(fake)
        found = ask(asks(6))
        assert isinstance(found[3], NoAnswer) and found[3].why.startswith(why)
        assert [a.said for a in found if isinstance(a, Echo)] == ["0", "1", "2", "4", "5"]
        assert ask.usage.failed == 1
        fake.faults = lambda i, key: ""
        before = fake.requests
        assert isinstance(asker(fake)(asks(6))[3], Echo) and fake.requests == before + 1


def test_a_storm_of_everything_ends_with_every_answer_once() -> None:
    kinds = ["429", "500", "cut", "hangup", "prose", "", "", ""]

    def storm(number: int, key: str) -> str:
        return kinds[hashlib.sha256(f"{number}".encode()).digest()[0] % len(kinds)]

    with FakeEndpoint(echo, storm) as fake:
        for _ in range(5):
            found = asker(fake)(asks(120))
        assert [a.said for a in found if isinstance(a, Echo)] == [str(i) for i in range(120)]
        assert set(fake.asked.values()) == {1}


def test_an_endpoint_that_is_not_there_stops_with_one_line() -> None:
    ask = Asker(Endpoint(url="http://127.0.0.1:9/v1", model="teacher", concurrency=4), pause=0.001)
    with pytest.raises(
        FactoryError, match=r"4 questions in a row without an answer \(the endpoint cannot be reached\)"
    ):
        ask(asks(50))


def test_a_refused_key_stops_at_once_and_a_missing_one_before() -> None:
    with FakeEndpoint(echo, lambda i, key: "401") as fake, pytest.raises(FactoryError, match="status 401, on purpose"):
        asker(fake)(asks(3))
    with pytest.raises(InputError, match="the environment variable NO_SUCH_KEY is not set"):
        Asker(Endpoint(url="http://127.0.0.1:9/v1", model="m", key_env="NO_SUCH_KEY"))(asks(1))


def test_an_unfinished_line_on_disk_is_cut_off(tmp_path: Path) -> None:
    with FakeEndpoint(echo) as fake:
        ask = asker(fake)
        ask(asks(3))
        data = ask.path.read_bytes()
        ask.path.write_bytes(data[:-10])
        again = asker(fake)
        assert len(again.known) == 2
        again(asks(3))
        assert fake.requests == 4 and ask.path.read_bytes() == data


KILLED = """
import sys
from factory.data.endpoint import Ask, Asker, Form
from factory.recipe import Endpoint

class Echo(Form):
    said: str

asks = [Ask([{"role": "user", "content": f"say {i}"}], Echo) for i in range(60)]
Asker(Endpoint(url=sys.argv[1], model="teacher", concurrency=2), pause=0.01)(asks, lambda n: print(n, flush=True))
"""


def test_a_killed_run_goes_on_without_paying_twice() -> None:
    def slow(form: str, messages: list[dict[str, str]], number: int) -> dict[str, str]:
        time.sleep(0.02)
        return echo(form, messages, number)

    with FakeEndpoint(slow) as fake:
        process = subprocess.Popen([sys.executable, "-c", KILLED, fake.url], stdout=subprocess.PIPE, env=os.environ)
        assert process.stdout is not None
        while int(process.stdout.readline()) < 20:
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        known = len(asker(fake).known)
        assert 20 <= known < 60
        again = asker(fake)
        assert [a.said for a in again(asks(60)) if isinstance(a, Echo)] == [str(i) for i in range(60)]
        assert (again.usage.cached, again.usage.asked) == (known, 60 - known)
        assert sum(fake.asked.values()) <= 62  # only the two that were on their way were asked twice
