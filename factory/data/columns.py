"""One table of column names, `columns.yaml`: what exports and the most used sets of the Hub call the parts of a row.

A row whose own keys make no format is read by the first layout whose parts it has. Names are compared without case and
the space around them.
"""

import functools
from pathlib import Path
from typing import Any

import yaml

from factory.data.values import Fault, Value, named

_TABLE = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
LAYOUTS = [{ours: names.split() for ours, names in layout.items()} for layout in _TABLE["layouts"]]
BESIDE = {ours: names.split() for ours, names in _TABLE["beside"].items()}
ANSWER = next(layout["completion"] for layout in LAYOUTS if "completion" in layout)


def plain_keys(value: Value, ours: frozenset[str]) -> Value:
    """The row without the space around its keys; a key that is one of `ours` but for its case gets our spelling."""
    names = {key: key.strip() for key in value}
    names = {
        key: name if name in ours or name.casefold() not in ours else name.casefold() for key, name in names.items()
    }
    if len({*names.values()}) < len(names):
        return value
    return {names[key]: item for key, item in value.items()}


def laid_out(value: Value) -> Value | None:
    """The row with its parts under our keys, by the first layout that it fits; None if it fits none. Raises Fault."""
    plan = _plan(tuple(value))
    if plan is None:
        return None
    used = {key for keys, _ in plan.values() for key in keys}
    rest = {key: item for key, item in value.items() if key not in used}
    return rest | {ours: _joined([(k, value[k]) for k in keys], how) for ours, (keys, how) in plan.items()}


@functools.lru_cache(256)
def _plan(keys: tuple[str, ...]) -> dict[str, tuple[list[str], str]] | None:
    known = {key.strip().casefold(): key for key in keys}
    for layout in LAYOUTS:
        found = {ours: hit for ours, names in layout.items() if (hit := _first(names, known))}
        if len(found) < len(layout) or len({key for hit, _ in found.values() for key in hit}) < len(layout):
            continue
        taken = {key for hit, _ in found.values() for key in hit}
        for ours, names in BESIDE.items():
            if ("instruction" in layout or ours == "system") and "text" not in layout:
                hit = _first(names, {name: key for name, key in known.items() if key not in taken})
                found |= {ours: hit} if hit else {}
        return found
    return None


def _first(names: list[str], known: dict[str, str]) -> tuple[list[str], str] | None:
    for name in names:
        how = "&" if "&" in name else "+"
        if all(part in known for part in name.split(how)):
            return [known[part] for part in name.split(how)], how
    return None


def _joined(parts: list[tuple[str, Any]], how: str) -> Any:
    if len(parts) == 1:
        return _said(*parts[0])
    for key, item in parts:
        if not isinstance(item, str):
            raise Fault(f"{key} is {named(item)}, not text: leave it out with data.columns.prompt={parts[-1][0]}")
    texts = [f"{key}: {item}" if how == "&" else item for key, item in parts]
    return ("\n" if how == "&" else "\n\n").join(filter(str.strip, texts))


def _said(key: str, item: Any) -> Any:
    """An answer as sets of questions write it: `{"text": […]}`, `{"value": …}`, true or false, a number."""
    if isinstance(item, dict) and isinstance(item.get("text", item.get("value")), list | str):
        found = item.get("text", item.get("value"))
        if not found:
            raise Fault(f"{key} holds no answer")
        return found if isinstance(found, str) else found[0]
    if key.casefold() in ANSWER and isinstance(item, bool):
        return "yes" if item else "no"
    if key.casefold() in ANSWER and isinstance(item, int | float):
        return str(item)
    if key.casefold() in ANSWER and isinstance(item, list) and item and all(isinstance(one, str) for one in item):
        return item[0]
    return item
