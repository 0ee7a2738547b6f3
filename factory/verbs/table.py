"""Every verb of the command line, from `table.yaml`: what it does, where it lies, its keys."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from factory.errors import InputError


@dataclass(frozen=True)
class Verb:
    """One verb: what it does, its own keys, and whether it also takes the recipe's keys (`train.lr=2e-4`)."""

    does: str
    module: str
    keys: dict[str, str] = field(default_factory=dict)
    recipe: bool = False
    needs: Sequence[str] = ()
    bare: str = ""  # the key that a text without `key=` is for
    actions: Sequence[str] = ()  # `factory key new …`: one of these words must follow the verb


def whole(key: str, text: str, least: int = 1, most: int = 10**9) -> int:
    """The value of a key that takes a whole number. InputError if it is none, or out of bounds."""
    if not text.isdecimal() or not least <= int(text) <= most:
        raise InputError(f"{key}={text}: must be a whole number from {least} to {most}")
    return int(text)


def _read() -> dict[str, Verb]:
    told = yaml.load(
        Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )
    for verb in told["verbs"].values():
        verb["keys"] = {key: text.format(**told["words"]) for key, text in verb.get("keys", {}).items()}
    return {name: Verb(**verb) for name, verb in told["verbs"].items()}


VERBS = _read()
