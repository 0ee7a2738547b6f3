"""One notion of the same text: equal in every step or in none, and nothing that carries meaning is folded away."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from fakes.tokenizer import FakeTokenizer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factory.data.decontaminate import decontaminate
from factory.data.dedup import exact, near, question_hash
from factory.data.mix import sides
from factory.data.rows import Row
from factory.data.steps import Step, Work
from factory.data.words import normal, unshared, words
from factory.recipe import Recipe

RUN = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SENTENCES = {
    "latin": "The parcel came late, and nobody at the desk knew why it did",
    "accents": "Le café était fermé à Noël, après l'été déjà",
    "german": "Die Straße zur Größe des Übels führt über Äcker",
    "greek": "Ο ταχυδρόμος δεν ήρθε σήμερα το πρωί",
    "cyrillic": "Посылка пришла поздно, и никто не знал почему",
    "han": "第三号快递还没有到，请告诉我什么时候能送到",
    "kana": "カードがまだ届いていません。コーヒーを飲みながら待っています",
    "hangul": "택배가 늦게 도착했습니다 언제 오나요",
    "devanagari": "लड़का कल नौका में आया और मेला देखने गया",
    "thai": "พัสดุยังไม่มาถึง กรุณาแจ้งเวลาที่จะส่ง",
    "arabic": "لم يصل الطرد بعد متى سيصل إلى البيت",
    "emoji": "the pizza 😍 was great 👍🏽 and so was 👩‍👩‍👧 ❤️",
    "code": "for i in range(3): x[i] = a_b * (i - 1) != y",
}
# What may stand between or at words and never be folded away.
TELLING = [
    "-5",
    "7",
    "½",
    "²",
    "+",
    "=",
    "<",
    "*",
    "%",
    "€",
    "(",
    ")",
    "[",
    "}",
    "😡",
    "👎",
    "🏽",
    "🇩🇪",
    "→",
    "!=",
    "__",
]
MARKS = {"devanagari": "ािीुूेैोौ्ंँ", "thai": "ัิีึืุู่้", "arabic": "\u064e\u064f\u0651", "accents": "\u0301\u0308"}
LAYOUT = [
    *(str.upper, str.lower, lambda t: f"  {t}!", lambda t: t.replace(" ", " \u200b\n\t")),
    *(lambda t: t.replace(",", ""), lambda t: f"«{t}»", lambda t: t.replace(" ", "\u00a0")),
    lambda t: unicodedata.normalize("NFD", t),
]
scripts = st.sampled_from(sorted(SENTENCES))


@RUN
@given(name=scripts, change=st.sampled_from(LAYOUT))
def test_case_punctuation_and_layout_do_not_count(name: str, change: Callable[[str], str]) -> None:
    text = SENTENCES[name]
    assert normal(change(text)) == normal(text)


@RUN
@given(name=scripts, what=st.sampled_from(TELLING), at=st.integers(0, 40))
def test_signs_digits_brackets_symbols_and_emoji_count_anywhere(name: str, what: str, at: int) -> None:
    parts = SENTENCES[name].split(" ")
    at %= len(parts) + 1
    assert normal(" ".join([*parts[:at], what, *parts[at:]])) != normal(SENTENCES[name])


@RUN
@given(name=st.sampled_from(sorted(MARKS)), at=st.integers(0, 60), draw=st.randoms(use_true_random=False))
def test_combining_marks_count(name: str, at: int, draw: random.Random) -> None:
    text = unicodedata.normalize("NFD", SENTENCES[name])
    letters = [i for i, c in enumerate(text) if c.isalpha()]
    at = letters[at % len(letters)] + 1
    marked = text[:at] + draw.choice(MARKS[name]) + text[at:]
    assert normal(marked) != normal(text)
    if marks := [i for i, c in enumerate(text) if unicodedata.category(c).startswith("M")]:
        gone = marks[at % len(marks)]
        assert normal(text[:gone] + text[gone + 1 :]) != normal(text)


@RUN
@given(text=st.text(max_size=80))
def test_any_text_has_words_that_stay_what_they_are(text: str) -> None:
    assert normal(text) == normal(unicodedata.normalize("NFD", text)) or not unicodedata.is_normalized("NFC", text)
    assert all(word and not any(c.isspace() for c in word) for word in words(text))


@pytest.fixture
def step(make: Callable[..., Recipe]) -> Callable[..., list[Row]]:
    def go(do: Step, rows: list[Row], evals: list[Row]) -> list[Row]:
        return list(do(rows, Work(make(), FakeTokenizer(), evals={"trial": evals})))

    return go


def row(question: str, answer: str = "Yes, of course.", line: int = 1) -> Row:
    return Row(({"role": "user", "content": question}, {"role": "assistant", "content": answer}), {}, "f", line)


@RUN
@given(name=scripts, change=st.sampled_from(LAYOUT), what=st.sampled_from(TELLING))
def test_every_step_agrees(step: Any, name: str, change: Callable[[str], str], what: str) -> None:
    one, same, other = (
        row(t, line=i) for i, t in enumerate((SENTENCES[name], change(SENTENCES[name]), f"{SENTENCES[name]} {what}"))
    )
    assert question_hash(one) == question_hash(same) != question_hash(other)
    assert step(exact, [one, same, other], []) == [one, other]
    assert step(near, [one, same], []) == [one]
    assert step(decontaminate, [same], [one]) == []
    assert len({*sides([one, same], "", 0.7)}) == 1


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (("Is OK in capitals?", "yes"), ("Is ok in capitals?", "no")),
        (("Write it as it is: NATO", "NATO"), ("Write it as it is: Nato", "Nato")),
        (("Say -5 plus 3", "minus two"), ("Say 5 plus 3", "eight")),
        (("👍", "yes"), ("👎", "no")),
    ],
)
def test_case_counts_where_the_answer_follows_it(step: Any, one: Any, two: Any) -> None:
    rows = [row(*one, line=1), row(*two, line=2)]
    assert step(exact, rows, []) == rows and step(near, rows, []) == rows
    assert step(decontaminate, rows[1:], rows[:1]) == rows[1:]
    assert step(decontaminate, [row(one[0], "another answer")], rows[:1]) == []  # the question itself is a leak


def test_a_row_with_another_answer_is_no_near_copy(step: Any) -> None:
    text = " ".join(f"word{i}" for i in range(60))
    long = " ".join(f"said{i}" for i in range(20))
    rows = [row(f"{text} end", long, 1), row(f"{text} stop", f"{long} 17", 2), row(f"{text} halt", f"{long} 18", 3),
            row(f"{text} there", long, 4), row("Other words here", "17", 5)]  # fmt: skip
    assert [r.line for r in step(near, rows[:3], [])] == [1, 2, 3]
    assert [r.line for r in step(near, [rows[0], rows[3]], [])] == [1]


def test_what_many_rows_begin_or_end_with_is_left_out_and_copies_are_not_taken_for_it() -> None:
    draw = random.Random(1)
    start = " ".join(f"instruction{i}" for i in range(12))
    end = " ".join(f"remark{i}" for i in range(9))
    inputs = [" ".join(f"w{draw.randrange(5000)}" for _ in range(6)) for _ in range(40)]
    assert unshared([f"{start} {text} {end}" for text in inputs]) == inputs
    words_ = [f"c{i}" for i in range(60)]
    copies = [" ".join([*words_[:i], "x", *words_[i + 1 :]]) for i in range(0, 60, 2)]
    assert unshared(copies) == copies  # one after the other differs in one word: copies, no template
    assert unshared([start] * 10) == [start] * 10 and unshared([]) == []
