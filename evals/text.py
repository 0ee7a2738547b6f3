"""Reading details out of texts, so that one text can be held against another without a model.

Known limits, so that nobody trusts it too far: a capitalised word at the head of a sentence is taken for a name only
where what follows says so ("Maya Chen ...", "Maya needs ..."), a wrong verb or a swapped subject is not seen, and a sum
that was worked out ("three parcels" for a list of three) counts as not in the source. Judges and people see the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher

from evals.grades import Band, Grade

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*", re.UNICODE)
CJK = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
SLOT = re.compile(r"\{\{[^{}]*\}\}|\{[a-z_]+\}|<(?:name|author)>|\[(?:name|author|NAME|AUTHOR)\]")
TIME = re.compile(r"(?<![\w:.])(\d{1,2})(?:[:.h](\d{2}))?\s?([ap])\.?m\b\.?|(?<![\w:])(\d{1,2}):(\d{2})(?![\w:])", re.I)
CODE = re.compile(r"(?:[^\W_]+[-/])*[^\W_]*\d(?:[\w.,/:%-]*\w)?")
NUMBER_WORDS = dict(
    zip(
        "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
        " eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand".split(),
        [*map(str, [*range(2, 21), *range(30, 100, 10), 100, 1000])],
        strict=True,
    )
)
DAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
MONTHS = "january february march april may june july august september october november december".split()
DATE = re.compile(
    r"\b(?:(mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?s?|"
    r"(jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)|(today|tonight|tomorrow|yesterday|noon|midday|midnight))\b",
    re.I,
)
# After a sentence's first word these show that it was somebody: "Maya needs the report".
PERSON_VERBS = frozenset(
    "needs wants asks asked says said wrote writes requests requested invites invited reports reported expects expected"
    " confirms confirmed will sent brings delivers sends".split()
)
# ... and these that it was an order, not a name: "Ask Boris Werner".
ORDERS = frozenset(
    "answer ask book bring call check collect confirm contact email find give help inform invite join let meet message"
    " notify order pay phone pick remind reply return see send sign tell text thank use visit wait write".split()
)
# ... and these that it says who somebody is: "Customer Boris Werner".
ROLES = frozenset(
    "agent customer director doctor driver guest manager mr mrs ms owner passenger patient sender".split()
)
DANGLING = frozenset("the a an to by of in on at for with and or but from because that is are was will".split())
ENDING = frozenset("on in that are".split())  # of these, what ends a sentence too: "Please go on."
OTHERS = (
    "ChatGPT,GPT-3,GPT-4,GPT-5,OpenAI,Claude,Anthropic,Gemini,Bard,Google,DeepMind,Llama,Meta AI,Copilot,"
    "Microsoft,Qwen,Tongyi,Alibaba,"
    "DeepSeek,Mistral,Grok,xAI,Siri,Apple,Alexa,Amazon,ChatGLM,Zhipu,Ernie Bot,Baidu,Kimi,Moonshot,Cohere,Gemma"
).split(",")
_SENTENCE = re.compile(r"(?<=[.!?…])[\"'”’)]*\s+(?=\S)|(?<=[。！？])|\n+")
_ABBREVIATED = re.compile(r"\b(?:[ap]\.m|Mr|Mrs|Ms|Dr|St|No|vs|e\.g|i\.e|approx|etc)\.$", re.I)
_DENIED = re.compile(r"\b(?:not|no|nor|never|neither|unlike)\b|n['’]t\b", re.I)
_STATED = re.compile(r"\b(?:am|is|are|was|were|made|built|developed|created)\b|['’]m\b", re.I)

FORM_FAULTS: list[tuple[str, re.Pattern[str], Band]] = [
    (
        "begins with a greeting",
        re.compile(r"^\W*(?:hi|hello|hey|dear|good (?:morning|afternoon|evening))\b", re.I),
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
LANGUAGE_FAULTS: list[tuple[str, re.Pattern[str], Band]] = [
    ("not a text", re.compile(r"^\W*$|�"), "poor"),
    ("breaks off", re.compile(r"\b(?:" + "|".join(sorted(DANGLING - ENDING)) + r")\W*$", re.I), "poor"),
    ("breaks off", re.compile(r"\b(?:" + "|".join(sorted(ENDING)) + r")[^\w.!?]*$", re.I), "poor"),
    ("breaks off", re.compile(r"[,;:(\-–—]\s*$"), "poor"),
    ("a word doubled", re.compile(r"\b([^\W\d_]{2,})\s+\1\b", re.I), "average"),
    ("no full stop at the end", re.compile(r"[^.!?…。！？)\"'”’\s]\s*$"), "average"),
    ("doubled punctuation", re.compile(r",,|;;|(?<!\.)\.\.(?!\.)|,\.|\.,|\s[,;.!?](?:\s|$)"), "average"),
    ("begins in lower case", re.compile(r"^\s*[a-z]+\b(?![A-Z\d])"), "average"),
]


def fault(output: str, faults: list[tuple[str, re.Pattern[str], Band]]) -> Grade | None:
    """The worst fault of a table that the output has, or None."""
    found = [(level, why, match) for why, pattern, level in faults if (match := pattern.search(output))]
    if not found:
        return None
    level, why, match = min(found, key=lambda f: f[0] != "poor")
    return Grade(level, why, [e for e in [match.group().strip()[:60]] if e])


def words(text: str) -> list[str]:
    """The words, lower case; in scripts without spaces every character counts as one."""
    return [w for token in WORD.findall(text.lower()) for w in (CJK.findall(token) if CJK.search(token) else [token])]


def count(text: str) -> int:
    """How many words a reader would count: runs between white space; in scripts without spaces, characters."""
    return sum(len(CJK.findall(token)) or 1 for token in text.split())


def sentences(text: str) -> list[str]:
    found: list[str] = []
    for part in _SENTENCE.split(text.strip()):
        if found and _ABBREVIATED.search(found[-1]) and not part[:1].isupper():
            found[-1] += " " + part
        elif part.strip():
            found.append(part.strip())
    return found


def holds(text: str, phrase: str) -> bool:
    """Whether the phrase stands in the text as whole words, whatever the case and the white space."""
    pattern = r"\s+".join(map(re.escape, phrase.split()))
    left, right = (r"(?<![^\W_])" if phrase[:1].isalnum() else ""), (r"(?![^\W_])" if phrase[-1:].isalnum() else "")
    if CJK.search(phrase):
        left = right = ""
    return re.search(left + pattern + right, text, re.I) is not None


def times(text: str) -> list[tuple[str, int, int, str]]:
    """Clock times as (as written, hour, minute, "a", "p" or "")."""
    found = []
    for m in TIME.finditer(text):
        hour, minute, half = m.group(1) or m.group(4), m.group(2) or m.group(5) or "0", (m.group(3) or "").lower()
        found.append((m.group().strip(" ."), int(hour), int(minute), half))
    return found


def unknown_numbers(output: str, source: str) -> list[str]:
    """Times, numbers, amounts and codes of the output that are not in the source, as written."""
    source_times = times(source)
    missing = [t[0] for t in times(output) if not any(_same_time(t, s) for s in source_times)]
    rest = TIME.sub(" ", output)
    known = {c for token in CODE.findall(source) for c in _codes(token)}
    known |= {NUMBER_WORDS[w] for w in words(source) if w in NUMBER_WORDS}
    known |= {str(hour) for _, hour, _, _ in source_times} | {"12" for w in words(source) if w in ("noon", "midday")}
    missing += [token for token in CODE.findall(rest) if _codes(token)[0] not in known]
    spelt = set(words(source))
    missing += [w for w in words(rest) if w in NUMBER_WORDS and w not in spelt and NUMBER_WORDS[w] not in known]
    return list(dict.fromkeys(missing))


def unknown_dates(output: str, source: str) -> list[str]:
    """Weekdays, months and relative days of the output that are not in the source, as written."""
    known = {_date(m) for m in DATE.finditer(source)}
    months = {
        str(int(m)) for m in re.findall(r"\b\d{4}-(\d{2})-\d{2}\b|\b\d{1,2}[./](\d{1,2})[./]", source) for m in m if m
    }
    known |= {MONTHS[int(m) - 1][:3] for m in months if 1 <= int(m) <= 12}
    twelve = any(t[1:3] == (12, 0) or t[1:3] == (0, 0) for t in times(source))
    found = []
    for m in dates(output):
        if _date(m) not in known and not (twelve and _date(m) in ("noon", "midnight", "midday")):
            found.append(m.group())
    return list(dict.fromkeys(found))


def unknown_names(output: str, source: str) -> list[str]:
    """Capitalised names of the output, word by word, that the source does not have in any case."""
    known = set(words(source)) | {part for w in words(source) for part in re.split(r"['’]", w)}
    return list(dict.fromkeys(word for _, word in name_words(output, source) if word.lower() not in known))


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
            if DATE.fullmatch(word) or CJK.search(word):
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
    """A sentence said twice, or four words running said twice."""
    seen: set[str] = set()
    for sentence in sentences(output):
        key = " ".join(words(sentence))
        if key in seen:
            return Grade("poor", "a sentence said twice", [sentence])
        seen.add(key)
    tokens = words(output)
    grams: set[tuple[str, ...]] = set()
    for i in range(len(tokens) - 3):
        gram = tuple(tokens[i : i + 4])
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


def _codes(token: str) -> list[str]:
    """A token with digits in one spelling, then its parts: `1,250.00` is 1250, `B-204` also B and 204."""
    token = token.strip(".,:/-%").lower()
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.\d+|\d+", token):
        plain = token.replace(",", "")
        return [plain.rstrip("0").rstrip(".") if "." in plain else plain.lstrip("0") or "0"]
    if ordinal := re.fullmatch(r"(\d+)(?:st|nd|rd|th)", token):
        return [ordinal.group(1)]
    parts = [p.lstrip("0") or "0" for p in re.split(r"[-/:.,]", token) if p]
    return [token, *parts]


def dates(text: str) -> list[re.Match[str]]:
    """Days and months in the text; those whose short form is also an ordinary word only where capitalised."""
    return [
        m
        for m in DATE.finditer(text)
        if m.group(3) or m.group()[0].isupper() or m.group().lower() in DAYS
        if not (m.group() == "May" and not text[: m.start()].strip())
    ]


def _date(match: re.Match[str]) -> str:
    return match.group(3).lower() if match.group(3) else (match.group(1) or match.group(2)).lower()[:3]


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
        return follow in PERSON_VERBS
    alone = re.search(rf"(?:^|[^\w\s]\s*|\b[a-z]\w*\s+){re.escape(follow)}\b", source, re.M)
    return word.lower() not in ORDERS | ROLES | DANGLING and not alone
