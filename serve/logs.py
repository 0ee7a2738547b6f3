"""The server's log: one JSON object a line, with request ids and without texts, in files that do not grow for ever."""

import json
import logging
import logging.handlers
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from serve.metrics import RequestRecord

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


class _File(logging.handlers.RotatingFileHandler):
    """A file that a full disk does not make noisy: it says so once, and goes on where there is room again."""

    told = False

    def flush(self) -> None:
        super().flush()
        self.told = False

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self.told:
            self.told = True
            why = f"{self.baseFilename}: {error.strerror}; the server goes on without this log"
            print(why, file=sys.stderr, flush=True)


@contextmanager
def open_logs(folder: Path) -> Iterator[None]:
    """Within, `serve.*` is written into folder/server.jsonl, requests into folder/access.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    opened: list[tuple[logging.Logger, _File]] = []
    for name, logger in (("server", logging.getLogger("serve")), ("access", _access)):
        opened.append((logger, _File(folder / f"{name}.jsonl", maxBytes=SIZE, backupCount=FILES)))
        opened[-1][1].setFormatter(_Json())
        logger.addHandler(opened[-1][1])
        logger.setLevel(logging.INFO)
    _access.propagate = False
    try:
        yield
    finally:
        for logger, handler in opened:
            logger.removeHandler(handler)
            with suppress(OSError):  # its last lines, where the disk is full
                handler.close()


def access(request: str, path: str, record: RequestRecord) -> None:
    """One line for one answered request."""
    facts = {**vars(record), "first": round(record.first, 4), "seconds": round(record.seconds, 4)}
    del facts["at"]
    _access.info("%s", path, extra={"facts": {"request": request, **facts}})
