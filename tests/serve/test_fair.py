"""The door of an engine: fair between tasks, no adapter starves, bounded, and nothing is lost on the way out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve import fair
from serve.fair import Admission
from serve.replies import Refusal


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(fair, "TURN", 0.02)
    monkeypatch.setattr(fair, "DEADLINE", 2.0)
    yield


async def work(door: Admission, task: str, model: str, order: list[str], seconds: float = 0.005) -> None:
    async with door.turn(task, model):
        order.append(task)
        await asyncio.sleep(seconds)


def test_a_noisy_task_does_not_hold_up_a_quiet_one() -> None:
    async def main() -> list[str]:
        door, order = Admission(limit=4, slots=8), []  # type: ignore[var-annotated]
        noisy = [asyncio.create_task(work(door, "noisy", "noisy", order)) for _ in range(100)]
        await asyncio.sleep(0.001)
        quiet = [asyncio.create_task(work(door, "quiet", "quiet", order)) for _ in range(5)]
        await asyncio.gather(*noisy, *quiet)
        assert door.running == 0 and not door.queues and not door.models
        return order

    order = asyncio.run(main())
    assert len(order) == 105
    assert max(i for i, task in enumerate(order) if task == "quiet") < 25


def test_no_adapter_starves_behind_busy_slots() -> None:
    """Two adapters keep both slots busy without end; the third gets one all the same."""

    async def main() -> None:
        door, stop = Admission(limit=8, slots=2), asyncio.Event()

        async def busy(model: str) -> None:
            while not stop.is_set():
                await work(door, model, model, [], 0.01)

        clients = [asyncio.create_task(busy(model)) for model in ("a", "b") for _ in range(6)]
        await asyncio.sleep(0.05)
        await asyncio.wait_for(work(door, "c", "c", []), 1)
        stop.set()
        await asyncio.gather(*clients)
        assert door.running == 0 and not door.closed

    asyncio.run(main())


def test_many_adapters_of_one_task_all_get_their_turn() -> None:
    async def main() -> None:
        door = Admission(limit=16, slots=4)
        order: list[str] = []
        await asyncio.gather(*(work(door, "summary", f"summary@{n % 50}", order) for n in range(200)))
        assert len(order) == 200 and door.running == 0 and not door.queues

    asyncio.run(main())


def test_waiting_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair, "DEADLINE", 0.05)
    monkeypatch.setattr(fair, "MAX_WAITING", 2)

    async def main() -> list[str]:
        door = Admission(limit=1, slots=1)

        async def one() -> str:
            try:
                await work(door, "t", "m", [], 0.3)
                return "done"
            except Refusal as refusal:
                return str(refusal.code)

        outcomes = await asyncio.gather(*(one() for _ in range(4)))
        assert door.running == 0 and not door.queues
        return sorted(outcomes)

    assert asyncio.run(main()) == ["done", "queue_full", "queue_timeout", "queue_timeout"]


def test_an_engine_that_goes_sends_everybody_away() -> None:
    async def main() -> None:
        door = Admission(limit=1, slots=1)
        tasks = [asyncio.create_task(work(door, "t", "m", [], 0.05)) for _ in range(5)]
        await asyncio.sleep(0.01)
        door.fail(Refusal(503, "gone"))
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(o, Refusal) for o in outcomes] == [False, True, True, True, True]
        assert door.running == 0 and not door.queues

    asyncio.run(main())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.booleans()), max_size=60), st.integers(1, 5))
def test_the_books_balance_whoever_leaves_early(requests: list[tuple[int, int, bool]], limit: int) -> None:
    """Some callers hang up while they wait or run; in the end nobody runs, nobody waits, and no limit was passed."""

    async def main() -> None:
        door = Admission(limit=limit, slots=2)

        async def one(task: int, model: int) -> None:
            async with door.turn(str(task), str(model)):
                assert door.running <= limit and len(door.models) <= 2
                await asyncio.sleep(0)

        tasks: list[asyncio.Task[Any]] = []
        for task, model, leaves in requests:
            tasks.append(asyncio.create_task(one(task, model)))
            if leaves:
                await asyncio.sleep(0)
                tasks[-1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (
            door.running == 0
            and not door.queues
            and not door.models
            and not door.held
            and not door.adapters
            and not door.closed
        )

    asyncio.run(main())


def test_one_task_never_holds_all_slots_and_one_key_never_all_places() -> None:
    """Eight long streams on eight versions of a task: the next task has a slot at once, and so have two more."""

    async def main() -> None:
        door, stop = Admission(limit=32, slots=8), asyncio.Event()

        async def long(task: str, model: str, key: str = "", places: int = 1) -> None:
            async with door.turn(task, model, key, places):
                await stop.wait()

        greedy = [asyncio.create_task(long("greedy", f"greedy@{n}", "k1")) for n in range(8)]
        await asyncio.sleep(0.01)
        assert len(door.models) == 4 and door.waiting("greedy") == 4
        others = [asyncio.create_task(long(task, task, key)) for task, key in (("a", "k2"), ("b", "k3"), ("c", "k2"))]
        await asyncio.sleep(0.01)
        assert {"a", "b", "c"} <= set(door.models)
        wide = [asyncio.create_task(long("greedy", "greedy@0", "k1", 4)) for _ in range(8)]
        await asyncio.sleep(0.01)
        assert door.held["k1", ""] <= 24 and door.limit - door.running >= 1
        async with door.turn("d", "", "k2"):  # the base needs no slot
            assert len(door.models) == 7
        stop.set()
        await asyncio.gather(*greedy, *others, *wide)
        assert door.running == 0 and not door.held and not door.adapters

    asyncio.run(main())


def test_the_base_takes_no_adapters_slot() -> None:
    async def main() -> None:
        door = Admission(limit=8, slots=1)
        async with door.turn("base"), door.turn("t", "m"):
            assert set(door.models) == {"m"} and door.running == 2

    asyncio.run(main())


def test_an_adapter_closed_for_one_that_left_opens_again() -> None:
    async def main() -> None:
        door, stop = Admission(limit=8, slots=1), asyncio.Event()

        async def long() -> None:
            async with door.turn("a", "a"):
                await stop.wait()

        running = asyncio.create_task(long())
        await asyncio.sleep(0.001)
        waiter = asyncio.create_task(work(door, "b", "b", []))
        await asyncio.sleep(0.05)
        assert door.closed == {"a"}
        waiter.cancel()
        await asyncio.sleep(0.001)
        await asyncio.wait_for(work(door, "a", "a", []), 0.5)
        stop.set()
        await running

    asyncio.run(main())


def test_long_prompts_are_read_one_at_a_time_and_who_holds_much_comes_later() -> None:
    async def main() -> None:
        door, stop, points = Admission(limit=32, slots=8, long=1), asyncio.Event(), {}

        async def one(name: str, key: str, long: bool = False) -> None:
            async with door.turn("task", "model", key, long=long) as points[name]:
                await stop.wait()

        work = [asyncio.create_task(one(f"long{n}", "k1", True)) for n in range(3)]
        work += [asyncio.create_task(one(f"short{n}", "k2")) for n in range(3)]
        work.append(asyncio.create_task(one("first", "k3")))
        await asyncio.sleep(0.01)
        assert points == {"long0": 1, "short0": 1, "short1": 2, "short2": 3, "first": 1}
        stop.set()
        await asyncio.gather(*work)
        assert len(points) == 7 and door.long == door.running == 0

    asyncio.run(main())
