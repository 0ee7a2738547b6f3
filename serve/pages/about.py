"""One version told in full: what it scored and how surely, what the gate said, and the prompt that travels with it."""

from __future__ import annotations

from typing import Any

from factory.registry import store
from serve.pages.markup import Safe, bar, interval, join, percent, tag
from serve.pages.texts import say
from serve.pages.versions import Known

BANDS = ("poor", "average", "good")


def scorecard(language: str, version: Known) -> Safe:
    """Shares of good, average and poor with intervals, for the whole and per dimension, and the gate's verdict."""
    card = version.scorecard
    if "good" not in card:
        return tag("p", say(language, "not_graded", version=version.name), class_="quiet")
    base = store.noted(version.version, "base_scorecard") or {}
    rows = [_row(language, say(language, "composite"), card, base)]
    for name, shares in card.get("dimensions", {}).items():
        if "good" in shares:
            rows.append(
                _row(language, name.replace("_", " ").capitalize(), shares, base.get("dimensions", {}).get(name, {}))
            )
    head = tag(
        "tr",
        *(
            tag("th", say(language, key), scope="col", class_="roomy" if key == "shares" else None)
            for key in ("dimension", "shares", "good", "poor", "base_good")
        ),
    )
    table = tag("table", tag("thead", head), tag("tbody", *rows), class_="scores")
    note = tag("p", say(language, "scorecard_note", n=card["n"], rubric=card.get("rubric", "")), class_="quiet")
    return join(_gate(language, store.noted(version.version, "gate")), tag("div", table, class_="wide"), note)


def prompt(language: str, version: Known) -> Safe:
    """The system prompt, the decoding defaults and the base of a version."""
    facts = version.version.facts
    decoding = " · ".join(f"{key} {value:g}" for key, value in facts.decoding.model_dump().items())
    lines = [
        (say(language, "version"), f"{version.name} · {version.version.sha[: store.SHORT]}"),
        (say(language, "made"), version.created[:16].replace("T", " ")),
        (say(language, "base"), f"{version.base_model} · {facts.fingerprint[: store.SHORT]}"),
        (say(language, "decoding"), decoding),
        *([(say(language, "labels"), ", ".join(facts.labels))] if facts.labels else []),
    ]
    listed = tag("dl", *(part for key, value in lines for part in (tag("dt", key), tag("dd", value))), class_="facts")
    text = tag("pre", facts.prompt or say(language, "no_prompt"), class_="text", dir="auto")
    return join(tag("p", say(language, "prompt_note"), class_="quiet"), text, listed)


def registry(language: str, tasks: dict[str, list[Known]]) -> Safe:
    """All tasks and versions as a table."""
    if not tasks:
        return tag("p", say(language, "no_versions"), class_="quiet")
    head = tag("tr", *(tag("th", say(language, key), scope="col", class_=_ROOMY.get(key)) for key in _COLUMNS))
    rows = [_version_row(language, version) for versions in tasks.values() for version in versions]
    return tag("div", tag("table", tag("thead", head), tag("tbody", *rows), class_="scores"), class_="wide")


_COLUMNS = ("version", "state", "good", "poor", "base", "made", "hash")
_ROOMY = {"base": "roomy", "hash": "roomy"}  # left out on a phone


def _version_row(language: str, version: Known) -> Safe:
    card = version.scorecard
    state = tag("span", say(language, "live"), class_="chip live") if version.live else ""
    cells = (
        tag("strong", version.name),
        state,
        percent(card.get("good")),
        percent(card.get("poor")),
        version.base_model,
        version.created[:10],
        tag("code", version.version.sha[: store.SHORT]),
    )
    return tag("tr", *(tag("td", cell, class_=_ROOMY.get(key)) for key, cell in zip(_COLUMNS, cells, strict=True)))


def _row(language: str, name: str, shares: dict[str, Any], base: dict[str, Any]) -> Safe:
    kept = {band: shares.get(band, 0.0) for band in BANDS}
    spoken = ", ".join(f"{say(language, band)} {percent(share)}" for band, share in kept.items())
    return tag(
        "tr",
        tag("th", name, scope="row"),
        tag("td", bar(kept, spoken), class_="roomy"),
        tag("td", percent(shares["good"]), _bounds(shares, "good", spoken)),
        tag("td", percent(shares.get("poor")), _bounds(shares, "poor", spoken)),
        tag("td", percent(base.get("good"))),
    )


def _bounds(shares: dict[str, Any], band: str, label: str) -> Safe | None:
    found = shares.get("intervals", {}).get(band)
    if not found:
        return None
    low, high = found
    text = tag("small", f" {100 * low:.0f}–{100 * high:.0f}")
    return join(text, interval(shares.get(band, 0.0), low, high, label))


def _gate(language: str, gate: dict[str, Any] | None) -> Safe:
    """The verdict as a sentence in colour; without a run of the gate, that."""
    if not gate or "decision" not in gate:
        return tag("p", say(language, "no_gate"), class_="verdict open")
    decision = str(gate["decision"])
    kind = {"PROMOTE": "good", "REJECT": "poor"}.get(decision, "open")
    more = gate.get("labels_needed")
    needed = tag("p", say(language, "labels_needed", n=more)) if more else None
    return tag("div", tag("strong", decision), " ", str(gate.get("why", "")), needed, class_=f"verdict {kind}")
