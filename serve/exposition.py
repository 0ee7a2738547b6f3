"""`/metrics`: ours and every engine's own, joined into one text that Prometheus reads."""

import asyncio

import aiohttp
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from serve.control import Control
from serve.engine import Engine
from serve.metrics import Metrics


async def exposition(control: Control, metrics: Metrics) -> bytes:
    """The whole text. What an engine that is away would have said is left out."""
    for pool in control.loading.pools.values():
        metrics.ready.labels(pool.name).set(len(pool.ready()))
        metrics.loaded.labels(pool.name).set(len(pool.wanted))
        metrics.restarts.labels(pool.name).set(sum(r.restarts for r in pool.replicas))
    for task, traffic in control.routes.traffic.items():
        metrics.canary.labels(task).set(traffic.share)
        waiting = sum(replica.admission.waiting(task) for _, replica in control.loading.engines())
        metrics.waiting.labels(task).set(waiting)
    engines = {name: replica.engine for name, replica in control.loading.engines() if replica.ready}
    texts = await asyncio.gather(*map(_own, engines.values()))
    held = await asyncio.gather(*(engine.resident() for engine in engines.values()))
    metrics.resident.clear()
    for name, count in zip(engines, held, strict=True):
        if count is not None:
            metrics.resident.labels(name).set(count)
    joined = CollectorRegistry()
    joined.register(_Joined([*zip(engines, texts, strict=True)]))
    return generate_latest(metrics.registry) + generate_latest(joined)


async def _own(engine: Engine) -> str:
    try:
        async with engine.session.get("/metrics", timeout=aiohttp.ClientTimeout(total=5)) as answer:
            return await answer.text() if answer.status == 200 else ""
    except (aiohttp.ClientError, OSError, TimeoutError):
        return ""


class _Joined:
    """Several engines' metrics as one collector; each sample says whose it is in the label `engine`."""

    def __init__(self, texts: list[tuple[str, str]]) -> None:
        self.texts = texts

    def collect(self) -> list[Metric]:
        families: dict[str, Metric] = {}
        for engine, text in self.texts:
            for family in text_string_to_metric_families(text):
                if not family.name.startswith("vllm"):
                    continue
                joined = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    joined.samples.append(sample._replace(labels={**sample.labels, "engine": engine}))
        return list(families.values())
