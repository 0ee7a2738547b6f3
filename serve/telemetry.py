"""OpenTelemetry traces, where the environment names a collector (OTEL_EXPORTER_OTLP_ENDPOINT): a span for each request.

The caller's trace is continued and handed on to the engine. A span holds names, counts and times, never a text.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from factory.errors import FactoryError
from serve.metrics import RequestRecord
from serve.replies import Scope

CONFIGURED = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class Traces:
    """The tracer of one server; without a collector it does nothing."""

    def __init__(self) -> None:
        self._tracer: Any = None
        self._provider: Any = None
        if not any(os.environ.get(name) for name in CONFIGURED):
            return
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError:
            raise FactoryError(
                "OTEL_EXPORTER_OTLP_ENDPOINT is set but OpenTelemetry is missing: "
                "pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
            ) from None
        name = os.environ.get("OTEL_SERVICE_NAME", "adapter-factory")
        self._provider = TracerProvider(resource=Resource.create({"service.name": name}))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("serve")

    @contextmanager
    def request(self, scope: Scope, record: RequestRecord, tag: dict[str, str]) -> Iterator[dict[str, str]]:
        """A span around one request, told from `record` at its end; gives the headers for the engine."""
        if self._tracer is None:
            yield {}
            return
        from opentelemetry import propagate
        from opentelemetry.trace import SpanKind

        given = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        name = f"{scope['method']} {scope['path']}"[:100]
        with self._tracer.start_as_current_span(name, propagate.extract(given), kind=SpanKind.SERVER) as span:
            onward: dict[str, str] = {}
            propagate.inject(onward)
            try:
                yield onward
            finally:
                facts = {"task": record.task, "version": record.version, "key": record.key}
                counts = {"prompt_tokens": record.prompt, "completion_tokens": record.completion, "first": record.first}
                span.set_attributes({f"factory.{name}": value for name, value in (facts | counts).items()})
                span.set_attribute("http.response.status_code", record.status)
                span.set_attribute("factory.request_id", tag["x-request-id"])

    def close(self) -> None:
        """Send what is still waiting."""
        if self._provider is not None:
            self._provider.shutdown()
