"""Files to rows: every record recognised by its keys, converted, its placeholders filled; what cannot be is listed."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factory.data.decode import Record
from factory.data.formats import FORMATS, candidates, convert
from factory.data.read import find, records
from factory.data.rows import Dropped, Row, one_line
from factory.data.values import Fault
from factory.errors import InputError, Problem
from factory.home import shown
from factory.recipe import Data
from factory.strict import nearest

STEP = "read"
SHOWN = 20  # problems listed in one error
OWN_WORDS = "{{base}}"  # as a row's whole answer: the base's own is put in later (mix.own_words)
_SLOT = re.compile(r"\{\{\s*([A-Za-z_]\w*)\s*\}\}")


@dataclass
class Read:
    """What is known of one file once its rows were taken: its format, how many rows it holds, how many of them could be
    used, how many repeat an earlier one to the letter, and which of their keys nothing used."""

    file: str
    format: str = ""
    rows: int = 0
    kept: int = 0
    duplicates: int = 0
    unused: Counter[str] = field(default_factory=Counter)


def load(
    spec: str | list[str], data: Data, folder: Path, key: str, dropped: list[Dropped], read: list[Read]
) -> Iterator[Row]:
    """The rows of all files that `spec` names. `read` gets one entry per file, `dropped` the rows that are none.

    Raises InputError, all problems of a file at once: ambiguous or mixed rows, unfilled placeholders, a file without
    a single row, and with `data.strict` any fault at all.
    """
    _settings(data)
    for name in find(spec, folder, key):
        yield from _file(name, data, dropped, read)


def _settings(data: Data) -> None:
    problems = []
    if data.format and data.format not in FORMATS:
        problems.append(Problem(f"no format {data.format!r}{nearest(data.format, FORMATS)}", key="data.format"))
    known = {key for form in FORMATS.values() for key in form.known}
    for column in data.columns:
        if column not in known:
            problems.append(
                Problem(f"no format has the key {column!r}{nearest(column, known)}", key=f"data.columns.{column}")
            )
    if problems:
        raise InputError(*problems)


def _file(name: str, data: Data, dropped: list[Dropped], read: list[Read]) -> Iterator[Row]:
    info = Read(name if name.startswith("hub:") else shown(Path(name)), data.format)
    read.append(info)
    faults: list[Problem] = []
    unfilled: dict[str, Record] = {}
    first = ""
    seen: set[bytes] = set()
    for record in records(name, data.encoding):
        kept = 0
        try:
            for row in _rows(record, data, info, unfilled):
                info.rows += 1
                info.kept += 1
                kept += 1
                same = hashlib.blake2b(repr(row.messages).encode(), digest_size=16).digest()
                info.duplicates += same in seen
                seen.add(same)
                yield row
            if kept:
                continue
            raise Fault("holds no row")
        except (Fault, RecursionError) as fault:
            info.rows += 1
            why = one_line(str(fault)) if isinstance(fault, Fault) else "is nested too deeply to be a row"
            first = first or f"the first, line {record.line}: {why}"
            dropped.append(Dropped(record.file, record.line, STEP, why, record.text))
            if data.strict:
                faults.append(Problem(why, record.file, record.line))
    if unfilled:
        raise InputError(*(_unfilled(slot, at) for slot, at in list(unfilled.items())[:SHOWN]))
    if faults:
        more = [Problem(f"and {len(faults) - SHOWN} rows more", info.file)] if len(faults) > SHOWN else []
        raise InputError(*faults[:SHOWN], *more)
    if not info.kept:
        raise InputError(
            Problem(f"not one row of {info.rows} can be used; {first}" if first else "holds no rows", info.file)
        )


def _rows(record: Record, data: Data, info: Read, unfilled: dict[str, Record]) -> Iterator[Row]:
    if record.value is None:
        raise Fault(record.fault)
    value = _renamed(record.value, data.columns)
    name = data.format or _format(record, value, data.columns, info)
    for messages, meta in convert(name, value):
        if not data.format:
            info.format = info.format or name
        messages = [_filled(m, data.fill, record, unfilled) for m in messages]
        meta = _filled(_plain(meta), data.fill, record, unfilled)
        info.unused.update(meta.keys() & value.keys() - FORMATS[name].known)
        yield Row(tuple(messages), meta, record.file, record.line)


def _renamed(value: dict[str, Any], columns: dict[str, str]) -> dict[str, Any]:
    if not columns:
        return value
    if lacking := [column for column in columns.values() if column not in value]:
        raise Fault(f"lacks the column {', '.join(lacking)} that data.columns names")
    back = {theirs: ours for ours, theirs in columns.items()}
    kept = {key: item for key, item in value.items() if key not in columns}
    return {back.get(key, key): item for key, item in kept.items()} | {
        ours: value[theirs] for ours, theirs in columns.items()
    }


def _format(record: Record, value: dict[str, Any], columns: dict[str, str], info: Read) -> str:
    """The one format the row fits. An ambiguous row or a file of two formats is an error; a row of none is a Fault."""
    found = candidates(value)
    if columns:  # named columns are of the format; if that leaves several, they alone decide
        found = [name for name in found if columns.keys() <= FORMATS[name].known]
        if len(found) != 1:
            found = candidates({key: value[key] for key in columns}) or found
    if len(found) > 1:
        raise InputError(_unclear(record, f"fits the formats {' and '.join(found)}", found))
    if not found:
        has = ", ".join(list(value)[:8]) or "none"
        raise Fault(
            f"its keys ({has}) are of no known format: name them, as in data.columns.prompt={next(iter(value), '…')}"
        )
    if info.format and found[0] != info.format:
        raise InputError(
            _unclear(record, f"is {found[0]}, the rows before it are {info.format}", [info.format, *found])
        )
    return found[0]


def _unclear(record: Record, what: str, names: list[str]) -> Problem:
    shown_row = one_line(record.text, 200)
    ways = " or ".join(f"data.format={name}" for name in names)
    return Problem(
        f"this row {what}; settle it with {ways}, or name its columns (data.columns.prompt=…): {shown_row}",
        record.file,
        record.line,
    )


def _filled(value: Any, fill: dict[str, str], record: Record, unfilled: dict[str, Record]) -> Any:
    """`value` with every `{{name}}` in its strings replaced; names that `fill` lacks are noted in `unfilled`."""
    if isinstance(value, str):
        if "{{" not in value:
            return value

        def one(match: re.Match[str]) -> str:
            if match[1] not in fill and value != OWN_WORDS:
                unfilled.setdefault(match[1], record)
            return fill.get(match[1], match[0])

        return _SLOT.sub(one, value)
    if isinstance(value, list):
        return [_filled(item, fill, record, unfilled) for item in value]
    if isinstance(value, dict):
        return {key: _filled(item, fill, record, unfilled) for key, item in value.items()}
    return value


def _unfilled(slot: str, at: Record) -> Problem:
    hint = f"set data.fill.{slot}=… (or to '{{{{{slot}}}}}' if the text means it so)"
    return Problem(f"nothing fills the placeholder {{{{{slot}}}}}: {hint}", at.file, at.line)


def _plain(value: Any) -> Any:
    """A table's value as JSON has it: dates, bytes and decimals as text, a float that is no number as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value)
