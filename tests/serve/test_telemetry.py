"""Traces reach a collector, continue the caller's trace and hold no text."""

from __future__ import annotations

import http.server
import threading
from pathlib import Path

import httpx
import pytest

from factory.base.build import Base
from tests.fakes.adapters import register
from tests.fakes.serving import fake_server

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")


def test_a_request_becomes_a_span(place: Path, made_up: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[bytes] = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words: object) -> None: ...

    collector = http.server.HTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    register(made_up, "summary", 1)
    with fake_server(place) as running:
        body = {"model": "summary", "messages": [{"role": "user", "content": "a secret"}]}
        trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
        assert httpx.post(f"{running.url}/v1/chat/completions", json=body, headers=trace).status_code == 200
    collector.shutdown()
    collector.server_close()
    told = b"".join(received)
    assert b"POST /v1/chat/completions" in told and b"factory.version" in told
    assert bytes.fromhex("0af7651916cd43dd8448eb211c80319c") in told
    assert b"a secret" not in told
