"""What counts as the same text, in every step that compares texts: its words, without case, punctuation and layout.

Digits, signs and operators, brackets, symbols, emoji and the combining marks of every script are never folded away, nor
is the case where it alone tells two rows apart (`dedup.same_question`). In scripts without spaces each character is a
word. What many rows share at their beginning or end is an instruction, and no part of what one of them says
(`unshared`).
"""

import unicodedata
from itertools import accumulate, groupby, pairwise

import regex
from rapidfuzz.distance import Prefix

# Full and half width, ligatures and presentation forms are ways to write; superscripts and fractions are not.
_WRITTEN: dict[int, str | None] = {
    ord(c): unicodedata.normalize("NFKC", c) for c in ("\u3000", *map(chr, range(0xFB00, 0xFFF0)))
}
_WRITTEN |= dict.fromkeys(map(ord, "\u2010\u2011\u2013\u2212"), "-")
_UNSEEN = "\u00ad\u034f\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2060\ufeff\ufffc"
_WRITTEN |= dict.fromkeys([*map(ord, _UNSEEN), *range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xFE00, 0xFE10)])
SPACELESS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\u30fc"
_WORD = regex.compile(
    rf"""
    \d+(?:[.,:/-]\d+)+                                             # numbers keep what stands between their digits
    | [{SPACELESS}]\p{{M}}*
    | [[\p{{L}}\p{{N}}]--[{SPACELESS}]][[\p{{L}}\p{{N}}\p{{M}}\u200c\u200d]--[{SPACELESS}]]*
    | \p{{M}}+
    | [[\p{{S}}*/%#@&\\()\[\]{{}}§‰]--[`´¨¸¯˚]](?:\u200d\p{{S}}|[\U000e0020-\U000e007f])*
    | (?<=[\d)\]}}]\s*)- | -(?=\s*[\d(\[{{.]) | (?<=(?<!\w)\w\s*)-(?=\s*\w(?!\w)) | (?<=\w)-- | --(?=\w)
    | !(?=[\w=(\[]) | (?<=\d)! | (?<=[\[(]): | :(?=[\])]) | (?<![\w.,])[.,](?=\d) | (?<=\w)_(?=\w) | __
    """,
    regex.VERBOSE | regex.VERSION1,
)
COMMON = 0.02  # of the rows: what more than these, and more than 3, begin or end with is no part of what one says
LONG = 8  # words of such a beginning or end at least


def words(text: str, fold: bool = True) -> list[str]:
    """The words of `text`; with their case if not `fold`."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text.translate(_WRITTEN))
    found: list[str] = _WORD.findall(text.casefold() if fold else text)
    return found


def normal(text: str) -> str:
    """The one form of all texts that differ in case, punctuation and layout alone."""
    return " ".join(words(text)) or "".join(text.split())


def shingles(tokens: list[str]) -> set[str]:
    """Every run of five words; a shorter text is one shingle."""
    return {" ".join(tokens[i : i + 5]) for i in range(max(1, len(tokens) - 4))}


def jaccard(a: set[str], b: set[str]) -> float:
    both = len(a & b)
    return both / (len(a) + len(b) - both) if both else 0.0


def unshared(texts: list[str]) -> list[str]:
    """Texts in normal form, each without the beginning and the end that many of them share; whole if nothing is left.

    Rows share a beginning where they part after it in many ways. Copies of one row do not part so: they stay whole.
    """
    begun = [text[n:].strip() for text, n in zip(texts, _beginnings(texts), strict=True)]
    turned = [" ".join(reversed(text.split(" "))) for text in begun]
    ended = [text[n:].strip() for text, n in zip(turned, _beginnings(turned), strict=True)]
    return [" ".join(reversed(left.split(" "))) or text for left, text in zip(ended, texts, strict=True)]


def _beginnings(texts: list[str]) -> list[int]:
    """For each text the length of the longest beginning, in whole words, that many share and then go on differently."""
    order = sorted(range(len(texts)), key=texts.__getitem__)
    limit = max(3, COMMON * len(texts))
    found = [0] * len(texts)
    ranges = [(0, len(order))] if len(texts) > limit else []
    while ranges:
        low, high = ranges.pop()
        one, two = (f"{texts[order[i]]} " for i in (low, high - 1))
        shared = one[: Prefix.similarity(one, two)]
        depth = shared.rfind(" ") + 1
        following = groupby(_word_at(texts[i], depth) for i in order[low:high])
        parted = [*pairwise(accumulate((len([*same]) for _, same in following), initial=low))]
        if len(parted) > 1 and shared.count(" ") >= LONG and max(e - s for s, e in parted) <= (high - low) / 2:
            for i in order[low:high]:
                found[i] = depth
        if len(parted) > 1:
            ranges += [(s, e) for s, e in parted if e - s > limit]
    return found


def _word_at(text: str, at: int) -> str:
    end = text.find(" ", at)
    return text[at:] if end < 0 else text[at:end]
