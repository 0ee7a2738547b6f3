"""Tables and plain text: CSV and TSV under a header, Parquet, and text in blocks."""

import csv
import gzip
import io
import re
from collections.abc import Iterator
from itertools import islice
from typing import IO

from factory.data.decode import MAX_LINE, Record, open_text, printable, undecodable
from factory.errors import InputError, first_line


def separated(file: str, raw: IO[bytes], encoding: str, notes: list[str]) -> Iterator[Record]:
    """Rows under a header, whatever separates them. Where a quote goes wrong, that one line is dropped and reading goes
    on with the next."""
    csv.field_size_limit(MAX_LINE)
    lines = open_text(raw, file, encoding, "").readlines()
    at = restarts = 0
    if lines and (told := re.fullmatch(r"\"?sep=(.)\"?[\r\n]*", lines[0])):  # a spreadsheet's own remark
        delimiter, at = told[1], 1
    else:
        delimiter = _delimiter(lines, "\t" if file.removesuffix(".gz").endswith(".tsv") else ",")
    header: list[str] = []
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
                    header = _header(file, first + 1, fields, notes)
                    continue
                while len(fields) > len(header) and not fields[-1].strip():
                    fields.pop()
                fault = undecodable(text)
                if not fault and len(fields) != len(header):
                    fault = f"{len(fields)} fields where the header has {len(header)}"
                value = None if fault else dict(zip(header, fields, strict=True))
                yield Record(file, first + 1, value, fault, printable(text.rstrip("\r\n")))
            return
        except csv.Error as error:
            restarts += 1
            end, fault = start + 1, f"the quotes do not match: {error}"
            if "field larger" in str(error):
                fault = f"a field is longer than {MAX_LINE:,} characters, or its quote is never closed"
            if restarts == 100:
                end, fault = len(lines), "too many broken quotes: the rest is unread"
            if not header:
                raise InputError(f"the header cannot be read: {error}", file=file, line=start + 1) from None
            yield Record(file, start + 1, None, fault, printable("".join(lines[start:end]).rstrip("\r\n")))
            at = end


def _delimiter(lines: list[str], usual: str) -> str:
    """What separates the fields: of `, ; tab |` the one under which most of the first rows have as many fields as the
    header, two at least; the usual one where none does better."""
    head = lines[:200]

    def fit(delimiter: str) -> tuple[int, bool]:
        try:
            counts = [len(fields) for fields in csv.reader(head, delimiter=delimiter) if fields]
        except csv.Error:
            return 0, False
        return (counts.count(counts[0]) if counts and counts[0] > 1 else 0), delimiter == usual

    return max(",;\t|", key=fit) if any(fit(d)[0] for d in ",;\t|") else usual


def _header(file: str, line: int, fields: list[str], notes: list[str]) -> list[str]:
    names = [name.strip() for name in fields]
    while len(names) > 1 and not names[-1]:
        names.pop()
    if len(names) < len(fields):
        notes.append(f"{file}: columns without a name at the end of the header are left out")
    if nameless := [i for i, name in enumerate(names) if not name]:
        names = [name or f"column {i + 1}" for i, name in enumerate(names)]
        notes.append(
            f"{file}: {len(nameless)} columns have no name; they are called 'column {nameless[0] + 1}' and so on"
        )
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise InputError(f"the header names {', '.join(map(repr, twice))} twice", file=file, line=line)
    return names


def parquet(file: str, raw: IO[bytes], encoding: str, notes: list[str]) -> Iterator[Record]:
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
                    yield Record(file, number, value, text=printable(str(value)))
    except (pa.ArrowException, KeyError) as error:
        raise InputError(f"is not a Parquet file that can be read: {first_line(error)}", file=file) from None


def blocks(file: str, raw: IO[bytes], encoding: str, notes: list[str]) -> Iterator[Record]:
    """Plain text: one row per block between blank lines, under the key `text`."""
    block: list[str] = []
    number = 0
    for number, line in enumerate(open_text(raw, file, encoding, "\n"), 1):
        if line.strip():
            block.append(line)
        elif block:
            yield _block(file, number - len(block), block)
            block = []
    if block:
        yield _block(file, number - len(block) + 1, block)


def _block(file: str, line: int, block: list[str]) -> Record:
    text = "".join(block).replace("\r\n", "\n").strip()
    fault = undecodable(text)
    if not fault and len(text) > MAX_LINE:
        fault = f"the block is longer than {MAX_LINE:,} characters"
    return Record(file, line, None if fault else {"text": text}, fault, printable(text))
