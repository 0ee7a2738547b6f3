"""Files to rows: every record recognised by its keys, converted, its placeholders filled; what cannot be is listed."""

import hashlib
import itertools
import math
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factory.control import mapped
from factory.data.columns import laid_out, plain_keys
from factory.data.decode import Record, printable
from factory.data.formats import FORMATS, candidates, convert
from factory.data.read import encoding_of, find, records
from factory.data.rows import Dropped, Row, one_line
from factory.data.templated import THOUGHT
from factory.data.values import THOUGHTS, Fault, named
from factory.errors import InputError, Problem
from factory.home import shown
from factory.recipe import Data
from factory.strict import nearest

STEP = "read"
SHOWN = 20  # problems listed in one error
OWN_WORDS = "{{base}}"  # as a row's whole answer: the base's own is put in later (mix.own_words)
KNOWN = frozenset().union(*(form.known for form in FORMATS.values()))
MISSING = object()
OF_A_TURN = " of a turn"
_BESIDE = re.compile(r"label|class|categ|^role$", re.I)  # columns that a text alone has no use for
_SLOT = re.compile(r"\{\{\s*([A-Za-z_]\w*)\s*\}\}")


@dataclass
class Read:
    """What is known of one file once its rows were taken: its format, how many rows it holds, how many of them could be
    used, how many repeat an earlier one to the letter, which of their keys nothing used, and what is odd about it.

    `rendered` rows were texts of a chat template; `answers` are the answers in all conversations, `learned` those to be
    learned, `marked` those that are marked not to be."""

    file: str
    format: str = ""
    rows: int = 0
    kept: int = 0
    duplicates: int = 0
    unused: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    rendered: int = 0
    answers: int = 0
    learned: int = 0
    marked: int = 0


def load(
    spec: str | list[str], data: Data, folder: Path, key: str, dropped: list[Dropped], read: list[Read]
) -> Iterator[Row]:
    """The rows of all files that `spec` names. `read` gets one entry per file, `dropped` the rows that are none.

    Raises InputError, all problems of a file at once: ambiguous or mixed rows, unfilled placeholders, a file without
    a single row, and with `data.strict` any fault at all.
    """
    _settings(data)
    if key != "data.train":  # what is graded is said and not thought
        data = data.model_copy(update={"reasoning": False})
    for name in find(spec, folder, key):
        yield from _file(name, data, dropped, read)


def _settings(data: Data) -> None:
    problems = [
        Problem(f"no format has the key {column!r}{nearest(column, KNOWN)}", key=f"data.columns.{column}")
        for column in data.columns
        if column not in KNOWN
    ]
    if data.format and data.format not in FORMATS:
        problems.insert(0, Problem(f"no format {data.format!r}{nearest(data.format, FORMATS)}", key="data.format"))
    if problems:
        raise InputError(*problems)


def _file(name: str, data: Data, dropped: list[Dropped], read: list[Read]) -> Iterator[Row]:
    info = Read(name if name.startswith("hub:") else shown(Path(name)), data.format)
    read.append(info)
    faults: list[Problem] = []
    unfilled: dict[str, Record] = {}
    first = ""
    seen: set[bytes] = set()
    undecoded = 0
    for record in _unwrapped(records(name, data.encoding, info.notes), data, info):
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
            undecoded += why.startswith("byte 0x")
            dropped.append(Dropped(record.file, record.line, STEP, why, record.text))
            if data.strict:
                faults.append(Problem(why, record.file, record.line))
    if undecoded and (fits := encoding_of(name)):
        info.notes.append(f"{info.file} is not UTF-8 in {undecoded} rows: data.encoding={fits} reads it")
        first += f"; data.encoding={fits} reads it"
    if unfilled:
        raise InputError(*(_unfilled(slot, at) for slot, at in list(unfilled.items())[:SHOWN]))
    if faults:
        more = [Problem(f"and {len(faults) - SHOWN} rows more", info.file)] if len(faults) > SHOWN else []
        raise InputError(*faults[:SHOWN], *more)
    if not info.kept:
        raise InputError(
            f"not one row of {info.rows} can be used; {first}" if first else "holds no rows", file=info.file
        )


def _rows(record: Record, data: Data, info: Read, unfilled: dict[str, Record]) -> Iterator[Row]:
    if record.value is None:
        raise Fault(record.fault)
    value = _understood(record.value, data)
    name = data.format or _format(record, value, data.columns, info)
    for messages, meta in convert(name, value, record.file):
        if not data.format:
            info.format = info.format or name
        info.rendered += bool(meta.pop("rendered", False))
        meta = _filled(_plain(meta), data.fill, record, unfilled)
        info.unused.update(meta.keys() & value.keys() - FORMATS[name].known)
        for turn in messages:
            ignored = {*turn.get("unused", ())}.difference(THOUGHTS if data.reasoning else ())
            info.unused.update(key + OF_A_TURN for key in ignored)
        for end in _learned(messages, data.learn, info):
            turns = [{"role": m["role"], "content": m["content"]} for m in messages[:end]]
            if data.reasoning and (thought := messages[end - 1].get("thought")):
                turns[-1]["content"] = THOUGHT.format(thought=thought) + turns[-1]["content"]
            yield Row(tuple(_filled(m, data.fill, record, unfilled) for m in turns), meta, record.file, record.line)


def _learned(messages: list[dict[str, Any]], learn: str, info: Read) -> list[int]:
    """Where the conversations end that a row makes: after each answer to be learned, so that every one is learned as it
    is asked for. Turns that say so themselves win over `data.learn`. Fault: none is left."""
    answers = [i for i, m in enumerate(messages) if m["role"] == "assistant"]
    wanted = [i for i in answers if messages[i].get("learn", learn == "all" or i == answers[-1])]
    info.answers += len(answers)
    info.learned += len(wanted)
    info.marked += sum(messages[i].get("learn") is False for i in answers)
    if not wanted:
        raise Fault("no answer is to be learned: all are marked so (weight 0, loss false); mark one with 1, or true")
    return [i + 1 for i in wanted]


def _understood(value: dict[str, Any], data: Data) -> dict[str, Any]:
    """The row under our keys: columns as `data.columns` names them, else as the table of column names has them."""
    value = _renamed(value, data.columns) if data.columns else plain_keys(value, KNOWN)
    if data.format or candidates(value) not in ([], ["text"]):
        return value
    return laid_out(value) or value


def _unwrapped(rows: Iterator[Record], data: Data, info: Read) -> Iterator[Record]:
    """The records; where a JSON file is one object around a list of them, those of the list."""
    first = next(rows, None)
    if first is None:
        return
    second = next(rows, None)
    lists = {k: v for k, v in (first.value or {}).items() if isinstance(v, list) and v and isinstance(v[0], dict)}
    alone = second is None and ".json" in info.file and len(lists) == 1 and not data.format and not data.columns
    if alone and first.value is not None and not candidates(_understood(first.value, data)):
        [(key, found)] = lists.items()
        info.notes.append(f"{info.file} is one object: the {len(found):,} rows under its {key!r} are read")
        for number, item in enumerate(found, 1):
            fault = "" if isinstance(item, dict) else f"is {named(item)}, not an object"
            yield Record(first.file, number, None if fault else item, fault, printable(str(item)))
        return
    yield from itertools.chain([first] if second is None else [first, second], rows)


def _renamed(value: dict[str, Any], columns: dict[str, str]) -> dict[str, Any]:
    """The row with the columns that are named under our keys; a dot leads into an object (`translation.en`)."""
    found = {ours: _at(value, theirs) for ours, theirs in columns.items()}
    if lacking := [theirs for ours, theirs in columns.items() if found[ours] is MISSING]:
        raise Fault(f"lacks the column {', '.join(lacking)} that data.columns names")
    taken = {*columns, *columns.values()}
    return {key: item for key, item in value.items() if key not in taken} | found


def _at(value: dict[str, Any], column: str) -> Any:
    if column in value or "." not in column:
        return value.get(column, MISSING)
    first, _, rest = column.partition(".")
    inner = value.get(first)
    return _at(inner, rest) if isinstance(inner, dict) else MISSING


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
        raise Fault(f"its keys ({', '.join(list(value)[:8]) or 'none'}) are of no known format: {_ways(value)}")
    if found == ["text"] and not columns and (odd := [key for key in value if _BESIDE.search(key)]):
        raise Fault(f"has a text and {', '.join(odd)}, which nothing reads: {_ways(value)}, or set data.format=text")
    if info.format and found[0] != info.format:
        raise InputError(
            _unclear(record, f"is {found[0]}, the rows before it are {info.format}", [info.format, *found])
        )
    return found[0]


def _ways(value: dict[str, Any]) -> str:
    """How to name the columns of a row that no format knows: by its own names, guessed from what they hold."""
    texts: dict[str, int] = {}
    for key, item in value.items():
        inner = item if isinstance(item, dict) else {}
        texts |= {f"{key}.{k}": len(v) for k, v in inner.items() if isinstance(v, str)}
        texts |= {key: len(item)} if isinstance(item, str) else {}
    labels = [key for key, item in value.items() if any(word in key.casefold() for word in ("label", "class", "categ"))]
    one, two = [*texts, "…", "…"][:2]
    ways = {"prompt": one, "completion": two}
    if labels and (said := max((k for k in texts if k not in labels), key=texts.__getitem__, default="")):
        ways = {"text": said, "label": labels[0]}
    told = " ".join(shlex.quote(f"data.columns.{ours}={theirs}") for ours, theirs in ways.items())
    return f"name them, as in {told}{' (or text and label)' if 'prompt' in ways else ''}"


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

    def leaf(said: Any) -> Any:
        def one(match: re.Match[str]) -> str:
            if match[1] not in fill and said != OWN_WORDS:
                unfilled.setdefault(match[1], record)
            return fill.get(match[1], match[0])

        return _SLOT.sub(one, said) if isinstance(said, str) and "{{" in said else said

    return mapped(value, leaf)


def _unfilled(slot: str, at: Record) -> Problem:
    hint = f"set data.fill.{slot}=… (or to '{{{{{slot}}}}}' if the text means it so)"
    return Problem(f"nothing fills the placeholder {{{{{slot}}}}}: {hint}", at.file, at.line)


def _plain(value: Any) -> Any:
    """A table's value as JSON has it: dates, bytes and decimals as text, a float that is no number as null."""

    def leaf(item: Any) -> Any:
        if isinstance(item, float):
            return item if math.isfinite(item) else None
        return item if item is None or isinstance(item, str | int) else str(item)

    return mapped(value, leaf, str)
