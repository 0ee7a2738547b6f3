"""What the deterministic checks see, and what they must let pass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals import checks, text
from evals.checks import CHECKS
from evals.grades import Limits
from factory.data.rows import Row

MAIL = (
    "From: Lena Novak\nSubject: Design sync\n\nHi all, the design sync moves from Tuesday 10:00 to Thursday 14:15 in "
    "room 214. Please send the Q3 numbers and $1,250.00 to Omar Haddad by 3rd May. Order KD-4821 has two parts. "
    "Noon is fine too."
)


def row(source: str = MAIL, answer: str = "", **meta: object) -> Row:
    return Row(({"role": "user", "content": source}, {"role": "assistant", "content": answer}), dict(meta))


@pytest.mark.parametrize(
    ("output", "missing"),
    [
        ("It is on Thursday 2:15 pm, room 214.", []),
        ("It is on Thursday 2.15pm in 214.", []),
        ("It is at 2:15 am.", ["2:15 am"]),
        ("It is at 3:15 pm.", ["3:15 pm"]),
        ("Pay 1250 dollars for KD-4821, Q3.", []),
        ("Pay $1250.50 for KD-4812.", ["1250.50", "KD-4812"]),
        ("There are 2 parts.", []),
        ("There are four parts.", ["four"]),
        ("By May 3.", []),
        ("By 4 May.", ["4"]),
        ("No one comes.", []),
    ],
)
def test_numbers_are_found_in_other_spellings_and_only_there(output: str, missing: list[str]) -> None:
    assert text.unknown_numbers(output, MAIL) == missing


@pytest.mark.parametrize(
    ("output", "missing"),
    [
        ("Moved from Tue to Thurs.", []),
        ("It is on Friday.", ["Friday"]),
        ("By 3 May, at noon.", []),
        ("By 3 March.", ["March"]),
        ("They march on. It may rain.", []),
        ("Come tomorrow.", ["tomorrow"]),
    ],
)
def test_days_and_months(output: str, missing: list[str]) -> None:
    assert text.unknown_dates(output, MAIL) == missing


def test_a_written_date_knows_its_month() -> None:
    assert text.unknown_dates("Due in March.", "Due 2026-03-14.") == []


@pytest.mark.parametrize(
    ("output", "missing"),
    [
        ("Design sync moved; send it to Omar Haddad.", []),
        ("Send it to Omar Hassan.", ["Hassan"]),
        ("Send the slides.", []),
        ("Maya Chen sends the slides.", ["Maya", "Chen"]),
        ("Maya needs the slides.", ["Maya"]),
        ("Maya Novak sends the slides.", ["Maya"]),
        ("Ask Lena about it. Ask Novak about it. Trouble Omar with it.", []),
        ("Zoe's slides are due.", ["Zoe"]),
        ("Lena's slides are due. I am here. It's fine.", []),
    ],
)
def test_names(output: str, missing: list[str]) -> None:
    assert text.unknown_names(output, MAIL) == missing


@pytest.mark.parametrize(
    ("output", "level"),
    [
        ("Sync is on Thursday in room 214, send Omar the numbers.", "good"),
        ("Sync is on Thursday in Room  214.", "average"),
        ("Sync is on Thursday in room 2145.", "poor"),
        ("", "poor"),
    ],
)
def test_required_facts(output: str, level: str) -> None:
    grade = checks.required(row(required=[["room 214"], ["Thursday", "Thu"], "Omar"]), output, Limits())
    assert grade and grade.level == level


def test_a_row_without_gold_is_not_measured() -> None:
    for name in ("required", "label", "expected"):
        assert CHECKS[name](row(), "anything", Limits()) is None


@pytest.mark.parametrize(
    ("output", "check", "level"),
    [
        ("One two three.", "length", "good"),
        ("One two three four five.", "length", "average"),
        ("One two three four five six seven.", "length", "poor"),
        ("One. Two. Three. Four.", "length", "poor"),
        ("", "length", "poor"),
        ("The sync moved at 2 p.m. today.", "length", "poor"),
        ("The sync moved.", "form", "good"),
        ("Hi all, the sync moved.", "form", "poor"),
        ("**Sync** moved.", "form", "poor"),
        ("Sync moved.\nSend slides.", "form", "average"),
        ("<|im_end|>", "form", "poor"),
        ("The sync moved to the", "language", "poor"),
        ("The sync moved to the.", "language", "poor"),
        ("The sync moved to.", "language", "poor"),
        ("The sync is on", "language", "poor"),
        ("Please go on.", "language", "good"),
        ("The sync moved,", "language", "poor"),
        ("The sync moved", "language", "average"),
        ("the sync moved.", "language", "average"),
        ("The the sync moved.", "language", "average"),
        ("The sync moved. The sync moved.", "language", "poor"),
        ("The sync moved to Thursday. Again, the sync moved to Friday.", "language", "poor"),
        ("The sync moved to 2:15 p.m.", "language", "good"),
        (MAIL, "copied", "poor"),
        ("The design sync moves to Thursday.", "copied", "good"),
    ],
)
def test_form(output: str, check: str, level: str) -> None:
    grade = CHECKS[check](row(), output, Limits(max_words=4, max_sentences=2))
    assert grade and (grade.level, bool(grade.why)) == (level, level != "good")


@pytest.mark.parametrize(
    ("output", "level"),
    [
        ("I am Nova, made by Acme.", "good"),
        ("No, I'm not ChatGPT, Claude or Gemini.", "good"),
        ("I am ChatGPT.", "poor"),
        ("I am not Nova, I was made by OpenAI.", "poor"),
        ("I am Nova; OpenAI made me.", "poor"),
        ("I am {{name}}.", "poor"),
        ("I run on Llama.", "good"),
    ],
)
def test_nothing_foreign_is_claimed(output: str, level: str) -> None:
    grade = checks.foreign(row("Who are you?", answer="I am Nova and run on Llama."), output, Limits())
    assert grade and grade.level == level


def test_a_label_is_exact_but_for_white_space() -> None:
    gold = row("I was charged twice", label="billing")
    levels = [
        CHECKS["label"](gold, said, Limits()) for said in ("billing", " billing\n", "Billing", "billing.", "other")
    ]
    assert [g and g.level for g in levels] == ["good", "good", "poor", "poor", "poor"]


@given(st.text(max_size=200), st.text(max_size=200))
def test_no_text_breaks_a_check(source: str, output: str) -> None:
    hostile = row(source, required=[["x"], "y"], expect=["z"], label="l")
    for check in CHECKS.values():
        grade = check(hostile, output, Limits(max_words=5, max_sentences=1))
        assert grade is None or grade.level in ("poor", "average", "good")


@given(st.text(max_size=300))
def test_a_text_knows_its_own_details(source: str) -> None:
    assert text.unknown_numbers(source, source) == []
    assert text.unknown_dates(source, source) == []
    assert text.unknown_names(source, source) == []
