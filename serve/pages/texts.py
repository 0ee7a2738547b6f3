"""Every text of the pages, in English and Chinese, from the one file `texts.yaml`."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

LANGUAGES = ("en", "zh")
FILE = Path(__file__).with_name("texts.yaml")


@cache
def texts(language: str) -> dict[str, str]:
    """All texts of a language by their key."""
    return {key: both[language] for key, both in yaml.safe_load(FILE.read_text(encoding="utf-8")).items()}


def say(language: str, key: str, **values: Any) -> str:
    """One text, with `{name}` filled in."""
    return texts(language)[key].format(**values)


def of_browser(accepted: str) -> str:
    """The page's language for an Accept-Language header: the first of ours that the browser wants, else English."""
    wanted: list[tuple[float, str]] = []
    for part in accepted.split(","):
        if match := re.fullmatch(r"\s*([A-Za-z]{1,8})[\w-]*\s*(?:;\s*q=([01](?:\.\d+)?))?\s*", part):
            wanted.append((-float(match[2] or 1), match[1].lower()))
    return next((name for _, name in sorted(wanted, key=lambda w: w[0]) if name in LANGUAGES), "en")
