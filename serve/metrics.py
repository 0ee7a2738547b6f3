"""Counters and times of the server, for Prometheus and for `factory top`. Labels come from the registry alone.

A label's value is never a text that a caller wrote: requests for what does not exist count under `unknown`.
"""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
HUNG_UP = 499  # the status of a request whose caller left; what was generated until then is counted
WINDOW = 30.0  # seconds that `recent` looks back


@dataclass
class RequestRecord:
    """One request: filled in while it runs, counted when it ends. Seconds; `first` is known only of streams."""

    task: str = "unknown"
    version: str = ""
    key: str = ""
    status: int = 500
    prompt: int = 0
    completion: int = 0
    first: float = 0.0
    seconds: float = 0.0
    at: float = field(default_factory=time.monotonic)

    def each(self) -> float | None:
        """Seconds between two tokens, or None if that was not measured."""
        return (self.seconds - self.first) / (self.completion - 1) if self.first and self.completion > 1 else None


class Metrics:
    """All metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        which = ("task", "version")
        own: Any = {"namespace": "factory", "registry": self.registry}
        self.requests = Counter("requests", "answered requests by status", (*which, "status"), **own)
        self.tokens = Counter("tokens", "tokens read (prompt) and written (completion)", (*which, "kind"), **own)
        times: Any = {"buckets": SECONDS, **own}
        self.first = Histogram("first_token_seconds", "from the request to its first token", which, **times)
        self.each = Histogram("token_seconds", "between two tokens", which, buckets=TOKEN_SECONDS, **own)
        self.in_flight = Gauge("in_flight", "requests that run now", which, **own)
        self.waiting = Gauge("waiting", "requests that wait for an engine", ("task",), **own)
        self.canary = Gauge("canary_share", "share of prod's requests that the canary answers", ("task",), **own)
        self.load_seconds = Histogram("load_seconds", "from preflight to loaded", (), **times)
        self.promote_seconds = Histogram("promote_seconds", "from the order to the swap", (), **times)
        self.rejects = Counter("rejects", "what was refused, by why", ("why",), **own)
        self.loaded = Gauge("loaded_adapters", "adapters that answer at once", ("base",), **own)
        self.resident = Gauge("resident_adapters", "those that an engine holds in memory", ("engine",), **own)
        self.ready = Gauge("engines_ready", "engines that answer", ("base",), **own)
        self.restarts = Gauge("engine_restarts", "engines started again", ("base",), **own)
        recorded = "answers that were only recorded, or dropped under load"
        self.shadows = Counter("shadow_answers", recorded, ("outcome",), **own)
        self.recent: dict[str, deque[RequestRecord]] = {}

    def count(self, record: RequestRecord) -> None:
        """Count one answered request."""
        which = (record.task, record.version)
        self.requests.labels(*which, str(record.status)).inc()
        if record.status in (200, HUNG_UP):
            self.tokens.labels(*which, "prompt").inc(record.prompt)
            self.tokens.labels(*which, "completion").inc(record.completion)
        if record.status == 200:
            if record.first:
                self.first.labels(*which).observe(record.first)
            if (each := record.each()) is not None:
                self.each.labels(*which).observe(each)
        self.recent.setdefault(record.task, deque(maxlen=512)).append(record)

    def summary(self, task: str) -> dict[str, float | None]:
        """Requests per second and medians (seconds) of the last WINDOW seconds."""
        since = time.monotonic() - WINDOW
        lately = [d for d in self.recent.get(task, ()) if d.at >= since]
        fine = [d for d in lately if d.status == 200 and d.first]
        return {
            "per_second": len(lately) / WINDOW,
            "errors": float(sum(d.status >= 400 for d in lately)),
            "first": _median([d.first for d in fine]),
            "each": _median([each for d in fine if (each := d.each()) is not None]),
        }


def _median(values: list[float]) -> float | None:
    return sorted(values)[len(values) // 2] if values else None
