"""The server's log: one JSON object a line, with request ids and without texts, in files that do not grow for ever."""

from __future__ import annotations

import json
import logging
import logging.handlers
from datetime import UTC, datetime
from pathlib import Path

from serve.metrics import Done

_access = logging.getLogger("serve.access")
SIZE, FILES = 20 * 2**20, 5


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "from": record.name,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def open_logs(folder: Path) -> list[logging.Handler]:
    """Write `serve.*` into folder/server.jsonl, requests into folder/access.jsonl. Returns the handlers to close."""
    folder.mkdir(parents=True, exist_ok=True)
    handlers: list[logging.Handler] = []
    for name, logger in (("server", logging.getLogger("serve")), ("access", _access)):
        handler = logging.handlers.RotatingFileHandler(folder / f"{name}.jsonl", maxBytes=SIZE, backupCount=FILES)
        handler.setFormatter(_Json())
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        handlers.append(handler)
    _access.propagate = False
    return handlers


def access(request: str, path: str, done: Done) -> None:
    """One line for one answered request."""
    facts = {**vars(done), "first": round(done.first, 4), "seconds": round(done.seconds, 4)}
    del facts["at"]
    _access.info("%s", path, extra={"facts": {"request": request, **facts}})
