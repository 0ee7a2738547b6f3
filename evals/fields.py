"""Nested labels: an answer that is a JSON object, held against the right one field by field.

An object is taken apart into (path, value) pairs: `{"reply": {"by": "phone"}, "items": [{"name": "kettle", "n": 2}]}`
has `reply.by = phone`, `items[].name = kettle` and `items[].n = 2`. Entries of a list have one path and no order, so a
list counts by what it holds; what is a part of an entry is told apart by the entry's first value, so that two kettles
and one lamp are not one kettle and two lamps. A part that is left out has no pair: said where it should not be it is a
false one, missing where it should be a missed one.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Any

from evals.grades import Grade, Limits
from factory.data.rows import Row

MISSING = "(none)"
Pair = tuple[str, str, str]  # the path, the list's entry that it is in, the value


def fields(row: Row, output: str, limits: Limits) -> Grade | None:
    """The whole object right: good; JSON with at least half of its fields right and none false beside them: average."""
    gold = read(row.answer)
    if gold is None:
        return None
    said = read(output)
    if said is None:
        return Grade("poor", "no JSON object", [output[:80]])
    want, got = Counter(pairs(gold)), Counter(pairs(said))
    if want == got:
        return Grade("good")
    faults = {"false": got - want, "lacking": want - got}
    said_so = {name: ", ".join(f"{path} = {value}" for path, _, value in found) for name, found in faults.items()}
    why = "; ".join(f"{name}: {which}" for name, which in said_so.items() if which)
    return Grade("average" if 2 * (want & got).total() >= max(want.total(), got.total()) else "poor", why)


def read(text: str) -> dict[str, Any] | None:
    """The object that a text is, None if it is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def pairs(value: Any, path: str = "", entry: str = "") -> Iterator[Pair]:
    """The fields of an object, as (path, entry, value); an empty object or list is a value of its own."""
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from pairs(part, f"{path}.{key}".lstrip("."), entry)
    elif isinstance(value, list) and value:
        for part in value:
            first = next(iter(part.values()), "") if isinstance(part, dict) else ""
            yield from pairs(part, f"{path}[]", f"{entry}/{json.dumps(first)}" if isinstance(part, dict) else entry)
    else:
        yield path, entry, value if isinstance(value, str) else json.dumps(value)


def table(answered: Iterable[tuple[str, str]]) -> dict[str, Any] | None:
    """Precision, recall, F1 and confusion of each path from (right answer, answer); None where none is an object.

    `objects`: the share of answers that are right as a whole. The confusion pairs what is false with what is lacking at
    the same path of one answer, in the order of the values where there are several.
    """
    held = [(gold, read(said) or {}) for text, said in answered if (gold := read(text)) is not None]
    if not held:
        return None
    right, false, lacking = Counter[str](), Counter[str](), Counter[str]()
    confusion = Counter[tuple[str, str, str]]()
    whole = 0
    for gold, said in held:
        want, got = Counter(pairs(gold)), Counter(pairs(said))
        whole += want == got
        right.update(path for path, _, _ in (want & got).elements())
        wrong, missed = _by_path(got - want), _by_path(want - got)
        for path in {**wrong, **missed}:
            a, b = missed.get(path, []), wrong.get(path, [])
            lacking[path] += len(a)
            false[path] += len(b)
            for should, is_ in zip_longest(a, b, fillvalue=MISSING):
                if should != is_:  # else it is right, but in another entry of its list
                    confusion[path, should, is_] += 1
    paths = {
        path: {
            "n": right[path] + lacking[path],
            "precision": _share(right[path], right[path] + false[path]),
            "recall": _share(right[path], right[path] + lacking[path]),
            "f1": _share(2 * right[path], 2 * right[path] + false[path] + lacking[path]),
        }
        for path in sorted({*right, *false, *lacking})
    }
    confused = [[*key, n] for key, n in sorted(confusion.items(), key=lambda one: (-one[1], one[0]))]
    return {"objects": round(whole / len(held), 4), "paths": paths, "confusion": confused}


def _by_path(found: Counter[Pair]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for path, _, value in sorted(found.elements()):
        values.setdefault(path, []).append(value)
    return values


def _share(part: int, of: int) -> float | None:
    return round(part / of, 4) if of else None
