"""What counts as the same text: the words of a text without case, punctuation and layout."""

from __future__ import annotations

import re
import unicodedata

_HAN = re.compile("([\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])")
# Numbers keep what stands between their digits, and signs that carry meaning stay: 5-3 is not 5+3, nor 1.5 15.
_WORD = re.compile(r"\d+(?:[.,:/-]\d+)+|[^\W_]+|[+<>=*/%$€£#@&|^~\\]")


def words(text: str) -> list[str]:
    """The words of `text`: NFKC, case folded; each Chinese character or Japanese kana is a word."""
    if not text.isascii():
        text = _HAN.sub(r" \1 ", unicodedata.normalize("NFKC", text))
    return _WORD.findall(text.casefold())


def normal(text: str) -> str:
    """The one form of all texts that differ in case, punctuation and layout alone."""
    return " ".join(words(text)) or "".join(text.split())


def shingles(tokens: list[str], size: int = 5) -> set[str]:
    """Every run of `size` words; a shorter text is one shingle."""
    if len(tokens) <= size:
        return {" ".join(tokens)}
    return {" ".join(tokens[i : i + size]) for i in range(len(tokens) - size + 1)}


def jaccard(a: set[str], b: set[str]) -> float:
    both = len(a & b)
    return both / (len(a) + len(b) - both) if both else 0.0
