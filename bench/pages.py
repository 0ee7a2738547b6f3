"""How quick the rater page stays with many people on it: every key is a save, and the save has to be quick.

Thirty raters sign in and work at once, each in a thread of this process with its own connection, against the page in
a process of its own; a key is pressed every `PAUSE` seconds. What is measured is the time from the key to the server's
word that it is saved: what a rater waits for before "Saved" appears. The page itself answers the key at once.
"""

import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from bench.measure import own_home
from evals import answers, ratings, tables
from evals import rubric as rubrics
from evals.slots import Plan
from factory.data.rows import Row
from factory.errors import FactoryError
from factory.home import project
from serve.pages.auth import Users

SESSIONS = 30
ITEMS = 6  # that each session finishes
PAUSE = 0.5  # seconds between two keys of one person
PASSWORD = "bench-password"
SERVER = """
from serve import rater
rater.run("", "127.0.0.1", 0, lambda address: print(address, flush=True))
"""


def run(sessions: int = SESSIONS, items: int = ITEMS) -> dict[str, Any]:
    """Seconds from a key to its save, over all keys of all sessions. Nothing of it touches the project's own home."""
    with own_home() as folder:
        _fill(folder, sessions, items)
        with _server() as address:
            return _measure(address, sessions, items)


def _fill(folder: Path, sessions: int, items: int) -> None:
    """Users, qualifications, and as many items as will be graded."""
    engine = tables.open_database(f"sqlite:///{folder}/ratings.db")
    rubric = rubrics.load("summary")
    users = Users()
    for number in range(sessions):
        users.add(f"rater{number}", PASSWORD, "rater")
        ratings.qualify(engine, f"rater{number}", rubric, True, {"passed": True, "dimensions": {}})
    many = sessions * (items + 1)  # whoever submits is given the next item at once
    rows = [Row(({"role": "user", "content": f"Message {i}. " * 30},)) for i in range(many)]
    outputs = answers.record(engine, "bench", "bench@v1", rows, [f"Summary {i}." for i in range(len(rows))])
    ratings.open_batch(engine, "bench", rubric, outputs, Plan(overlap=0, gold=0, repeats=0))


@contextlib.contextmanager
def _server() -> Iterator[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(command, env=environment, cwd=project(), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if not (address := process.stdout.readline().strip()):
                raise FactoryError("the rater page did not start")
            yield address
        finally:
            process.terminate()


def _measure(address: str, sessions: int, items: int) -> dict[str, Any]:
    keys: list[float] = []
    submits: list[float] = []
    began = time.monotonic()
    with ThreadPoolExecutor(sessions) as pool:
        starts = ((number, number / sessions * PAUSE) for number in range(sessions))
        works = [pool.submit(_rater, address, f"rater{n}", items, wait, keys, submits) for n, wait in starts]
    for work in works:
        work.result()
    spread = statistics.quantiles(keys, n=20)
    return {
        "sessions": sessions,
        "keys": len(keys),
        "key_ms": {"median": _ms(statistics.median(keys)), "p95": _ms(spread[18]), "max": _ms(max(keys))},
        "submit_ms": {"median": _ms(statistics.median(submits)), "max": _ms(max(submits))},
        "finished": len(submits),
        "seconds": round(time.monotonic() - began, 1),
        "cores": os.cpu_count(),
    }


def _rater(address: str, name: str, items: int, wait: float, keys: list[float], submits: list[float]) -> None:
    """One person: sign in, then a key every PAUSE seconds, and Enter after the last dimension."""
    with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
        _checked(client.post("/login", data={"name": name, "password": PASSWORD}), 303)
        place = _checked(client.get("/api/place")).json()
        time.sleep(wait)
        for _ in range(items):
            draft: dict[str, Any] = {}
            step = {"work": place["work"], "id": place["item"]["id"]}
            for dimension in place["rubric"]["dimensions"]:
                draft[dimension["name"]] = {"level": dimension["levels"][-1]["name"]}
                time.sleep(PAUSE)
                began = time.monotonic()
                _checked(client.post("/api/act", json={"do": "draft", **step, "draft": draft}))
                keys.append(time.monotonic() - began)
            time.sleep(PAUSE)
            began = time.monotonic()
            place = _checked(client.post("/api/act", json={"do": "submit", **step, "draft": draft})).json()
            submits.append(time.monotonic() - began)


def _checked(reply: httpx.Response, status: int = 200) -> httpx.Response:
    if reply.status_code != status:
        raise FactoryError(f"{reply.request.url.path} answered {reply.status_code}: {reply.text[:200]}")
    return reply


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 1)
