"""Control tokens: a chat template writes them, and nobody else may. One place for training, grading, judging, serving.

A tokenizer takes `<|im_end|>` for the token wherever it stands, also in what a user wrote. Here such a text is broken
up by a zero-width space after its first character, which reads the same and is plain text for every tokenizer.
"""

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

BREAK = "\u200b"
# The marks of the known families, for models whose tokenizer is not at hand.
_ANY = re.compile(r"<(?=\|)|(?<=\|)>|\[(?=/?INST\])|<(?=/?s>)|<(?=(?:start|end)_of_turn>)|<(?=[be]os>)")


def tokens(tokenizer: Any) -> frozenset[str]:
    """The control tokens of a loaded tokenizer."""
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    return frozenset(token.content for token in added if token.special and len(token.content) > 1)


def tokens_of(folder: Path) -> frozenset[str]:
    """Those of a base in its folder, without loading its tokenizer."""
    path = folder / "tokenizer.json"
    added = json.loads(path.read_text(encoding="utf-8")).get("added_tokens", []) if path.is_file() else []
    return frozenset(t["content"] for t in added if t["special"] and len(t["content"]) > 1)


def first_in(text: str, control: frozenset[str]) -> str:
    """The first control token that stands in a text; empty if there is none."""
    found = _pattern(control).search(text) if control else None
    return found[0] if found else ""


def harmless(text: str, control: frozenset[str] | None = None) -> str:
    """The text with control tokens broken up; without `control` the marks of every known family."""
    if control is None:
        return _ANY.sub(lambda m: m[0] + BREAK, text)
    while control and first_in(text, control):
        text = _pattern(control).sub(lambda m: m[0][0] + BREAK + m[0][1:], text)
    return text


def harmless_in(value: Any, control: frozenset[str]) -> Any:
    """Turns or tools so: every text in them, whatever it is called."""

    def plain(said: Any) -> Any:
        return harmless(said, control) if isinstance(said, str) else said

    return mapped(value, plain, plain)


def mapped(value: Any, leaf: Callable[[Any], Any], key: Callable[[Any], Any] = lambda key: key) -> Any:
    """A value as JSON has it, with `leaf` of everything in it that holds nothing, and `key` of every key."""
    if isinstance(value, list | tuple):
        return [mapped(one, leaf, key) for one in value]
    if isinstance(value, dict):
        return {key(name): mapped(one, leaf, key) for name, one in value.items()}
    return leaf(value)


@functools.lru_cache(16)
def _pattern(control: frozenset[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, sorted(control, key=len, reverse=True))))
