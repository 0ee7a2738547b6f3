"""Summaries in seven languages: right ones pass every check that reads them; a wrong number, day or name is seen."""

from __future__ import annotations

from typing import Any

import pytest

from evals import checks, rubric, text
from evals.languages import language
from factory.data.rows import Row

# language: message, summary, required facts
RIGHT: dict[str, tuple[str, str, list[list[str]]]] = {
    "zh": (
        "各位好，由于火车罢工，设计会议从周二上午10点改到周四下午2点15分，地点在214室。请在周三之前把幻灯片发给欧玛。",
        "设计会议改到周四下午2点15分，214室。请周三前把幻灯片发给欧玛。",
        [["214室"], ["周四", "星期四"], ["幻灯片"]],
    ),
    "ja": (
        "皆さん、ストのため、デザイン会議は火曜10時から木曜14時15分に変更、214号室です。水曜までにスライドを送ってください。",
        "デザイン会議は木曜14時15分に214号室へ変更。水曜までにスライドを送る。",
        [["214号室"], ["木曜"], ["スライド"]],
    ),
    "th": (
        "สวัสดีทุกคน ประชุมออกแบบย้ายจากวันอังคาร 10:00 ไปเป็นวันพฤหัสบดี 14:15 ห้อง 214 กรุณาส่งสไลด์ภายในวันพุธ",
        "ประชุมออกแบบย้ายไปวันพฤหัสบดี 14:15 ห้อง 214 ส่งสไลด์ภายในวันพุธ",
        [["ห้อง 214"], ["วันพฤหัสบดี"], ["สไลด์"]],
    ),
    "hi": (
        "सभी को नमस्ते, डिज़ाइन बैठक मंगलवार 10 बजे से गुरुवार 2:15 बजे कमरा 214 में चली गई है। कृपया बुधवार तक स्लाइड भेजें।",
        "डिज़ाइन बैठक अब गुरुवार 2:15 बजे कमरा 214 में है। बुधवार तक स्लाइड भेजें।",
        [["कमरा 214"], ["गुरुवार"], ["स्लाइड"]],
    ),
    "ar": (
        "مرحبا جميعا، تم نقل اجتماع التصميم من الثلاثاء 10:00 إلى الخميس 2:15 مساء في الغرفة 214. "
        "يرجى إرسال الشرائح بحلول الأربعاء.",
        "نُقل اجتماع التصميم إلى الخميس 2:15 مساء في الغرفة 214. أرسل الشرائح بحلول الأربعاء.",
        [["الغرفة 214"], ["الخميس"], ["الشرائح"]],
    ),
    "de": (
        "Hallo zusammen, wegen des Streiks ist das Treffen nicht am Dienstag um 10:00, sondern am Donnerstag um 14:15 "
        "in Raum 214. Bitte schickt 1.250,00 Euro bis Mittwoch an Omar Haddad. Gruß Lena",
        "Das Treffen ist am Donnerstag um 14.15 Uhr in Raum 214. Schickt Omar Haddad bis Mittwoch 1250 Euro.",
        [["Raum 214"], ["Donnerstag"], ["Omar Haddad"]],
    ),
    "en": (
        "Hi all, because of the strike the design sync is not on Tuesday at 10:00 but on Thursday at 2:15 pm in "
        "room 214. Please send the slides to Omar Haddad by Wednesday.",
        "The design sync is on Thursday at 14:15 in room 214. Send Omar Haddad the slides by Wednesday.",
        [["room 214"], ["Thursday"], ["slides"]],
    ),
}
# language: (check, what is right, what is written instead)
WRONG = [
    *((name, "numbers", "214", "215") for name in RIGHT),
    ("zh", "dates", "周四", "周五"),
    ("ja", "dates", "木曜", "金曜"),
    ("th", "dates", "วันพฤหัสบดี", "วันศุกร์"),
    ("hi", "dates", "गुरुवार", "शुक्रवार"),
    ("ar", "dates", "الخميس", "الجمعة"),
    ("de", "dates", "Donnerstag", "Freitag"),
    ("en", "dates", "Thursday", "Friday"),
    ("zh", "numbers", "下午2点", "下午3点"),
    ("zh", "numbers", "下午2点", "上午2点"),
    ("ja", "numbers", "14時", "15時"),
    ("hi", "numbers", "2:15 बजे", "3:15 बजे"),
    ("ar", "numbers", "2:15 مساء", "2:15 صباحا"),
    ("de", "numbers", "14.15 Uhr", "14.45 Uhr"),
    ("de", "numbers", "1250", "1520"),
    ("de", "names", "Omar Haddad", "Omar Hassan"),
    ("en", "names", "Omar Haddad", "Omar Hassan"),
]


def grades(source: str, output: str, facts: list[list[str]]) -> dict[str, str | None]:
    row = Row(({"role": "user", "content": source}, {"role": "assistant", "content": output}), {"required": facts})
    limits = rubric.load("summary").limits
    names = ("language", "required", "numbers", "dates", "names", "length", "form", "copied")
    return {name: (g.level if (g := checks.CHECKS[name](row, output, limits)) else None) for name in names}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_summary_is_good_in_every_language(name: str) -> None:
    source, output, facts = RIGHT[name]
    assert language(output) == name
    found = grades(source, output, facts)
    assert found.pop("names") == ("good" if name in ("de", "en") else None)  # no capitals, no names to tell
    assert set(found.values()) == {"good"}, found


@pytest.mark.parametrize(("name", "check", "right", "wrong"), WRONG)
def test_what_is_wrong_is_seen(name: str, check: str, right: str, wrong: str) -> None:
    source, output, facts = RIGHT[name]
    assert right in output
    assert grades(source, output.replace(right, wrong), facts)[check] == "poor"


def test_a_missing_fact_and_a_missing_end_are_seen() -> None:
    for name, (source, output, facts) in RIGHT.items():
        assert grades(source, output, [*facts, ["xyzzy"]])["required"] == "average"
        cut = grades(source, output.rstrip(".。।"), facts)["language"]
        assert cut == ("good" if name == "th" else "average"), name  # Thai ends a sentence without a mark


@pytest.mark.parametrize("check", ["dates", "names"])
@pytest.mark.parametrize(
    "output", ["Встреча перенесена на четверг в комнату 214.", "La réunion est le jeudi à 14:15 dans la salle 214."]
)
def test_languages_that_a_check_does_not_read_are_not_graded(check: str, output: str) -> None:
    assert grades(output, output, [["214"]])[check] is None
    assert grades(output, output, [["214"]])["numbers"] == "good"


@pytest.mark.parametrize(
    ("source", "phrase", "holds"),
    [
        ("लड़का आया", "लड़की", False),
        ("लड़का आया", "लड़क", False),
        ("किताब", "कताब", False),
        ("बैठक गुरुवार को", "गुरुवार", True),
        ("والخميس في الغرفة", "الخميس", True),
        ("نُقل الاجتماع", "نقل", True),
        ("ไปวันพฤหัสบดีนี้", "วันพฤหัสบดี", True),
        ("在2140室", "214", False),
        ("在214室", "214室", True),
        ("在1214室", "214室", False),
        ("classroom 214", "room 214", False),
    ],
)
def test_a_fact_stands_as_whole_words_where_there_are_words(source: str, phrase: str, holds: bool) -> None:
    assert text.holds(source, phrase) is holds


@pytest.mark.parametrize(
    ("output", "source", "unknown"),
    [
        ("Es kostet 1.250 Euro.", "Es kostet 1250,00 Euro.", []),
        ("Es kostet 1,5 Mio.", "It is 1.5 million.", []),
        ("会议有15人。", "会议有十五人。", []),
        ("कमरा 214", "कमरा २१४", []),
        ("غرفة 214", "غرفة ٢١٤", []),
        ("Es sind 3 Teile.", "Es sind drei Teile.", []),
        ("Es sind vier Teile und ein Rest.", "Es sind drei Teile.", ["vier"]),
        ("Attend room 10.", "Attend the room.", ["10"]),
        ("周四开会，4人。", "周四开会。", ["4"]),
        ("一周一次。", "每周一次。", []),
    ],
)
def test_numbers_in_the_ways_of_each_language(output: str, source: str, unknown: list[str]) -> None:
    assert text.unknown_numbers(output, source) == unknown
    assert text.unknown_dates(output, source) == []


def test_words_of_scripts_without_spaces_are_counted_and_repetition_is_of_more_than_a_name() -> None:
    assert text.count("ประชุมออกแบบ") == 3 and text.count("会议在214室") == 4
    twice: Any = text.repetition("设计会议改到周四。请在设计会议前发幻灯片。")
    assert twice is None
    assert text.repetition("请在周三之前把幻灯片发给欧玛，请在周三之前把幻灯片发给欧玛。")
