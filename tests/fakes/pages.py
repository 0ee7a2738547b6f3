"""The web application of a page, served by its own server for as long as a test needs it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from factory.listening import address, listen
from serve.pages.app import config


@contextlib.contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """Serve on a free loopback port while the block runs; gives the address."""
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(config(app))
    thread = threading.Thread(target=asyncio.run, args=(server.serve([listener]),), daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the pages did not start"
            time.sleep(0.01)
        yield address(listener)
    finally:
        server.should_exit = True
        thread.join()
