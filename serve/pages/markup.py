"""HTML that cannot be broken by what stands in it: every text is escaped unless it was built here."""

from __future__ import annotations

import html


class Safe(str):
    """HTML that `tag` has made; anything else is text."""


def tag(name: str, /, *inside: str | None, **attributes: str | int | float | bool | None) -> Safe:
    """`<name …>…</name>`. `class_` is class, `data_x` is data-x; True stands alone, None and False are left out."""
    given = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{html.escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    end = "" if name in ("meta", "link", "input") else f"{join(*inside)}</{name}>"
    return Safe(f"<{name}{given}>{end}")


def join(*parts: str | None) -> Safe:
    """Parts one after the other, texts escaped."""
    return Safe("".join(part if isinstance(part, Safe) else html.escape(part) for part in parts if part))


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


def bar(shares: dict[str, float], label: str) -> Safe:
    """A stacked bar of shares (poor, average, good), 0 to 1, with `label` for screen readers."""
    parts = [tag("span", class_=f"part {band}", style=f"width:{100 * share:.1f}%") for band, share in shares.items()]
    return tag("span", *parts, class_="bar", role="img", aria_label=label)


def interval(value: float, low: float, high: float, label: str, start: float = 0.0, end: float = 1.0) -> Safe:
    """A value with its interval on the line from `start` to `end`."""

    def at(x: float) -> float:
        return 100 * (min(max(x, start), end) - start) / (end - start)

    span = tag("span", class_="span", style=f"left:{at(low):.1f}%;width:{max(0.5, at(high) - at(low)):.1f}%")
    return tag(
        "span", span, tag("span", class_="dot", style=f"left:{at(value):.1f}%"), class_="interval", role="img",
        aria_label=label,
    )  # fmt: skip
