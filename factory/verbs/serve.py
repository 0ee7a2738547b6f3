"""`factory serve`: all promoted versions behind one OpenAI-compatible address."""

from __future__ import annotations

from typing import Any

from factory.errors import InputError
from serve import server


def serve(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Serve until Ctrl-C or SIGTERM."""
    try:
        port = int(arguments.get("port", "8000"))
    except ValueError:
        raise InputError(f"port={arguments['port']}: must be a number") from None
    server.serve(server.Options(arguments.get("host", "127.0.0.1"), port, arguments.get("base", "")))
    return {"stopped": True}
