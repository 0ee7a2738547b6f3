"""JSON by its grammar (RFC 8259), as documents and line by line.

NaN, comments and trailing commas are refused, which the standard library does not do by itself; numbers beyond a
double's range are taken and keep their digits.
"""

import io
import json
import math
import re
from collections.abc import Iterator
from json import JSONDecodeError
from typing import IO, Any

from factory.data.decode import MAX_LINE, SURROGATE, Record, open_text, printable, undecodable
from factory.data.values import named
from factory.errors import InputError

_BLANK = re.compile(r"[ \t\r\n]*")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def _record(file: str, line: int, text: str, value: Any) -> Record:
    """A parsed JSON value as a record, once its text and its strings are whole."""
    fault = undecodable(text)
    if not fault and not isinstance(value, dict):
        fault = f"is {named(value)}, not an object"
    if not fault and len(text) > MAX_LINE:
        fault = f"is longer than {MAX_LINE:,} characters"
    if not fault and _ESCAPED_SURROGATE.search(text):
        try:
            fault = (
                "a lone surrogate is no character" if SURROGATE.search(json.dumps(value, ensure_ascii=False)) else ""
            )
        except RecursionError:
            fault = "is nested too deeply to be a row"
    return Record(file, line, None if fault else value, fault, printable(text))


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_JSON = json.JSONDecoder(
    parse_constant=_constant,
    parse_float=lambda digits: digits if math.isinf(value := float(digits)) else value,
    parse_int=lambda digits: int(digits) if len(digits) < 4000 else digits,  # int() itself refuses more
)


def _parse(text: str, at: int = 0) -> tuple[Any, int]:
    """The JSON value that begins at `at`, and where it ends. JSONDecodeError: why it is none, and where that shows."""
    try:
        return _JSON.raw_decode(text, at)
    except RecursionError:
        raise JSONDecodeError("is nested too deeply to be a row", text, at) from None
    except JSONDecodeError as error:
        raise JSONDecodeError(f"is not JSON: {error.msg}", text, error.pos) from None
    except ValueError as error:
        raise JSONDecodeError(str(error), text, at) from None


def _skip(text: str, at: int) -> int:
    return _BLANK.match(text, at).end()  # type: ignore[union-attr]


def documents(file: str, raw: IO[bytes], encoding: str, notes: list[str]) -> Iterator[Record]:
    """One document, an array or an object; or, where more follows a first object, one row per line."""
    text = open_text(raw, file, encoding, "\n").read()
    start = _skip(text, 0)
    if start == len(text):
        return
    if text[start] != "[":
        try:
            value, end = _parse(text, start)
        except JSONDecodeError as error:
            raise InputError(error.msg, file=file, line=error.lineno) from None
        if _skip(text, end) == len(text):
            yield _record(file, 1 + text.count("\n", 0, start), text[start:end], value)
        else:
            yield from _lines_of_json(file, io.StringIO(text, newline="\n"))
        return
    at, line, counted = _skip(text, start + 1), 1, 0
    array: list[Record] = []
    sign = text[at : at + 1]
    more = sign not in ("", "]")
    try:
        while more:
            line, counted = line + text.count("\n", counted, at), at
            value, end = _parse(text, at)
            array.append(_record(file, line, text[at:end], value))
            at = _skip(text, end)
            sign = text[at : at + 1]
            if more := sign == ",":
                at = _skip(text, at + 1)
        if sign != "]":
            why = "is not JSON: a comma or the array's end is missing" if sign else "the array is never closed"
            raise JSONDecodeError(why, text, at)
    except JSONDecodeError as error:
        problem = f"{error.msg}; nothing of a broken document is read: mend it"
        raise InputError(problem, file=file, line=error.lineno) from None
    if _skip(text, at + 1) < len(text):
        raise InputError("there is more after the array's end; mend it", file=file, line=line)
    yield from array


def lines(file: str, raw: IO[bytes], encoding: str, notes: list[str]) -> Iterator[Record]:
    yield from _lines_of_json(file, open_text(raw, file, encoding, "\n"))


def _lines_of_json(file: str, stream: IO[str]) -> Iterator[Record]:
    number = 0
    while text := stream.readline(MAX_LINE):
        number += 1
        if len(text) == MAX_LINE and text[-1] != "\n":
            head = printable(text[:2000] + "…")
            while (rest := stream.readline(MAX_LINE)) and rest[-1] != "\n":
                pass
            yield Record(file, number, None, f"the line is longer than {MAX_LINE:,} characters", head)
            continue
        text = text.strip(" \t\r\n")
        if not text:
            continue
        try:
            value, end = _parse(text)
            if end < len(text):
                raise JSONDecodeError("is not JSON: more after the value's end", text, end)
        except JSONDecodeError as error:
            fault = undecodable(text) or f"{error.msg} (column {error.pos + 1})"
            yield Record(file, number, None, fault, printable(text))
        else:
            yield _record(file, number, text, value)
