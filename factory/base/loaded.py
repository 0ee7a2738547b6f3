"""Bases in the memory of this process, each at most once."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from factory.base.build import Base, load_model, load_tokenizer, prepare
from factory.shares import give_back


@dataclass(frozen=True)
class Loaded:
    """A base with its 4-bit model and tokenizer in memory."""

    base: Base
    model: Any
    tokenizer: Any


HELD: dict[tuple[str, str], Loaded] = {}  # by name and fingerprint


@functools.cache
def loaded(name: str) -> Loaded:
    """The base by name, loaded at most once: `auto` is the very object that its own name gives."""
    return held(prepare(name))


def held(base: Base) -> Loaded:
    """The same for a base that is prepared."""
    key = base.name, base.fingerprint
    if key not in HELD:
        HELD[key] = Loaded(base, load_model(base), load_tokenizer(base))
    return HELD[key]


def forget() -> None:
    """Give the memory of the loaded models back to the machine, where another process wants it."""
    loaded.cache_clear()
    HELD.clear()
    give_back()
