"""The shop that queries are rewritten for, and the two checks of a rewrite: what it finds, and what it still means.

    row      user turn: the shopper's query; meta {"wants": {"sofa": "settee", "charcoal": "dark grey"}}: what it names
             in the catalogue's words, each with how the query says it
    output   "sofa charcoal"

Items are made of `catalogue.yaml` with one seed. The search is BM25 in SQLite's full-text index FTS5 (Porter stemmer),
any word may match, and words that say nothing are left out of queries, as a shop's search does.
"""

import functools
import random
import re
import sqlite3
from pathlib import Path

import yaml

from evals.grades import Grade

TOP = 10
STOP = set(
    """a about all also am an and any are as at be but by can could do does for from get give have hello hi i if in is
    it its like looking me my need of on one or our please show so some something that the them thing things this to
    want we what when which who will with without you your""".split()
)
DENIALS = {"not", "no", "non", "without", "except", "never", "isn't", "doesn't", "won't"}
SHOP = yaml.safe_load(Path(__file__).with_name("catalogue.yaml").read_text(encoding="utf-8"))
SLOTS = {"type": {t: said for types in SHOP["types"].values() for t, said in types.items()}} | SHOP["slots"]
SLOT_OF = {word: slot for slot, values in SLOTS.items() for word in values}


@functools.cache
def items() -> list[dict[str, str]]:
    """All items: their values by slot, and their `title`."""
    draw, made = random.Random(23), []
    kinds = [(department, kind) for department, types in SHOP["types"].items() for kind in types]
    for number in range(SHOP["items"]):
        department, kind = kinds[number % len(kinds)]
        item = {"type": kind} | {slot: draw.choice([*SLOTS[slot]]) for slot in SHOP["departments"][department]}
        series, puff = f"{draw.choice('ABCDEFGHKLMNPRSTVX')}{draw.randrange(100, 1000)}", draw.choice(SHOP["puff"])
        also = draw.choice(SHOP["types"][department][kind]) if draw.random() < 0.2 else ""  # some sellers say both
        item["title"] = " ".join([draw.choice(SHOP["brands"]), series, *item.values(), puff, also]).strip()
        made.append(item)
    return made


@functools.cache
def _index() -> sqlite3.Connection:
    found = sqlite3.connect(":memory:", check_same_thread=False)
    found.execute("CREATE VIRTUAL TABLE item USING fts5(title, tokenize = 'porter unicode61')")
    found.executemany("INSERT INTO item (rowid, title) VALUES (?, ?)", ((n, i["title"]) for n, i in enumerate(items())))
    return found


@functools.lru_cache(20_000)
def search(query: str) -> list[int]:
    """The numbers of the first TOP items, best first."""
    words = [word for word in dict.fromkeys(tokens(query)) if word not in STOP]
    asked = " OR ".join(f'"{word}"' for word in words[:64])
    ranked = "SELECT rowid FROM item WHERE item MATCH ? ORDER BY bm25(item), rowid LIMIT ?"
    return [number for (number,) in _index().execute(ranked, (asked, TOP))] if asked else []


@functools.lru_cache(20_000)
def wanted(words: tuple[str, ...]) -> list[int]:
    """The numbers of the items that have all of these values."""
    return [number for number, item in enumerate(items()) if all(item.get(SLOT_OF.get(word)) == word for word in words)]


def share_found(query: str, wants) -> float:
    """Recall@10: of the items that have all that is wanted, the share among the first ten."""
    right = wanted(tuple(sorted(wants)))
    return len({*right} & {*search(query)}) / len(right)


def tokens(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())


def named(text: str, own: dict[str, str] | None = None) -> dict[str, bool]:
    """The catalogue's words for what a text names, whether in the catalogue's words (True) or others', longest phrases
    first. `own`: further ways to say them, word by word."""
    phrases, found, at = _phrases() | {_stems(said): word for word, said in (own or {}).items()}, {}, 0
    stems, longest = _stems(text), max(map(len, phrases))
    while at < len(stems):
        tried = (stems[at : at + n] for n in range(min(longest, len(stems) - at), 0, -1))
        hit = next((phrase for phrase in tried if phrase in phrases), None)
        if hit:
            word = phrases[hit]
            found[word] = found.get(word, False) or hit == _stems(word)
        at += len(hit or "1")
    return found


def _stems(text: str) -> tuple[str, ...]:
    return tuple(word[:-1] if len(word) > 3 and word.endswith("s") else word for word in tokens(text))


@functools.cache
def _phrases() -> dict[tuple[str, ...], str]:
    said = {_stems(phrase): word for values in SLOTS.values() for word, says in values.items() for phrase in says}
    return said | {_stems(word): word for word in SLOT_OF}


def recall(row, output, limits) -> Grade | None:
    """All wanted items are among the first ten: good; some: average; none: poor. None: the shop has no such item."""
    wants = row.meta.get("wants")
    if not wants or not wanted(tuple(sorted(wants))):
        return None
    found, before = share_found(output, wants), share_found(row.source, wants)
    figures = {"recall@10 of the query itself": before, "recall@10": found}
    why = "" if found == 1 else f"finds {found:.0%} of the wanted items, the query itself {before:.0%}"
    return Grade("good" if found == 1 else "average" if found else "poor", why, figures=figures)


def meaning(row, output, limits) -> Grade | None:
    """All that the query names is still named, nothing is against it or denies it (else poor), nothing added (average).

    What is kept may stay in the query's own words. Only the catalogue's words count as added: others narrow nothing.
    """
    wants = row.meta.get("wants")
    if not wants:
        return None
    names = named(output, wants)
    added = [word for word, exact in names.items() if exact and word not in wants]
    against = [word for word in added if SLOT_OF[word] in {SLOT_OF.get(want) for want in wants}]
    if lost := [want for want in wants if want not in names]:
        return Grade(
            "poor", f"lost: {', '.join(lost)}" + (f"; instead: {', '.join(against)}" if against else ""), against
        )
    if denied := DENIALS & {*tokens(output)} - {*tokens(row.source)}:
        return Grade("poor", f"denied: {', '.join(sorted(denied))}", sorted(denied))
    if added:
        return Grade("poor" if against else "average", f"{'against' if against else 'beside'} what was asked", added)
    return Grade("good")
