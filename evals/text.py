"""Reading details out of texts, so that one text can be held against another without a model.

Known limits, so that nobody trusts it too far: a capitalised word at the head of a sentence is taken for a name only
where what follows says so ("Maya Chen ...", "Maya needs ..."), a wrong verb or a swapped subject is not seen, and a sum
that was worked out ("three parcels" for a list of three) counts as not in the source. Judges and people see the rest.
"""

import re
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher

import regex

from evals.grades import Grade
from evals.languages import (
    CJK,
    CLOCK,
    DAY,
    DAY_KEYS,
    ENGLISH,
    NUMBER_WORDS,
    SPACELESS,
    UNSPACED,
    ascii_digits,
    clock_times,
    language,
    spelt,
    unvowelled,
)

_L = rf"(?![{SPACELESS}])[\p{{L}}\p{{N}}\p{{M}}]"
WORD = regex.compile(rf"[{SPACELESS}]\p{{M}}*|(?:{_L})+(?:['’](?:{_L})+)*")
NO_SPACES = re.compile(f"[{SPACELESS}]")
_CJK, _UNSPACED = re.compile(f"[{CJK}]"), re.compile(f"[{UNSPACED}]")
SLOT = re.compile(r"\{\{[^{}]*\}\}|\{[a-z_]+\}|<(?:name|author)>|\[(?:name|author|NAME|AUTHOR)\]")
TIME = re.compile(r"(?<![\w:.])(\d{1,2})(?:[:.h](\d{2}))?\s?([ap])\.?m\b\.?|(?<![\w:])(\d{1,2}):(\d{2})(?![\w:])", re.I)
_C = rf"[^\W_{SPACELESS}]"
CODE = re.compile(rf"(?:{_C}+[-/])*{_C}*\d(?:(?:{_C}|[_.,/:%-])*{_C})?")
DAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
MONTHS = "january february march april may june july august september october november december".split()
DATE = re.compile(
    r"\b(?:(mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?s?|"
    r"(jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)|(today|tonight|tomorrow|yesterday|noon|midday|midnight))\b",
    re.I,
)
_SENTENCE = re.compile(r"(?<=[.!?…؟۔])[\"'”’)]*\s+(?=\S)|(?<=[。！？।॥])|\n+")
_ABBREVIATED = re.compile(r"\b(?:[ap]\.m|Mr|Mrs|Ms|Dr|St|No|vs|e\.g|i\.e|approx|etc)\.$", re.I)
_DENIED = re.compile(r"\b(?:not|no|nor|never|neither|unlike)\b|n['’]t\b", re.I)
_STATED = re.compile(r"\b(?:am|is|are|was|were|made|built|developed|created)\b|['’]m\b", re.I)


def words(text: str) -> list[str]:
    """The words, lower case; in scripts without spaces every character counts as one."""
    return list(WORD.findall(text.lower()))


def count(text: str) -> int:
    """How many words a reader would count: runs between white space; in Chinese and Japanese, characters; in Thai and
    its neighbours a fourth of the letters."""
    return sum(len(_CJK.findall(token)) + -(-len(_UNSPACED.findall(token)) // 4) or 1 for token in text.split())


def sentences(text: str) -> list[str]:
    found: list[str] = []
    for part in _SENTENCE.split(text.strip()):
        if found and _ABBREVIATED.search(found[-1]) and not part[:1].isupper():
            found[-1] += " " + part
        elif part.strip():
            found.append(part.strip())
    return found


def holds(text: str, phrase: str) -> bool:
    """Whether the phrase stands in the text as whole words, whatever the case and the white space. Scripts without
    spaces have no words to be whole; Arabic joins small ones to the front, and may leave its vowel marks out."""
    text, phrase = unvowelled(text), unvowelled(phrase)
    pattern = r"\s+".join(map(regex.escape, phrase.split()))
    left = r"(?<![\p{L}\p{N}\p{M}])" if phrase[:1].isalnum() else ""
    right = r"(?![\p{L}\p{N}\p{M}])" if phrase[-1:].isalnum() or regex.search(r"\p{M}$", phrase) else ""
    if "\u0600" <= phrase[:1] <= "\u06ff":
        left = r"(?<=(?<![\p{L}\p{M}])[وفبلك]{0,2})"
    if NO_SPACES.search(phrase):
        left, right = r"(?<!\d)" if phrase[0].isdigit() else "", r"(?!\d)" if phrase[-1].isdigit() else ""
    return regex.search(left + pattern + right, text, regex.I) is not None


def times(text: str) -> list[tuple[str, int, int, str]]:
    """Clock times as (as written, hour, minute, "a", "p" or "")."""
    others = clock_times(text)
    found = [(m.group().strip(), hour, minute, half) for m, hour, minute, half in others]
    for m in TIME.finditer(CLOCK.sub(" ", text)):
        hour, minute, half = m.group(1) or m.group(4), m.group(2) or m.group(5) or "0", (m.group(3) or "").lower()
        found.append((m.group().strip(" ."), int(hour), int(minute), half))
    return found


def unknown_numbers(output: str, source: str) -> list[str]:
    """Times, numbers, amounts and codes of the output that are not in the source, as written."""
    source_times = times(source)
    missing = [t[0] for t in times(output) if not any(_same_time(t, s) for s in source_times)]
    rest = TIME.sub(" ", CLOCK.sub(" ", output))
    known = {c for token in CODE.findall(source) for c in _codes(token)} | spelt(source)
    known |= {str(hour) for _, hour, _, _ in source_times} | {"12" for w in words(source) if w in ("noon", "midday")}
    missing += [token for token in CODE.findall(rest) if not known.intersection(_readings(token))]
    values = NUMBER_WORDS.get(language(output), {}) if language(output) in ("en", "de") else {}
    said = set(words(source))
    missing += [w for w in words(rest) if w in values and w not in said and values[w] not in known]
    return list(dict.fromkeys(missing))


def unknown_dates(output: str, source: str) -> list[str]:
    """Weekdays, months and relative days of the output that are not in the source, as written."""
    known = {key for _, key in days(source, DATE.finditer(source))}  # whatever their case
    months = {
        str(int(m)) for m in re.findall(r"\b\d{4}-(\d{2})-\d{2}\b|\b\d{1,2}[./](\d{1,2})[./]", source) for m in m if m
    }
    known |= {MONTHS[int(m) - 1][:3] for m in months if 1 <= int(m) <= 12}
    if any(t[1:3] == (12, 0) or t[1:3] == (0, 0) for t in times(source)):
        known |= {"noon", "midnight", "midday"}
    return list(dict.fromkeys(m.group() for m, key in days(output) if key not in known))


def unknown_names(output: str, source: str) -> list[str]:
    """Capitalised names of the output, word by word, that the source does not have in any case. In German, where every
    noun has a capital, only words of a run of two capitals or more are names."""
    known = set(words(source)) | {part for w in words(source) for part in re.split(r"['’]", w)}
    found = list(name_words(output, source))
    if language(f"{source} {output}") == "de":
        ends = {start + len(word): i for i, (start, word) in enumerate(found)}
        runs = {
            (ends[start - 1], i)
            for i, (start, _) in enumerate(found)
            if output[start - 1 : start] == " " and start - 1 in ends
        }
        found = [found[i] for i in sorted({i for run in runs for i in run})]
    return list(dict.fromkeys(word for _, word in found if word.lower() not in known))


def name_words(output: str, source: str) -> Iterator[tuple[int, str]]:
    """The capitalised words of the output that are names, without a possessive s, and where they start."""
    at = 0
    for sentence in sentences(output):
        tokens = list(WORD.finditer(sentence))
        for i, match in enumerate(tokens):
            start = output.index(match.group(), at)
            at = start + len(match.group())
            word = re.sub(r"['’]s$", "", match.group())
            if not word[0].isupper() or any(c.isdigit() for c in word) or len(word) < 2 or word in ("OK", "AM", "PM"):
                continue
            if DATE.fullmatch(word) or NO_SPACES.search(word):
                continue
            head = i == 0 or sentence[: match.start()].rstrip().endswith((":", "“", '"', "("))
            if not head or _is_name(sentence, tokens, i, source):
                yield start, word


def claimed(output: str, others: list[str]) -> list[str]:
    """The names among `others` that the output mentions without denying them in the same clause."""
    found = []
    for sentence in sentences(output):
        for name in others:
            for m in re.finditer(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", sentence, re.I):
                *before, clause = re.split(r"[,;:]|\bbut\b", sentence[: m.start()])
                said_of = [clause] if _STATED.search(clause) else [*before[-2:], clause]
                if not any(_DENIED.search(c) for c in said_of):
                    found.append(name)
    return list(dict.fromkeys(found))


def repetition(output: str) -> Grade | None:
    """A sentence said twice, or four words running said twice (in scripts without spaces, twelve letters)."""
    seen: set[str] = set()
    for sentence in sentences(output):
        key = " ".join(words(sentence))
        if key in seen:
            return Grade("poor", "a sentence said twice", [sentence])
        seen.add(key)
    tokens = words(output)
    size = 12 if NO_SPACES.search(output) else 4  # of letters, or of words
    grams: set[tuple[str, ...]] = set()
    for i in range(len(tokens) - size + 1):
        gram = tuple(tokens[i : i + size])
        if gram in grams:
            return Grade("poor", "said twice", [" ".join(gram)])
        grams.add(gram)
    return None


def longest_run(output: str, source: str) -> tuple[float, str]:
    """The longest run of words that both have: its share of the source's words, and the run itself."""
    a, b = words(source), words(output)
    match = SequenceMatcher(None, a, b, autojunk=False).find_longest_match()
    return match.size / max(1, len(a)), " ".join(a[match.a : match.a + match.size])


def _same_time(a: tuple[str, int, int, str], b: tuple[str, int, int, str]) -> bool:
    """2:15 pm is 14:15 and 2.15pm; a time without its half of the day agrees with either."""
    (_, hour_a, minute_a, half_a), (_, hour_b, minute_b, half_b) = a, b
    if minute_a != minute_b or hour_a % 12 != hour_b % 12 or (hour_a != hour_b and max(hour_a, hour_b) > 24):
        return False
    half_a = half_a or ("p" if 12 < hour_a < 24 else "")
    half_b = half_b or ("p" if 12 < hour_b < 24 else "")
    return not half_a or not half_b or half_a == half_b


def _codes(token: str) -> set[str]:
    """A token with digits in every spelling, and its parts if it is no number: 1,250.00 is 1250, B-204 B and 204."""
    said = ascii_digits(token).strip(".,:/-%").lower()
    if re.fullmatch(r"[\d.,]+", said):
        return _readings(token)
    return {*_readings(token), said, *(p.lstrip("0") or "0" for p in re.split(r"[-/:.,]", said) if p)}


def _readings(token: str) -> set[str]:
    """What a token says: a number with English or German separators in one spelling, an ordinal its number."""
    token = ascii_digits(token).strip(".,:/-%").lower()
    plain = {token.replace(",", "")} if re.fullmatch(r"\d{1,3}(?:,\d{2,3})+(?:\.\d+)?|\d+(?:\.\d+)?", token) else set()
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})+(?:,\d+)?|\d+,\d+", token):
        plain.add(token.replace(".", "").replace(",", "."))
    if ordinal := re.fullmatch(r"(\d+)(?:st|nd|rd|th)", token):
        return {ordinal.group(1)}
    return {n.rstrip("0").rstrip(".") if "." in n else n.lstrip("0") or "0" for n in plain} or {token}


def days(text: str, english: Iterable[re.Match[str]] | None = None) -> list[tuple[re.Match[str], str]]:
    """Days and months in the text with what they are in every language that is read: `mon`, `jan`, `today` …"""
    plain = dates(text) if english is None else english
    found = [(m, m.group(3).lower() if m.group(3) else (m.group(1) or m.group(2)).lower()[:3]) for m in plain]
    for m in DAY.finditer(text):
        if not any(m.start() < other.end() and other.start() < m.end() for other, _ in found):
            found.append((m, next(key for form, key in DAY_KEYS.items() if m.group().startswith(form))))
    return sorted(found, key=lambda day: day[0].start())


def dates(text: str) -> list[re.Match[str]]:
    """Days and months in the text; those whose short form is also an ordinary word only where capitalised."""
    return [
        m
        for m in DATE.finditer(text)
        if m.group(3) or m.group()[0].isupper() or m.group().lower() in DAYS
        if not (m.group() == "May" and not text[: m.start()].strip())
    ]


def _is_name(sentence: str, tokens: list[re.Match[str]], i: int, source: str) -> bool:
    """Whether the word at a sentence's head is a name, by what follows it.

    Before a name that the source has by itself ("Ask Boris") it is a verb; before one that stands there only as the
    second part ("Anna Werner" for "Boris Werner") it is a name.
    """
    word, follow = tokens[i].group(), tokens[i + 1].group() if i + 1 < len(tokens) else ""
    if re.search(r"['’]s$", word) and word.lower() not in ("it's", "that's", "here's", "there's", "let's", "what's"):
        return True
    between = sentence[tokens[i].end() : tokens[i + 1].start()] if follow else ""
    plain = len(follow) > 1 and not any(c.isdigit() for c in follow) and not DATE.fullmatch(follow)
    capital = plain and follow[0].isupper() and between == " "
    if not capital or follow == "I":
        return follow in ENGLISH["person_verbs"]
    alone = re.search(rf"(?:^|[^\w\s]\s*|\b[a-z]\w*\s+){re.escape(follow)}\b", source, re.M)
    known = ENGLISH["orders"] | ENGLISH["roles"] | ENGLISH["dangling"]
    return word.lower() not in known and not alone
