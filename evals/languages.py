"""What the checks know of languages: which a text is in, its days and months, its numbers in words, its clock times.

Read are English, German, Chinese, Japanese, Thai, Hindi and Arabic. Other languages are told apart from these, so that
a check can abstain where it would only guess. In scripts without spaces there are no words to tell: there a day or a
fact stands in a text if its characters do.
"""

import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import regex
import yaml

CJK = "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer: about four letters a word
SPACELESS = CJK + UNSPACED

_SCRIPTS = {
    "ja": regex.compile(r"[\p{Hiragana}\p{Katakana}]"),
    "zh": regex.compile(r"\p{Han}"),
    "th": regex.compile(r"\p{Thai}"),
    "hi": regex.compile(r"\p{Devanagari}"),
    "ar": regex.compile(r"\p{Arabic}"),
    "en": regex.compile(r"\p{Latin}"),
}
_KNOWN: dict[str, Any] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
_FUNCTION_WORDS: dict[str, set[str]] = {name: {*words.split()} for name, words in _KNOWN["function_words"].items()}
DAY_KEYS = {form: day for day, forms in _KNOWN["days"].items() for form in forms.split()}
ENGLISH = {what: frozenset(words.split()) for what, words in _KNOWN["english"].items()}
ASSISTANTS: list[str] = _KNOWN["assistants"]
_LETTER = r"[\p{L}\p{M}]"
# Arabic joins "and", "in", "for" to a word; a German day begins longer words; 周一次 is "once a week".
DAY = regex.compile(
    "|".join(
        (rf"(?<![一每两几])(?:{'|'.join(f for f in DAY_KEYS if re.match(f'[{CJK}]', f))})(?![次遍回趟])",
         "|".join(sorted((f for f in DAY_KEYS if re.match(f"[{UNSPACED}]", f)), key=len, reverse=True)),
         rf"(?<!{_LETTER})(?:{'|'.join(f for f in DAY_KEYS if re.match('[ऀ-ॿ]', f))})(?!{_LETTER})",
         rf"(?<=(?<!{_LETTER})[وفبلك]{{0,2}})(?:{'|'.join(f for f in DAY_KEYS if re.match('[؀-ۿ]', f))})(?!{_LETTER})",
         rf"(?<!{_LETTER})(?:{'|'.join(f for f in DAY_KEYS if f.isascii() or 'ä' in f or 'ü' in f)})(?:s|abend|morgen)?"
         rf"(?!{_LETTER})")
    )
)  # fmt: skip
_HALF = {word: half for half, words in _KNOWN["halves"].items() for word in words.split()}
_SAID = "|".join(sorted(_HALF, key=len, reverse=True))
CLOCK = re.compile(
    rf"(?P<half>{_SAID})?\s?(?P<hour>\d{{1,2}})\s?(?:[点點时]|時(?!間))(?:\s?(?P<minute>\d{{1,2}})\s?分?|(?P<thirty>半))?"
    rf"|(?P<half2>{_SAID})?\s?(?P<hour2>\d{{1,2}})(?:[:.](?P<minute2>\d{{2}}))?\s?(?:बजे|Uhr\b|น\.)"
    rf"|(?P<hour3>\d{{1,2}}):(?P<minute3>\d{{2}})\s?(?P<half3>{_SAID})"
)
_VALUES = [*map(str, [*range(2, 21), *range(30, 100, 10), 100, 1000])]
NUMBER_WORDS = {name: dict(zip(words.split(), _VALUES, strict=False)) for name, words in _KNOWN["numbers"].items()}
_HAN = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2, "兩": 2}
_HAN_NUMBER = re.compile("[零〇一二两兩三四五六七八九十百千]+")


def language(text: str) -> str:
    """Which language a text is in, as `en`, `zh` …; `other` for scripts that are not read here. Latin letters without a
    telling word count as English, no letters at all as none ("")."""
    counts = {name: len(script.findall(text)) for name, script in _SCRIPTS.items()}
    letters = sum(c.isalpha() for c in text)
    if not letters:
        return ""
    if counts["ja"] * 5 > counts["zh"]:
        counts["ja"] += counts["zh"]
    best = max(counts, key=lambda name: counts[name])
    if counts[best] * 3 < letters:
        return "other"
    if best != "en":
        return best
    said = Counter(re.findall(r"[^\W\d_]+", text.lower()))
    hits = {name: sum(said[word] for word in words) for name, words in _FUNCTION_WORDS.items()}
    hits["en"] += 1  # short words of one language are those of another
    return max(hits, key=lambda name: (hits[name], name == "en"))


def clock_times(text: str) -> list[tuple[re.Match[str], int, int, str]]:
    """Clock times in the ways of other languages, as (match, hour, minute, "a", "p" or "")."""
    found = []
    for m in CLOCK.finditer(text):
        part = {name.rstrip("23"): value for name, value in m.groupdict().items() if value}
        minute = 30 if "thirty" in part else int(part.get("minute", 0))
        found.append((m, int(part["hour"]), minute, _HALF.get(part.get("half", ""), "")))
    return found


def spelt(text: str) -> set[str]:
    """The numbers that stand in a text as words, of any language that is read, as digits."""
    text = DAY.sub(" ", text)
    said = {*regex.findall(r"[\p{L}\p{M}]+", text.lower())}
    known = {
        v for name, words in NUMBER_WORDS.items() for w, v in words.items() if w in (text if name == "th" else said)
    }
    return known | {str(_han(m.group())) for m in _HAN_NUMBER.finditer(text)}


def _han(numeral: str) -> int:
    if not any(c in "十百千" for c in numeral):
        return int("".join(str(_HAN[c]) for c in numeral))
    total, digit = 0, 0
    for c in numeral:
        if unit := {"十": 10, "百": 100, "千": 1000}.get(c):
            total, digit = total + (digit or 1) * unit, 0
        else:
            digit = _HAN[c]
    return total + digit


def ascii_digits(text: str) -> str:
    """Digits and separators of every script as those of English."""
    text = re.sub(r"\d", lambda m: str(unicodedata.decimal(m[0])), text)
    return text.replace("٫", ".").replace("٬", ",")


def unvowelled(text: str) -> str:
    """Arabic without the vowel marks that may be written or not."""
    return re.sub("[\u064b-\u0652\u0640]", "", text)
