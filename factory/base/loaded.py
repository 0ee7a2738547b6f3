"""Bases in the memory of this process, each at most once."""

import functools
from dataclasses import dataclass
from typing import Any

from factory.base.build import Base, load_model, load_tokenizer, prepare
from factory.shares import give_back


@dataclass(frozen=True)
class Loaded:
    """A base with its tokenizer, and its 4-bit model in memory from when it is first asked for."""

    base: Base
    tokenizer: Any

    @functools.cached_property
    def model(self) -> Any:
        return load_model(self.base)


HELD: dict[tuple[str, str], Loaded] = {}  # by name and fingerprint


@functools.cache
def loaded(name: str) -> Loaded:
    """The base by name, loaded at most once: `auto` is the very object that its own name gives."""
    return held(prepare(name))


def held(base: Base) -> Loaded:
    """The same for a base that is prepared."""
    key = base.name, base.fingerprint
    if key not in HELD:
        HELD[key] = Loaded(base, load_tokenizer(base))
    return HELD[key]


def forget() -> None:
    """Give the memory of the loaded models back to the machine, where another process wants it."""
    loaded.cache_clear()
    for one in HELD.values():  # who asks for it again has it loaded again
        vars(one).pop("model", None)
    HELD.clear()
    give_back()
