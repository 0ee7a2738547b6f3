"""Connections that cost too much are closed: headers that do not come, or never end, and too many at once.

uvicorn times nothing until the first request is whole; a client that sends a byte a minute (slow loris) would hold its
connection for ever. The body has its own limits in `replies.read_body`, a reader that never reads the kernel's
(TCP_USER_TIMEOUT, set on the listener).
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_LIMIT = 10.0  # seconds until a request's headers must be there
MAX_HEADERS = 2**16  # bytes
MAX_CONNECTIONS = 4096


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol with these limits."""

    _timer: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _in_headers = True

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._arm()
        if len(self.connections) > MAX_CONNECTIONS:
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_headers:
            self._header_bytes += len(data)
            if self._header_bytes > MAX_HEADERS:
                self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._arm()

    def on_headers_complete(self) -> None:
        self._disarm()
        super().on_headers_complete()

    def _arm(self) -> None:
        self._disarm()
        self._in_headers, self._header_bytes = True, 0
        self._timer = self.loop.call_later(HEADER_LIMIT, self.transport.close)

    def _disarm(self) -> None:
        self._in_headers = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
