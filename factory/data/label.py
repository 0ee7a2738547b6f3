"""What a label is, wherever one is read, listed, trained or compared: its text without the space around it.

Two labels *look alike* when they differ only in case, width, composition of accents, inner space or characters that
nobody sees. They are one label only if somebody says so (`data.labels_fold`), and never become two classes silently.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable


def folded(label: str, case: bool = True) -> str:
    """The one form of all labels that look alike; without `case`, of those that look the same."""
    kept = "".join(c for c in unicodedata.normalize("NFKC", label) if c == "\u200d" or not _unseen(c))
    return " ".join((kept.casefold() if case else kept).split())


def visible(label: str) -> str:
    """A label for a message, in quotes, what cannot be seen in it as an escape."""
    composed = unicodedata.is_normalized("NFC", label)
    shown = (
        c.encode("unicode_escape").decode()
        if _unseen(c) or (c != " " and c.isspace()) or (not composed and unicodedata.combining(c))
        else c
        for c in label
    )
    return f"'{''.join(shown)}'"


def alike(labels: Iterable[str], case: bool = True) -> list[list[str]]:
    """The groups of different labels that look alike; without `case`, that look the same."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for label in dict.fromkeys(labels):
        groups[folded(label, case)].append(label)
    return [group for group in groups.values() if len(group) > 1]


def _unseen(c: str) -> bool:
    return not c.isspace() and (unicodedata.category(c) in ("Cf", "Cc") or "\ufe00" <= c <= "\ufe0f")
