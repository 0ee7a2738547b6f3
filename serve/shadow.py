"""Shadow traffic: a copy of a task's requests goes to another version, whose answer is recorded and never seen.

The record (`serve/shadow/<task>.jsonl` in the factory's home) holds the conversation and the answer, since comparing is
what it is for; it is written only while someone has asked for a shadow.
"""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import aiohttp

from factory.errors import FactoryError
from factory.home import home
from serve.control import Control
from serve.metrics import Metrics
from serve.replies import Refusal
from serve.routing import Target
from serve.shape import complete

LAST = 10**6  # in the engine, behind all that somebody waits for
MOST = 4  # copies at once; more are dropped, so that a shadow never slows the real answers much


class Shadow:
    """Runs the copies of one server."""

    def __init__(self, control: Control, metrics: Metrics) -> None:
        self.control, self.metrics = control, metrics
        self._running: set[asyncio.Task[None]] = set()

    def copy(self, path: str, asked: dict[str, Any], target: Target) -> None:
        """Send a copy if the target's task has a shadow and `target` is its live version. Returns at once."""
        routes = self.control.routes
        traffic = routes.traffic.get(target.task)
        if not (traffic and traffic.shadow and target.version and target.version.sha == traffic.prod):
            return
        if len(self._running) >= MOST:
            self.metrics.shadows.labels("dropped").inc()
            return
        try:
            other = routes.resolve(f"{target.task}@{traffic.shadow}")
        except Refusal:
            return
        task = asyncio.create_task(self._answer(path, asked, target, other))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _answer(self, path: str, asked: dict[str, Any], target: Target, other: Target) -> None:
        control = self.control
        request = complete({**asked, "stream": False}, other.model, other.version.facts if other.version else None)
        request.pop("stream_options", None)
        request["priority"] = LAST
        control.loading.leases[other.model] += 1
        outcome = "failed"
        try:
            pool = await control.ready(other)
            replica = pool.pick(other.model)
            async with (
                replica.admission.turn(f"{other.task} (shadow)", other.adapter),
                replica.engine.session.post(path, json=pool.harmless(request)) as reply,
            ):
                answer = await reply.json() if reply.status == 200 else None
            if answer:
                record = {
                    "time": datetime.now(UTC).isoformat(timespec="seconds"),
                    "live": target.label,
                    "shadow": other.label,
                    "request": asked,
                    "answer": answer["choices"],
                }
                line = json.dumps(record, ensure_ascii=False) + "\n"
                await asyncio.to_thread(_append, other.task, line)
                outcome = "recorded"
        except (FactoryError, Refusal, aiohttp.ClientError, OSError, TimeoutError):
            outcome = "failed"
        finally:
            control.loading.leases[other.model] -= 1
            self.metrics.shadows.labels(outcome).inc()


def _append(task: str, line: str) -> None:
    path = home("serve", "shadow", f"{task}.jsonl")
    with open(path, "a", encoding="utf-8") as file:
        file.write(line)
