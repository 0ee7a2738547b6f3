"""Files to records: one record per row, with its file and line, or with the fault that keeps it from being one.

    .json .jsonl .ndjson    an array or a single object, or one object per line   .csv .tsv   a header and its rows
    .parquet                rows of the table                                     .txt .md    blocks between blank lines

each also as .gz, and `hub:owner/name[:split]`. Text is UTF-8 (with or without BOM), UTF-16 or UTF-32 by BOM or by the
zero bytes of its first characters, or what `data.encoding` declares. JSON is what RFC 8259 says it is: NaN, comments
and trailing commas are not; numbers beyond a double's range are, and keep their digits.
"""

from __future__ import annotations

import codecs
import csv
import functools
import glob
import gzip
import hashlib
import io
import json
import math
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

from factory.data.rows import clip
from factory.errors import InputError, Problem
from factory.home import shown

MAX_LINE = 10_000_000  # characters; a longer line is one dropped row and is never held in memory
BLANK = " \t\r\n"


@dataclass(frozen=True)
class Record:
    """One row as it lies in the file: `value` by its keys, or a `fault` that says why there is none, and its `text`."""

    file: str
    line: int
    value: dict[str, Any] | None
    fault: str = ""
    text: str = ""


def find(spec: str | list[str], folder: Path, key: str) -> list[str]:
    """The files that `spec` names, in order, each once: paths or globs beside the recipe or in the working folder."""
    found: list[str] = []
    for name in [spec] if isinstance(spec, str) else spec:
        if name.startswith("hub:"):
            found.append(name)
            continue
        for path in (folder / name, Path(name)):
            paths = sorted(glob.glob(str(path), recursive=True)) if glob.has_magic(name) else [str(path)]
            if files := [p for p in paths if Path(p).is_file()]:
                found += files
                break
        else:
            raise InputError(Problem(f"no such file, neither in {shown(folder)} nor here", name, key=key))
    known = f"unknown kind of file; known: {', '.join(READERS)}, and these as .gz"
    if unread := [Problem(known, n, key=key) for n in found if not n.startswith("hub:") and _kind(n) is None]:
        raise InputError(*unread)
    return list(dict.fromkeys(found))


def records(name: str, encoding: str = "") -> Iterator[Record]:
    """The records of one file or Hub data set. Errors that concern the whole of it are InputErrors."""
    if name.startswith("hub:"):
        yield from _hub(name)
        return
    reader = READERS[_kind(name) or ""]
    file = shown(Path(name))
    try:
        with open(name, "rb") as raw:
            yield from reader(file, gzip.GzipFile(fileobj=raw) if name.endswith(".gz") else raw, encoding)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise InputError(Problem("the gzip file is cut off or damaged: make it again", file)) from None
    except OSError as error:
        raise InputError(Problem(f"cannot be read: {error.strerror or error}", file)) from None
    except UnicodeError as error:  # of codecs that take no error handler
        raise InputError(Problem(f"cannot be decoded as {encoding}: {error}", file, key="data.encoding")) from None


def fingerprint(name: str) -> str:
    """sha256 of a file's bytes, or what `datasets` knows a Hub data set's state by."""
    if name.startswith("hub:"):
        return str(_hub_data(name)._fingerprint)
    with open(name, "rb") as raw:
        return hashlib.file_digest(raw, "sha256").hexdigest()


def _kind(name: str) -> str | None:
    suffix = Path(name.removesuffix(".gz")).suffix.lower()
    return suffix if suffix in READERS else None


def _text(raw: IO[bytes], file: str, encoding: str, newline: str) -> io.TextIOWrapper:
    """The bytes as text. A byte that is none of the encoding becomes a lone surrogate, which `_fault` finds later."""
    buffered: Any = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(raw)
    head = buffered.peek(4)[:4]
    for bom, name in ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
                      (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):  # fmt: skip
        if head.startswith(bom):
            encoding = name
            break
    else:
        if not encoding and len(head) == 4 and head[0] and head[2] and not head[1] and not head[3]:
            encoding = "utf-16-le"
        elif not encoding and len(head) == 4 and head[1] and head[3] and not head[0] and not head[2]:
            encoding = "utf-16-be"
    try:
        return io.TextIOWrapper(buffered, encoding or "utf-8", errors="factory_escape", newline=newline)
    except LookupError:
        raise InputError(Problem(f"unknown encoding {encoding!r}", file, key="data.encoding")) from None


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error("factory_escape", _escape)
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def _undecodable(text: str) -> str:
    """Why `text` is not what its encoding can hold, or nothing."""
    if text.isascii() or not (bad := _SURROGATE.search(text)):
        return ""
    byte = ord(bad.group()) - 0xDC00
    if 0 <= byte <= 0xFF:
        return f"byte 0x{byte:02X} is not of the file's encoding (another one is declared by data.encoding)"
    return "a lone surrogate is no character"


def _record(file: str, line: int, text: str, value: Any) -> Record:
    """A parsed JSON value as a record, once its text and its strings are whole."""
    fault = _undecodable(text)
    if not fault and not isinstance(value, dict):
        fault = f"is {_named(value)}, not an object"
    if not fault and _ESCAPED_SURROGATE.search(text) and _SURROGATE.search(json.dumps(value, ensure_ascii=False)):
        fault = "a lone surrogate is no character"
    return Record(file, line, None if fault else value, fault, clip(_printable(text)))


def _printable(text: str) -> str:
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def _named(value: Any) -> str:
    names = {type(None): "null", bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list"}
    return names.get(type(value), "an object" if isinstance(value, dict) else f"a {type(value).__name__}")


# JSON ---------------------------------------------------------------------------------------------------------------


def _constant(name: str) -> Any:
    raise json.JSONDecodeError(f"{name} is not JSON", name, 0)


def _float(digits: str) -> float | str:
    return digits if math.isinf(value := float(digits)) else value


def _int(digits: str) -> int | str:
    return int(digits) if len(digits) < 4000 else digits  # int() of the standard library refuses more


_JSON = json.JSONDecoder(parse_constant=_constant, parse_float=_float, parse_int=_int)


def _parse(text: str, at: int = 0) -> tuple[Any, int]:
    """The JSON value that begins at `at`, and where it ends. ValueError: it is none."""
    try:
        return _JSON.raw_decode(text, at)
    except RecursionError:
        raise ValueError("is nested too deeply to be a row") from None
    except json.JSONDecodeError as error:
        what = error.msg if "is not JSON" in error.msg else f"is not JSON: {error.msg}"
        raise ValueError(f"{what} (column {error.colno})" if error.doc is text else what) from None


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in BLANK:
        at += 1
    return at


def _json(file: str, raw: IO[bytes], encoding: str) -> Iterator[Record]:
    """One document, an array or an object; or, where more follows a first object, one row per line."""
    text = _text(raw, file, encoding, "\n").read()
    start = _skip(text, 0)
    if start == len(text):
        return
    if text[start] != "[":
        line = 1 + text.count("\n", 0, start)
        try:
            value, end = _parse(text, start)
        except ValueError as error:
            raise InputError(Problem(str(error), file, line)) from None
        if _skip(text, end) == len(text):
            yield _record(file, line, text[start:end], value)
        else:
            yield from _lines_of_json(file, io.StringIO(text, newline="\n"))
        return
    at, line, counted = _skip(text, start + 1), 1, 0
    array: list[Record] = []
    more = at < len(text) and text[at] != "]"
    while True:
        line, counted = line + text.count("\n", counted, at), at
        try:
            if more:
                value, end = _parse(text, at)
                array.append(_record(file, line, text[at:end], value))
                at = _skip(text, end)
            if at >= len(text):
                raise ValueError("the array is never closed")
            if text[at] == "]":
                break
            if text[at] != ",":
                raise ValueError("is not JSON: a comma or the array's end is missing")
            at, more = _skip(text, at + 1), True
        except ValueError as error:
            problem = f"{re.sub(r' .column [0-9]+.$', '', str(error))}; nothing of a broken document is read: mend it"
            raise InputError(Problem(problem, file, line)) from None
    if _skip(text, at + 1) < len(text):
        raise InputError(Problem("there is more after the array's end; mend it", file, line))
    yield from array


def _jsonl(file: str, raw: IO[bytes], encoding: str) -> Iterator[Record]:
    yield from _lines_of_json(file, _text(raw, file, encoding, "\n"))


def _lines_of_json(file: str, stream: IO[str]) -> Iterator[Record]:
    number = 0
    while text := stream.readline(MAX_LINE):
        number += 1
        if len(text) == MAX_LINE and text[-1] != "\n":
            head = clip(_printable(text[:2000] + "…"))
            while (rest := stream.readline(MAX_LINE)) and rest[-1] != "\n":
                pass
            yield Record(file, number, None, f"the line is longer than {MAX_LINE:,} characters", head)
            continue
        text = text.strip(BLANK)
        if not text:
            continue
        try:
            value, end = _parse(text)
            if end < len(text):
                raise ValueError(f"is not JSON: more after the value's end (column {end + 1})")
        except ValueError as error:
            yield Record(file, number, None, _undecodable(text) or str(error), clip(_printable(text)))
        else:
            yield _record(file, number, text, value)


# Tables and text ----------------------------------------------------------------------------------------------------


def _csv(file: str, raw: IO[bytes], encoding: str) -> Iterator[Record]:
    yield from _table(file, _text(raw, file, encoding, "").readlines(), ",")


def _tsv(file: str, raw: IO[bytes], encoding: str) -> Iterator[Record]:
    yield from _table(file, _text(raw, file, encoding, "").readlines(), "\t")


def _table(file: str, lines: list[str], delimiter: str) -> Iterator[Record]:
    """Rows under a header. Where a quote goes wrong, that one line is dropped and reading goes on with the next."""
    csv.field_size_limit(MAX_LINE)
    if delimiter == "," and lines and "," not in lines[0] and ";" in lines[0]:
        delimiter = ";"  # what spreadsheets write where the comma is the decimal point
    header: list[str] = []
    at = restarts = 0
    while at < len(lines):
        reader = csv.reader(islice(lines, at, None), delimiter=delimiter, strict=True)
        start = at
        try:
            for fields in reader:
                first, start = start, at + reader.line_num
                text = "".join(lines[first:start])
                if not fields:
                    continue
                if not header:
                    header = _header(file, first + 1, fields)
                    continue
                fault = _undecodable(text)
                if not fault and len(fields) != len(header):
                    fault = f"{len(fields)} fields where the header has {len(header)}"
                value = None if fault else dict(zip(header, fields, strict=True))
                yield Record(file, first + 1, value, fault, clip(_printable(text.rstrip("\r\n"))))
            return
        except csv.Error as error:
            restarts += 1
            end = start + 1 if restarts < 100 else len(lines)
            fault = (
                f"the quotes do not match: {error}"
                if end == start + 1
                else "too many broken quotes; the rest is unread"
            )
            if not header:
                raise InputError(Problem(f"the header cannot be read: {error}", file, start + 1)) from None
            yield Record(file, start + 1, None, fault, clip(_printable("".join(lines[start:end]).rstrip("\r\n"))))
            at = end


def _header(file: str, line: int, fields: list[str]) -> list[str]:
    names = [name.strip() for name in fields]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise InputError(Problem(f"the header names {', '.join(map(repr, twice))} twice", file, line))
    return names


def _parquet(file: str, raw: IO[bytes], encoding: str) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        table = pq.ParquetFile(io.BytesIO(raw.read()) if isinstance(raw, gzip.GzipFile) else raw)
        for batch in table.iter_batches(batch_size=1000):
            for i in range(batch.num_rows):
                number += 1
                try:
                    value = batch.slice(i, 1).to_pylist()[0]
                except (ValueError, OverflowError) as error:  # text that is not UTF-8, a date out of range
                    yield Record(file, number, None, f"cannot be decoded: {error}")
                else:
                    yield Record(file, number, value, text=clip(_printable(str(value))))
    except (pa.ArrowException, KeyError) as error:
        raise InputError(
            Problem(f"is not a Parquet file that can be read: {str(error).splitlines()[0]}", file)
        ) from None


def _blocks(file: str, raw: IO[bytes], encoding: str) -> Iterator[Record]:
    """Plain text: one row per block between blank lines, under the key `text`."""
    block: list[str] = []
    number = 0
    for number, line in enumerate(_text(raw, file, encoding, "\n"), 1):
        if line.strip():
            block.append(line)
        elif block:
            yield _block(file, number - len(block), block)
            block = []
    if block:
        yield _block(file, number - len(block) + 1, block)


def _block(file: str, line: int, block: list[str]) -> Record:
    text = "".join(block).replace("\r\n", "\n").strip()
    fault = _undecodable(text)
    if not fault and len(text) > MAX_LINE:
        fault = f"the block is longer than {MAX_LINE:,} characters"
    return Record(file, line, None if fault else {"text": text}, fault, clip(_printable(text)))


READERS: dict[str, Callable[[str, Any, str], Iterator[Record]]] = {
    ".json": _json,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".csv": _csv,
    ".tsv": _tsv,
    ".parquet": _parquet,
    ".txt": _blocks,
    ".md": _blocks,
}


@functools.lru_cache(4)
def _hub_data(name: str) -> Any:
    """A Hub data set through `datasets`. Anything it cannot do is one line of ours."""
    from datasets import load_dataset

    repository, _, split = name.removeprefix("hub:").partition(":")
    try:
        return load_dataset(repository, split=split or "train")
    except Exception as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(Problem(f"the Hub data set cannot be had: {why}", name, key="data.train")) from None


def _hub(name: str) -> Iterator[Record]:
    """The rows of a Hub data set, class labels by their names."""
    from datasets import ClassLabel

    data = _hub_data(name)
    classes: dict[str, Any] = {key: kind for key, kind in data.features.items() if isinstance(kind, ClassLabel)}
    for number, value in enumerate(data, 1):
        for key, kind in classes.items():
            if isinstance(value[key], int) and 0 <= value[key] < kind.num_classes:
                value[key] = kind.int2str(value[key])
        yield Record(name, number, value, text=clip(_printable(str(value))))
