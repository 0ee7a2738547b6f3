"""Who may enter an engine next: fair between tasks, kind to adapters, and bounded in length and time.

An engine answers `limit` requests at once and batches over at most `slots` different adapters. Beyond that vLLM serves
first whoever's adapter is loaded already, so that one busy adapter starves all that wait for its slot. Here the task
with the fewest requests in the engine goes first, first come first served within a task, and when a task has waited
for a slot for `TURN` seconds, the adapter with the fewest running requests is let run out and gives its slot up.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from serve.replies import Refusal

TURN = 0.25  # seconds
MAX_WAITING = 512  # requests of one task
DEADLINE = 60.0  # seconds a request waits at most


@dataclass
class _Waiter:
    task: str
    model: str
    since: float
    turn: asyncio.Future[None]


class Admission:
    """The door of one engine."""

    def __init__(self, limit: int, slots: int) -> None:
        self.limit, self.slots = limit, slots
        self.models: Counter[str] = Counter()  # running requests by adapter
        self.tasks: Counter[str] = Counter()  # running requests by task
        self.queues: dict[str, deque[_Waiter]] = {}
        self.closed: set[str] = set()  # adapters that are let run out
        self.running = 0

    def waiting(self) -> int:
        return sum(map(len, self.queues.values()))

    @asynccontextmanager
    async def turn(self, task: str, model: str) -> AsyncIterator[None]:
        """Wait for a place, and give it back afterwards. Refusal 503 if too many wait already, or for too long."""
        if self.queues or not self._may(model):
            await self._wait(task, model)
        else:
            self._enter(task, model)
        try:
            yield
        finally:
            self._leave(task, model)

    def fail(self, why: Refusal) -> None:
        """Send all that wait away: the engine is gone."""
        for queue in self.queues.values():
            for waiter in queue:
                if not waiter.turn.done():
                    waiter.turn.set_exception(why)
        self.queues.clear()

    async def _wait(self, task: str, model: str) -> None:
        queue = self.queues.setdefault(task, deque())
        if len(queue) >= MAX_WAITING:
            raise Refusal(503, f"too many requests wait for {task} already", code="queue_full", retry_after=5)
        loop = asyncio.get_running_loop()
        waiter = _Waiter(task, model, time.monotonic(), loop.create_future())
        queue.append(waiter)
        self._admit()
        timer = loop.call_later(TURN + 0.01, self._admit)
        try:
            async with asyncio.timeout(DEADLINE):
                await waiter.turn
        except BaseException as error:
            if waiter.turn.done() and not waiter.turn.cancelled() and not waiter.turn.exception():
                self._leave(task, model)  # it came just when we gave up
            elif waiter in self.queues.get(task, ()):
                self.queues[task].remove(waiter)
                self._forget_empty(task)
            if isinstance(error, TimeoutError):
                why = f"{task} is busy: the request waited {DEADLINE:.0f} s"
                raise Refusal(503, why, code="queue_timeout", retry_after=5) from None
            raise
        finally:
            timer.cancel()

    def _may(self, model: str) -> bool:
        free_slot = model in self.models or len(self.models) < self.slots
        return self.running < self.limit and free_slot and model not in self.closed

    def _enter(self, task: str, model: str) -> None:
        self.running += 1
        self.tasks[task] += 1
        self.models[model] += 1

    def _leave(self, task: str, model: str) -> None:
        self.running -= 1
        for counter, key in ((self.tasks, task), (self.models, model)):
            counter[key] -= 1
            if not counter[key]:
                del counter[key]
        if model not in self.models:
            self.closed.discard(model)
        self._admit()

    def _admit(self) -> None:
        """Let in whoever's turn it is, until nobody may."""
        self._make_room()
        while self.queues and self.running < self.limit:
            heads = sorted((queue[0] for queue in self.queues.values()), key=lambda w: (self.tasks[w.task], w.since))
            waiter = next((head for head in heads if self._may(head.model)), None)
            if waiter is None:
                return
            self.queues[waiter.task].popleft()
            self._forget_empty(waiter.task)
            if not waiter.turn.done():
                self._enter(waiter.task, waiter.model)
                waiter.turn.set_result(None)

    def _make_room(self) -> None:
        """Close one adapter for each one that has waited its TURN for a slot."""
        heads = [queue[0] for queue in self.queues.values()] if len(self.models) >= self.slots else []
        starved = {h.model for h in heads if h.model not in self.models and time.monotonic() - h.since >= TURN}
        for model, _ in sorted(self.models.items(), key=lambda item: item[1]):
            if len(self.closed) >= len(starved):
                return
            self.closed.add(model)

    def _forget_empty(self, task: str) -> None:
        if not self.queues[task]:
            del self.queues[task]
