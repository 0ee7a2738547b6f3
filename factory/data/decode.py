"""Bytes as text, and one row of a file as a record: its keys and values, or the fault that keeps it from having any.

A byte that is none of the encoding becomes a lone surrogate on reading, so that it costs the row it stands in and not
the file; `undecodable` finds it.
"""

import codecs
import io
import json
import re
from dataclasses import dataclass
from typing import IO, Any

from factory.data.rows import clip
from factory.errors import InputError

MAX_LINE = 10_000_000  # characters; a longer line is one dropped row and is never held in memory
SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Record:
    """One row as it lies in the file: `value` by its keys, or a `fault` that says why there is none, and its `text`."""

    file: str
    line: int
    value: dict[str, Any] | None
    fault: str = ""
    text: str = ""


def open_text(raw: IO[bytes], file: str, encoding: str, newline: str) -> io.TextIOWrapper:
    """The bytes as text. A byte that is none of the encoding becomes a lone surrogate, which `undecodable` finds."""
    buffered: Any = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(raw)
    head = buffered.peek(4)[:4]
    found = json.detect_encoding(head)  # by a mark at the beginning, or where zero bytes stand
    if found in ("utf-8-sig", "utf-16", "utf-32") or (not encoding and head.count(0) == 2):
        encoding = found
    try:
        return io.TextIOWrapper(buffered, encoding or "utf-8", errors="factory_escape", newline=newline)
    except LookupError:
        raise InputError(f"unknown encoding {encoding!r}", file=file, key="data.encoding") from None


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error("factory_escape", _escape)


def undecodable(text: str) -> str:
    """Why `text` is not what its encoding can hold, or nothing."""
    if text.isascii() or not (bad := SURROGATE.search(text)):
        return ""
    byte = ord(bad.group()) - 0xDC00
    if 0 <= byte <= 0xFF:
        return f"byte 0x{byte:02X} is not of the file's encoding (another one is declared by data.encoding)"
    return "a lone surrogate is no character"


def printable(text: str) -> str:
    """`text` without the marks of undecodable bytes, short enough to list."""
    text = clip(text)
    return text if text.isascii() else SURROGATE.sub("\ufffd", text)
