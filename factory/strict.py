"""YAML files checked against pydantic models: strictly, and every mistake named at once with its file and line."""

import copy
import difflib
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from factory.errors import InputError, Problem
from factory.home import shown

Key = tuple[str | int, ...]


class Strict(BaseModel):
    """A model that refuses unknown keys and never changes once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


M = TypeVar("M", bound=BaseModel)


@dataclass
class Layer:
    """One source of settings: a nested dict, and for every key of it the place it stands at."""

    values: dict[str, Any]
    places: dict[Key, tuple[str, int]] = field(default_factory=dict)

    def place(self, key: Key, file: str = "") -> tuple[str, int]:
        """Where a key stands, or the nearest above it that the source has; else `file`."""
        return next((self.places[key[:n]] for n in range(len(key), 0, -1) if key[:n] in self.places), (file, 0))


class _Loader(yaml.SafeLoader):
    """Names the line also of what no value can be made of, such as the day 2026-13-45."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from None


def read_yaml(path: Path) -> Layer:
    """Read a YAML mapping with the line of every key. Errors: unreadable, not YAML, no mapping, a key given twice."""
    name = shown(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.load(text, Loader=_Loader)
        places, twice = _places(node, name)
    except OSError as error:
        raise InputError(error.strerror or str(error), file=name) from None
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 at byte {error.start}", file=name) from None
    except RecursionError:
        raise InputError("nested too deeply", file=name) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InputError(f"not valid YAML: {what}", file=name, line=mark.line + 1 if mark else 0) from None
    if node is None:
        return Layer({})
    if not isinstance(values, dict):
        raise InputError("must be a mapping of keys to values", file=name, line=1)
    if twice:
        raise InputError(*twice)
    return Layer(values, places)


def _places(node: yaml.Node | None, name: str) -> tuple[dict[Key, tuple[str, int]], list[Problem]]:
    """Where every key stands in the file, and those that are given twice."""
    places: dict[Key, tuple[str, int]] = {}
    twice: list[Problem] = []

    def walk(node: yaml.Node | None, at: Key) -> None:
        children: list[tuple[str | int, yaml.Node, yaml.Node]] = []
        if isinstance(node, yaml.MappingNode):
            children = [(str(key.value), key, value) for key, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            children = [(i, value, value) for i, value in enumerate(node.value)]
        for name_, where, value in children:
            here, line = (*at, name_), where.start_mark.line + 1
            if here in places:
                twice.append(Problem("given twice", name, line, dotted(here)))
            places[here] = (name, line)
            walk(value, here)

    walk(node, ())
    return places, twice


def overrides(pairs: dict[str, str]) -> Layer:
    """`{"train.lr": "2e-4"}` as a layer; values are read as YAML scalars or flow lists."""
    layer = Layer({})
    for dotted_key, text in pairs.items():
        key = tuple(dotted_key.split("."))
        at = layer.values
        for part in key[:-1]:
            at = at.setdefault(part, {})
            if not isinstance(at, dict):
                raise InputError(f"{part} is a value and a section at once", key=dotted_key)
        try:
            at[key[-1]] = yaml.load(text, Loader=_Loader)
        except yaml.YAMLError:
            at[key[-1]] = text
        for depth in range(1, len(key) + 1):
            layer.places[key[:depth]] = ("", 0)
    return layer


def merge(*layers: Layer) -> Layer:
    """Later layers win, section by section; lists and values are replaced whole."""
    merged = Layer({})

    def into(target: dict[str, Any], source: dict[str, Any]) -> None:
        for key, value in source.items():
            if isinstance(value, dict) and isinstance(target.get(key), dict):
                into(target[key], value)
            else:
                target[key] = copy.deepcopy(value)

    for layer in layers:
        into(merged.values, layer.values)
        merged.places.update(layer.places)
    return merged


def check(model: type[M], layer: Layer, file: str = "") -> M:
    """The layer as a `model`, or an InputError with every problem, each at its file and line."""
    try:
        return model.model_validate(layer.values)
    except ValidationError as error:
        raise InputError(*_problems(model, layer, error, file)) from None


def nearest(word: str, known: typing.Iterable[str]) -> str:
    """`; did you mean x?` for the closest known word, else the list of what there is."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known: {', '.join(known)}" if known else ""


def flag(arguments: dict[str, str], name: str, default: bool) -> bool:
    """An argument that is true or false."""
    text = arguments.get(name, str(default)).lower()
    if text not in ("true", "false"):
        raise InputError(f"{name}={arguments[name]}: must be true or false")
    return text == "true"


def dotted(key: Key) -> str:
    return ".".join(map(str, key))


def _problems(model: type[BaseModel], layer: Layer, error: ValidationError, file: str) -> list[Problem]:
    found: list[Problem] = []
    for fault in error.errors():
        # Union members and validators add their own parts to a location: keep those that the file has.
        at = tuple(
            part for i, part in enumerate(fault["loc"]) if i == 0 or _exists(layer.values, fault["loc"][: i + 1])
        )
        at = at if fault["type"] != "missing" else fault["loc"]
        place, line = layer.place(at, file)
        if fault["type"] == "extra_forbidden":
            text = f"unknown key{_meant(model, at)}"
        elif fault["type"] == "missing":
            text = "is missing"
        else:
            text = fault["msg"].removeprefix("Value error, ")
            if not isinstance(fault["input"], dict | list | BaseModel):
                text += f" (it is {fault['input']!r})"
            if fault["type"] == "string_type" and isinstance(fault["input"], int | float | date):
                text += ": put it in quotes"
        found.append(Problem(text, place, line, dotted(at)))
    return list(dict.fromkeys(found))


def _exists(values: Any, key: Key) -> bool:
    for part in key:
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _keys(model: type[BaseModel], at: Key) -> list[str]:
    """The field names of the (nested) model that stands at the key `at`."""
    current: Any = model
    for part in at:
        if isinstance(current, type) and issubclass(current, BaseModel) and str(part) in current.model_fields:
            current = _model_in(current.model_fields[str(part)].annotation)
        else:
            current = _model_in(current)
    if not (isinstance(current, type) and issubclass(current, BaseModel)):
        return []
    return [name for name, field_ in current.model_fields.items() if not field_.exclude]


def _meant(model: type[BaseModel], at: Key) -> str:
    """`; did you mean train.lr?` for a key that stands in another section, else the nearest one in its own."""
    elsewhere = [name for name, _ in leaves(model) if name.rpartition(".")[2] == at[-1]]
    if elsewhere:
        return f"; did you mean {' or '.join(elsewhere)}?"
    return nearest(str(at[-1]), _keys(model, at[:-1]))


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """All values of a model and of its sections that a file may set, by their dotted names."""
    for name, field_ in model.model_fields.items():
        inner = field_.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from leaves(inner, f"{prefix}{name}.")
        elif not field_.exclude:
            yield prefix + name, field_


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation
    return next(
        (m for m in map(_model_in, typing.get_args(annotation)) if isinstance(m, type) and issubclass(m, BaseModel)),
        None,
    )
