"""Special values: what a model writes instead of dates and people that it cannot know, and what they stand for.

A closed list. Of dates, compared with a column of dates:

    today  yesterday  tomorrow
    this week  last week  next week                            also month, quarter, year; weeks begin on Monday
    last 7 days  last 2 weeks  last 3 months  next 2 years     any number; up to and with today, or from tomorrow on

Of the caller, in angle brackets: `<current_user>`, `<current_team>`, `<current_company>`, as the caller's context says.
`ordered = 'last month'` is a span of days: `ordered >= 2026-10-01 AND ordered < 2026-11-01`; `<` is before its first
day, `>` after its last. Anything else that looks like one of these is refused: a database would compare it as text.
"""

import calendar
import datetime
import re

PEOPLE = ("current_user", "current_team", "current_company")
BRACKETS = re.compile(r"<[^<>]*>")
_UNITS = "day|week|month|quarter|year"
_NAMED = re.compile(rf"(this|last|next) ({_UNITS})")
_COUNTED = re.compile(rf"(last|next) (\d{{1,3}}) ({_UNITS})s?")
_DAYS = {"today": 0, "yesterday": -1, "tomorrow": 1}
_DATED = re.compile(
    r"\d{4}(-\d{1,2}){0,2}|\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}"
)

Span = tuple[datetime.date, datetime.date]  # the first day, and the first day after


def span(text: str, today: datetime.date) -> Span | None:
    """The days that a special value stands for; None if it is none."""
    text = " ".join(text.lower().split())
    if text in _DAYS:
        day = today + datetime.timedelta(days=_DAYS[text])
        return day, day + datetime.timedelta(days=1)
    if match := _NAMED.fullmatch(text):
        offset = {"this": 0, "last": -1, "next": 1}[match[1]]
        first = _moved(_first(today, match[2]), match[2], offset)
        return first, _moved(first, match[2], 1)
    if match := _COUNTED.fullmatch(text):
        tomorrow, count = today + datetime.timedelta(days=1), int(match[2])
        if match[1] == "last":
            return _moved(today, match[3], -count), tomorrow
        return tomorrow, _moved(tomorrow, match[3], count)
    return None


def is_date(text: str) -> bool:
    """Whether a text compared with a date is one, and not words."""
    return bool(_DATED.fullmatch(text.strip())) or not re.search(r"[^\W\d_]", text)


def _first(day: datetime.date, unit: str) -> datetime.date:
    if unit == "week":
        return day - datetime.timedelta(days=day.weekday())
    if unit == "month":
        return day.replace(day=1)
    if unit == "quarter":
        return day.replace(month=3 * ((day.month - 1) // 3) + 1, day=1)
    return day.replace(month=1, day=1) if unit == "year" else day


def _moved(day: datetime.date, unit: str, count: int) -> datetime.date:
    if unit in ("day", "week"):
        return day + datetime.timedelta(days=count * (7 if unit == "week" else 1))
    months = day.year * 12 + day.month - 1 + count * {"month": 1, "quarter": 3, "year": 12}[unit]
    year, month = divmod(months, 12)
    return datetime.date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))
