"""Files to records: one record per row, with its file and line, or with the fault that keeps it from being one.

    .json .jsonl .ndjson    an array or a single object, or one object per line   .csv .tsv   a header and its rows
    .parquet                rows of the table                                     .txt .md    blocks between blank lines

each also as .gz, and `hub:owner/name[:split]`. Text is UTF-8 (with or without BOM), UTF-16 or UTF-32 by BOM or by the
zero bytes of its first characters, or what `data.encoding` declares.
"""

import functools
import glob
import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from factory.data import read_json, read_table
from factory.data.decode import Record, printable
from factory.errors import InputError, Problem, first_line
from factory.home import project, sha256, shown

READERS: dict[str, Callable[[str, Any, str, list[str]], Iterator[Record]]] = {
    ".json": read_json.documents,
    ".jsonl": read_json.lines,
    ".ndjson": read_json.lines,
    ".csv": read_table.separated,
    ".tsv": read_table.separated,
    ".parquet": read_table.parquet,
    ".txt": read_table.blocks,
    ".md": read_table.blocks,
}


def find(spec: str | list[str], folder: Path, key: str) -> list[str]:
    """The files that `spec` names, in order, each once: paths or globs beside the recipe, in the working folder, or
    in the project."""
    found: list[str] = []
    for name in [spec] if isinstance(spec, str) else spec:
        if name.startswith("hub:"):
            found.append(name)
            continue
        for path in (folder / name, Path(name), project() / name):
            paths = sorted(glob.glob(str(path), recursive=True)) if glob.has_magic(name) else [str(path)]
            if files := [p for p in paths if Path(p).is_file()]:
                found += files
                break
        else:
            if (folder / name).is_dir():
                raise InputError(f"is a folder: name the files in it, as {name}/*.jsonl does", file=name, key=key)
            several = f" (several files: {key}=[{name}])" if "," in name else ""
            where = f"neither in {shown(folder)} nor here nor in the project"
            raise InputError(f"no such file, {where}{several}", file=name, key=key)
    known = f"unknown kind of file; known: {', '.join(READERS)}, and these as .gz"
    if unread := [Problem(known, n, key=key) for n in found if not n.startswith("hub:") and _kind(n) is None]:
        raise InputError(*unread)
    return list(dict.fromkeys(found))


def records(name: str, encoding: str = "", notes: list[str] | None = None) -> Iterator[Record]:
    """The records of one file or Hub data set. Errors that concern the whole of it are InputErrors; what is odd about
    it but does no harm goes into `notes`."""
    if name.startswith("hub:"):
        yield from _hub(name)
        return
    reader = READERS[_kind(name) or ""]
    file = shown(Path(name))
    try:
        with open(name, "rb") as raw:
            unpacked = gzip.GzipFile(fileobj=raw) if name.endswith(".gz") else raw
            yield from reader(file, unpacked, encoding, [] if notes is None else notes)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise InputError("the gzip file is cut off or damaged: make it again", file=file) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", file=file) from None
    except UnicodeError as error:  # of codecs that take no error handler
        raise InputError(f"cannot be decoded as {encoding}: {error}", file=file, key="data.encoding") from None


def encoding_of(name: str) -> str:
    """The encoding that the first 256 KB of a file fit best; empty if none does."""
    from charset_normalizer import from_bytes

    with open(name, "rb") as raw:
        head = (gzip.GzipFile(fileobj=raw) if name.endswith(".gz") else raw).read(2**18)
    best = from_bytes(head).best()
    return best.encoding if best and best.encoding not in ("ascii", "utf_8") else ""


def fingerprint(name: str) -> str:
    """sha256 of a file's bytes, or what `datasets` knows a Hub data set's state by."""
    if name.startswith("hub:"):
        return str(_hub_data(name)._fingerprint)
    return sha256(name)


def _kind(name: str) -> str | None:
    suffix = Path(name.removesuffix(".gz")).suffix.lower()
    return suffix if suffix in READERS else None


@functools.lru_cache(4)
def _hub_data(name: str) -> Any:
    """A Hub data set through `datasets`. Anything it cannot do is one line of ours."""
    from datasets import load_dataset

    repository, _, split = name.removeprefix("hub:").partition(":")
    try:
        return load_dataset(repository, split=split or "train")
    except Exception as error:
        raise InputError(f"the Hub data set cannot be had: {first_line(error)}", file=name, key="data.train") from None


def _hub(name: str) -> Iterator[Record]:
    """The rows of a Hub data set, class labels by their names."""
    from datasets import ClassLabel

    data = _hub_data(name)
    classes: dict[str, Any] = {key: kind for key, kind in data.features.items() if isinstance(kind, ClassLabel)}
    for number, value in enumerate(data, 1):
        for key, kind in classes.items():
            if isinstance(value[key], int) and 0 <= value[key] < kind.num_classes:
                value[key] = kind.int2str(value[key])
        yield Record(name, number, value, text=printable(str(value)))
