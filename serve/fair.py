"""Who may enter an engine next: fair between keys and tasks, kind to adapters, and bounded in length and time.

An engine answers `limit` sequences at once and batches over at most `slots` different adapters. Nothing that runs can
be taken back, so whoever came first could hold it all for as long as the longest answers take. Therefore a key, and a
task under a key, may take more only while they hold less than a multiple of what is still free (the dynamic thresholds
of shared-memory switches: Choudhury and Hahne, IEEE/ACM Transactions on Networking 6(2), 1998). Alone one gets most,
and there is always room left for those who come later.

Among those that wait, the key and then the task with the fewest sequences in the engine goes first, first come first
served within a task. Within the engine it is the same: who enters gets as many points as its key (or, without keys, its
task) holds places, and the engine reads and keeps what has fewer first. On a CPU, where reading a long prompt takes as
long as many answers, only so many are read at once (`long`). When an adapter has waited for a slot for `TURN` seconds,
one of whoever holds most is let run out. The base itself needs no slot.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from serve.replies import Refusal

TURN = 0.25  # seconds
MAX_WAITING = 512  # requests of one task under one key
DEADLINE = 60.0  # seconds a request waits at most
PLACES = 3  # times the free places that one key, or one of its tasks, may hold: three quarters if nobody else is there
TASK_SLOTS, KEY_SLOTS = 1, 2  # the same for slots: half of them for the versions of a task, two thirds for a key

Owner = tuple[str, str]  # a key and a task; (key, "") is the key with all its tasks


@dataclass(eq=False)
class _Entry:
    """A request that waits or runs. `model` is empty for the base."""

    owner: Owner
    model: str
    places: int
    long: bool
    since: float
    turn: asyncio.Future[None]


class Admission:
    """The queue of one engine: `limit` answers, `slots` adapters and `long` long prompts (0: any number) at once."""

    def __init__(self, limit: int, slots: int, long: int = 0) -> None:
        self.limit, self.slots, self.most_long, self.long = limit, slots, long, 0
        self.models: Counter[str] = Counter()  # running requests by adapter
        self.held: Counter[Owner] = Counter()  # places taken, by task under a key and by key
        self.adapters: Counter[tuple[Owner, str]] = Counter()  # running requests by owner and adapter
        self.queues: dict[Owner, deque[_Entry]] = {}
        self.closed: set[str] = set()  # adapters that are let run out
        self.running = 0

    def waiting(self, task: str = "") -> int:
        """Requests that wait, of all tasks or of one."""
        return sum(len(queue) for (_, name), queue in self.queues.items() if task in ("", name))

    def places(self, task: str) -> int:
        """Places that a task holds, whoever asked."""
        return sum(count for (_, name), count in self.held.items() if name == task)

    @asynccontextmanager
    async def turn(
        self, task: str, model: str = "", key: str = "", places: int = 1, long: bool = False
    ) -> AsyncIterator[int]:
        """Wait for a slot for the adapter `model` and for `places`, and give them back afterwards. Gives the places
        that are held by then: the engine should do first what has fewer.

        Refusal 503 if too many wait already, or for too long.
        """
        future = asyncio.get_running_loop().create_future()
        entry = _Entry((key, task), model, min(places, self.limit), long, time.monotonic(), future)
        if self.queues or not self._may(entry):
            await self._wait(entry)
        else:
            self._enter(entry)
        try:
            yield self.held[_owners(entry)[-1]]
        finally:
            self._leave(entry)

    def fail(self, why: Refusal) -> None:
        """Send all that wait away: the engine is gone."""
        for queue in self.queues.values():
            for entry in queue:
                if not entry.turn.done():
                    entry.turn.set_exception(why)
        self.queues.clear()

    async def _wait(self, entry: _Entry) -> None:
        queue, task = self.queues.setdefault(entry.owner, deque()), entry.owner[1]
        if len(queue) >= MAX_WAITING:
            raise Refusal(503, f"too many requests wait for {task} already", code="queue_full", retry_after=5)
        queue.append(entry)
        self._admit()
        timer = asyncio.get_running_loop().call_later(TURN + 0.01, self._admit)
        try:
            async with asyncio.timeout(DEADLINE):
                await entry.turn
        except BaseException as error:
            if entry.turn.done() and not entry.turn.cancelled() and not entry.turn.exception():
                self._leave(entry)  # it came just when we gave up
            elif entry in self.queues.get(entry.owner, ()):
                self.queues[entry.owner].remove(entry)
                self._forget_empty(entry.owner)
                self._admit()  # what was closed for this one opens again
            if isinstance(error, TimeoutError):
                why = f"{task} is busy: the request waited {DEADLINE:.0f} s"
                raise Refusal(503, why, code="queue_timeout", retry_after=5) from None
            raise
        finally:
            timer.cancel()

    def _may(self, entry: _Entry) -> bool:
        free = self.limit - self.running
        if entry.places > free or any(self.held[owner] >= PLACES * free for owner in _owners(entry)):
            return False
        if entry.long and self.most_long and self.long >= self.most_long:
            return False
        return not entry.model or (entry.model not in self.closed and self._slot(entry))

    def _slot(self, entry: _Entry) -> bool:
        """Whether the adapter has a slot already, or its owner may take one more."""
        if entry.model in self.models:
            return True
        free = self.slots - len(self.models)
        return all(self._slots(o) < (TASK_SLOTS if o[1] else KEY_SLOTS) * free for o in _owners(entry))

    def _slots(self, owner: Owner) -> int:
        return len({model for of, model in self.adapters if of == owner})

    def _enter(self, entry: _Entry) -> None:
        self.running += entry.places
        self.long += entry.long
        for owner in _owners(entry):
            self.held[owner] += entry.places
            if entry.model:
                self.adapters[owner, entry.model] += 1
        if entry.model:
            self.models[entry.model] += 1

    def _leave(self, entry: _Entry) -> None:
        self.running -= entry.places
        self.long -= entry.long
        for owner in _owners(entry):
            self.held[owner] -= entry.places
            if entry.model:
                self.adapters[owner, entry.model] -= 1
        if entry.model:
            self.models[entry.model] -= 1
        self.held, self.adapters, self.models = +self.held, +self.adapters, +self.models
        self._admit()

    def _admit(self) -> None:
        """Let in whoever's turn it is, until nobody may."""
        self._make_room()
        while self.queues and self.running < self.limit:
            heads = sorted((queue[0] for queue in self.queues.values()), key=self._order)
            entry = next((head for head in heads if self._may(head)), None)
            if entry is None:
                return
            self.queues[entry.owner].popleft()
            self._forget_empty(entry.owner)
            if not entry.turn.done():
                self._enter(entry)
                entry.turn.set_result(None)

    def _order(self, entry: _Entry) -> tuple[int, int, float]:
        return self.held[entry.owner[0], ""], self.held[entry.owner], entry.since

    def _make_room(self) -> None:
        """Let one adapter run out for each that has waited its TURN for a slot; open those that nobody waits for."""
        heads = [queue[0] for queue in self.queues.values()] if len(self.models) >= self.slots else []
        starved = {
            h.model for h in heads if h.model and h.model not in self.models and time.monotonic() - h.since >= TURN
        }
        self.closed &= self.models.keys()
        while len(self.closed) > len(starved):
            self.closed.pop()
        if len(self.closed) < len(starved):
            most = {m: max(self._slots(owner) for owner, of in self.adapters if of == m) for m in self.models}
            for model in sorted(self.models, key=lambda m: (-most[m], self.models[m])):
                if len(self.closed) >= len(starved):
                    return
                self.closed.add(model)

    def _forget_empty(self, owner: Owner) -> None:
        if not self.queues[owner]:
            del self.queues[owner]


def _owners(entry: _Entry) -> list[Owner]:
    """Whose shares an entry counts against. Where there are no keys, nobody's but the task's."""
    key, task = entry.owner
    return [(key, task), (key, "")] if key else [(key, task)]
