"""The faults of form and language that a pattern can see, as tables: what it is called, the pattern, how bad it is."""

import re

from evals.grades import Band, Grade
from evals.languages import ENGLISH, UNSPACED

DANGLING, ENDING = ENGLISH["dangling"], ENGLISH["ending"]

FORM_FAULTS: list[tuple[str, re.Pattern[str], Band]] = [
    (
        "begins with a greeting",
        re.compile(
            r"^\W*(?:(?:hi|hello|hey|dear|good (?:morning|afternoon|evening)|hallo|liebe[rs]?|guten (?:tag|morgen))\b"
            r"|[各大]位好|大家好|您好|你好|こんにちは|皆さん|皆様|สวัสดี|नमस्ते|مرحبا|السلام عليكم)",
            re.I,
        ),
        "poor",
    ),
    (
        "talks about itself",
        re.compile(r"\b(?:here(?:'s| is) (?:a|the|your) (?:short )?summary|as an ai|summary:)", re.I),
        "poor",
    ),
    ("header lines", re.compile(r"(?:^|\n)\s*(?:from|to|subject|date|cc)\s*:", re.I), "poor"),
    ("markup", re.compile(r"\*\*|__|```|^#{1,6} |^\s*[-*•] |</?[a-z]+>|\[[^\]]+\]\([^)]+\)", re.M), "poor"),
    ("template marks", re.compile(r"<\|[^|]*\|>|\{\{[^{}]*\}\}"), "poor"),
    ("signs off", re.compile(r"\b(?:best|kind|warm) regards\b|\bcheers,|\bthanks,\s*$|\byours\b", re.I), "poor"),
    ("several lines", re.compile(r"\S\s*\n\s*\S"), "average"),
    ("quoted as a whole", re.compile(r"^\s*[\"“].*[\"”]\s*$", re.S), "average"),
]
_ENDED = rf".!?…。！？।॥؟۔)\"'”’」』\s{UNSPACED}"  # Thai and its neighbours end sentences without a mark
LANGUAGE_FAULTS: list[tuple[str, re.Pattern[str], Band]] = [
    ("not a text", re.compile(r"^\W*$|�"), "poor"),
    ("breaks off", re.compile(r"[,;:(\-–—，；：、（،]\s*$"), "poor"),
    ("a word doubled", re.compile(r"\b([A-Za-zÀ-ɏ]{2,})\s+\1\b", re.I), "average"),
    ("no full stop at the end", re.compile(rf"[^{_ENDED}]\s*$"), "average"),
    ("doubled punctuation", re.compile(r",,|;;|(?<!\.)\.\.(?!\.)|,\.|\.,|\s[,;.!?](?:\s|$)|，，|。。|、、"), "average"),
    ("begins in lower case", re.compile(r"^\s*[a-z]+\b(?![A-Z\d])"), "average"),
]
ENGLISH_FAULTS: list[tuple[str, re.Pattern[str], Band]] = [
    ("breaks off", re.compile(r"\b(?:" + "|".join(sorted(DANGLING - ENDING)) + r")\W*$", re.I), "poor"),
    ("breaks off", re.compile(r"\b(?:" + "|".join(sorted(ENDING)) + r")[^\w.!?]*$", re.I), "poor"),
]


def fault(output: str, faults: list[tuple[str, re.Pattern[str], Band]]) -> Grade | None:
    """The worst fault of a table that the output has, or None."""
    found = [(level, why, match) for why, pattern, level in faults if (match := pattern.search(output))]
    if not found:
        return None
    level, why, match = min(found, key=lambda f: f[0] != "poor")
    return Grade(level, why, [e for e in [match.group().strip()[:60]] if e])
