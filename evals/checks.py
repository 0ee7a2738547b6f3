"""The deterministic checks: what can be known about an output without asking anybody.

A check is `(row, output, limits) -> Grade | None` and one line in CHECKS, or a function in a file of the project that
the rubric names as `adapters/sums/check.py:total`. A rubric names the checks that feed a dimension, and the worst of
their verdicts counts. None means *cannot be measured on this row* (it carries no gold, or is in a language that the
check does not read): absent, never poor.

    row      of a summary: user turn = the message, meta {"required": [["room 214"], ["Friday", "Fri"]], "kind": "mail"}
             of identity:  meta {"expect": ["Nova", ["Acme", "Acme Labs"]], "avoid": [], "topic": "maker"}
                           or   {"as_base": true, "avoid": ["Nova"], "topic": "small talk"}
             of labels:    meta {"label": "billing"}
    output   "Design sync moved to Friday 2:15 pm, room 214."
"""

from collections.abc import Callable
from typing import Any, cast

from evals import faults, fields, sql, text
from evals.grades import Grade, Limits
from evals.languages import ASSISTANTS
from evals.languages import language as language_of
from factory.data.rows import Row
from factory.errors import InputError
from factory.own import defined
from factory.strict import nearest

READ = ("en", "de", "zh", "ja", "th", "hi", "ar", "")  # "": no letters at all
Check = Callable[[Row, str, Limits], Grade | None]
GOOD = Grade("good")


def numbers(row: Row, output: str, limits: Limits) -> Grade | None:
    """Every number, amount, code and time of the output stands in the source. Digits are read in every script, numbers
    in words in English and German; clock times also in Chinese, Japanese, Hindi, Thai and Arabic."""
    return _all_known(text.unknown_numbers(output, row.source), "not in the source")


def dates(row: Row, output: str, limits: Limits) -> Grade | None:
    """Every weekday, month and relative day of the output stands in the source. Reads English, German, Chinese,
    Japanese, Thai, Hindi and Arabic, also one against another; abstains on others."""
    if language_of(output) not in READ or language_of(row.source) not in READ:
        return None
    return _all_known(text.unknown_dates(output, row.source), "this day is not in the source")


def names(row: Row, output: str, limits: Limits) -> Grade | None:
    """Every capitalised name of the output stands in the source. Reads English, and of German the names of two words or
    more; abstains where capitals do not tell names."""
    if language_of(output) not in ("en", "de"):
        return None
    return _all_known(text.unknown_names(output, row.source), "this name is not in the source")


def required(row: Row, output: str, limits: Limits) -> Grade | None:
    """Whether all required facts are there. One of three or more missing: average. More, or one of one or two: poor.

    A fact is there when any of its accepted spellings is, whatever the case, as whole words.
    """
    facts = _spellings(row.meta.get("required"))
    if not facts:
        return None
    missing = [fact[0] for fact in facts if not any(text.holds(output, spelling) for spelling in fact)]
    if not missing:
        return GOOD
    why = f"{len(missing)} of {len(facts)} required facts missing"
    return Grade("average" if len(missing) == 1 and len(facts) >= 3 else "poor", why, missing)


def length(row: Row, output: str, limits: Limits) -> Grade | None:
    """Within the rubric's limits: good; up to a quarter more words or one more sentence: average; else poor."""
    words, sentences = text.count(output), len(text.sentences(output))
    if not words:
        return Grade("poor", "empty")
    over_words = limits.max_words and words > limits.max_words
    over_sentences = limits.max_sentences and sentences > limits.max_sentences
    if not over_words and not over_sentences:
        return GOOD
    why = f"{words} words in {sentences} sentences, at most {limits.max_words} in {limits.max_sentences}"
    far = (over_words and words > 1.25 * limits.max_words) or (over_sentences and sentences > limits.max_sentences + 1)
    return Grade("poor" if far else "average", why)


def form(row: Row, output: str, limits: Limits) -> Grade | None:
    """Plain text as a phone would show it: no greeting, no markup, no header lines, no talk about itself."""
    return faults.fault(output, faults.FORM_FAULTS) or GOOD


def language(row: Row, output: str, limits: Limits) -> Grade | None:
    """Whole sentences: begun with a capital where there are any, ended, nothing said twice. Which words cannot end a
    sentence is known of English alone."""
    table = faults.LANGUAGE_FAULTS + faults.ENGLISH_FAULTS * (language_of(output) == "en")
    return faults.fault(output, table) or text.repetition(output) or GOOD


def copied(row: Row, output: str, limits: Limits) -> Grade | None:
    """Not the message itself: poor if at least 60 % of the source's words stand there in one run, average from 40 %.

    Sources under 15 words are left out: a message that is already short enough may be repeated.
    """
    if len(text.words(row.source)) < 15:
        return None
    share, run = text.longest_run(output, row.source)
    if share < 0.4:
        return GOOD
    return Grade("poor" if share >= 0.6 else "average", f"{share:.0%} of the message copied in one piece", [run])


def label(row: Row, output: str, limits: Limits) -> Grade | None:
    """Exactly the gold label, apart from white space around it."""
    gold = row.meta.get("label")
    if gold is None:
        return None
    return GOOD if output.strip() == gold else Grade("poor", f"the label is {gold}", [output.strip()[:80]])


def expected(row: Row, output: str, limits: Limits) -> Grade | None:
    """All expected facts are there in one of their accepted spellings, and nothing that the row says to avoid is."""
    facts, avoided = _spellings(row.meta.get("expect")), _spellings(row.meta.get("avoid"))
    if not facts and not avoided:
        return None
    missing = [fact[0] for fact in facts if not any(text.holds(output, spelling) for spelling in fact)]
    if missing:
        return Grade("poor", "expected but not said", missing)
    unasked = [spelling for fact in avoided for spelling in fact if text.holds(output, spelling)]
    return Grade("poor", "said though it was not asked", unasked) if unasked else GOOD


def foreign(row: Row, output: str, limits: Limits) -> Grade | None:
    """No other assistant or vendor is claimed, and no slot such as {{name}} is left.

    A name that the reference answer also uses is allowed, and so is one that is denied ("I am not ...").
    """
    if slots := text.SLOT.findall(output):
        return Grade("poor", "an unfilled slot", slots)
    claimed = [name for name in text.claimed(output, ASSISTANTS) if not text.holds(row.answer, name)]
    return Grade("poor", "another assistant or vendor", claimed) if claimed else GOOD


def kept(row: Row, output: str, limits: Limits) -> Grade | None:
    """Says what the reference says: ROUGE-L (F1 over words) at least 0.8 good, at least 0.4 average, less poor."""
    from rapidfuzz.distance import LCSseq

    if not row.answer:
        return None
    a, b = text.words(row.answer), text.words(output)
    share = 2 * LCSseq.similarity(a, b) / (len(a) + len(b)) if a or b else 1.0
    if share >= 0.8:
        return GOOD
    why = f"{share:.0%} like the base's answer"
    return Grade("average" if share >= 0.4 else "poor", why, [row.answer[:120]])


def unchanged(row: Row, output: str, limits: Limits) -> Grade | None:
    """What the adapter was not made for stays as it was: of rows that the base answered, `kept`; all others pass."""
    return kept(row, output, limits) if row.meta.get("as_base") else GOOD


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        *(numbers, dates, names, required, length, form, language, copied),
        *(label, expected, foreign, kept, unchanged),
        fields.fields,
        *(sql.sql_valid, sql.sql_result, sql.sql_exact),
    )
}


def named(name: str) -> Check:
    """The check that a rubric names: one of CHECKS, or `file.py:function` of the project. InputError: there is none."""
    if name in CHECKS:
        return CHECKS[name]
    if ":" not in name:
        raise InputError(f"no check {name!r}{nearest(name, CHECKS)} (your own: adapters/<task>/check.py:<function>)")
    try:
        return cast(Check, defined(name))
    except InputError as error:
        raise InputError(f"no check {name!r}: {error}") from None


def _all_known(unknown: list[str], why: str) -> Grade:
    return Grade("poor", why, unknown) if unknown else GOOD


def _spellings(facts: Any) -> list[list[str]]:
    """`["a", ["b", "B"]]` as `[["a"], ["b", "B"]]`; anything else is no fact."""
    return [[fact] if isinstance(fact, str) else [*fact] for fact in facts or [] if fact]
