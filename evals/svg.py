"""Small charts as inline SVG: no script, no outside file, readable by a screen reader through their titles.

Colours come from the page's CSS classes (good, average, poor, old), so charts follow its light and dark dress.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from evals.gate import Criterion
from evals.scorecard import Shares

WIDTH = 560
SHOWN = (("good", "good"), ("average", "average"), ("poor", "poor"))


def percent(share: float | None, sign: bool = False) -> str:
    if share is None:
        return "–"
    return f"{100 * share:+.1f} %" if sign else f"{100 * share:.0f} %" if share in (0, 1) else f"{100 * share:.1f} %"


def bar(shares: Shares, name: str, width: int = WIDTH, height: int = 22) -> str:
    """A stacked bar of good, average and poor, with the interval of the good share as a whisker."""
    if shares.good is None or shares.average is None or shares.poor is None:
        return '<span class="muted">not measured</span>'
    low, high = shares.intervals["good"]
    label = (
        f"{name}: {percent(shares.good)} good ({percent(low)} to {percent(high)}), {percent(shares.average)} average, "
        f"{percent(shares.poor)} poor of {shares.n}"
    )
    parts, x = [], 0.0
    for key, css in SHOWN:
        size = getattr(shares, key) * width
        parts.append(f'<rect class="{css}" x="{x:.1f}" y="4" width="{size:.1f}" height="{height - 8}"/>')
        x += size
    middle = height / 2
    whisker = (
        f'<path class="whisker" d="M{low * width:.1f} {middle}H{high * width:.1f}'
        f'M{low * width:.1f} {middle - 6}v12M{high * width:.1f} {middle - 6}v12"/>'
    )
    return _svg(width, height, label, "".join(parts) + whisker)


def criteria(found: Sequence[Criterion], width: int = WIDTH) -> str:
    """Each criterion of the gate: the estimate with its bounds, and the line it must stay clear of."""
    row, left, top = 34, 230, 8
    reach = [v for c in found for v in (c.estimate.low, c.estimate.high, c.threshold, 0.0)]
    low, high = min(reach), max(reach)
    scale = (width - left - 24) / (high - low or 1)

    def at(value: float) -> float:
        return left + 12 + (value - low) * scale

    parts = []
    for i, c in enumerate(found):
        y = top + row * i + row / 2
        css = {"holds": "good", "fails": "poor", "open": "average"}[c.verdict]
        a, b, m, t = (at(v) for v in (c.estimate.low, c.estimate.high, c.estimate.value, c.threshold))
        bad = f'x="{at(low):.1f}" width="{t - at(low):.1f}"'
        if c.must_be == "below":
            bad = f'x="{t:.1f}" width="{at(high) - t:.1f}"'
        parts.append(
            f'<rect class="forbidden" {bad} y="{y - 13}" height="26"/>'
            f'<path class="limit" d="M{t:.1f} {y - 13}v26"/>'
            f'<path class="line {css}" d="M{a:.1f} {y}H{b:.1f}M{a:.1f} {y - 5}v10M{b:.1f} {y - 5}v10"/>'
            f'<circle class="{css}" cx="{m:.1f}" cy="{y}" r="5"/>'
            f'<text x="0" y="{y + 4}">{escape(c.name)}</text><title>{escape(c.says())}</title>'
        )
    return _svg(width, top * 2 + row * len(found), "the gate's criteria", "".join(parts))


def history(points: Sequence[tuple[str, Shares]], width: int = WIDTH, height: int = 190) -> str:
    """Good and poor shares of the versions in order, with their intervals."""
    left, right, top, bottom = 44, 14, 12, 26
    step = (width - left - right) / max(1, len(points))

    def y(share: float) -> float:
        return top + (1 - share) * (height - top - bottom)

    parts = [
        f'<path class="grid" d="M{left} {y(v):.1f}H{width - right}"/>'
        f'<text x="{left - 8}" y="{y(v) + 4:.1f}" text-anchor="end">{v:.0%}</text>'
        for v in (0, 0.25, 0.5, 0.75, 1)
    ]
    for key, css, shift in (("good", "good", -4), ("poor", "poor", 4)):
        line = []
        for i, (_, shares) in enumerate(points):
            share = getattr(shares, key)
            if share is None:
                continue
            x, (low, high) = left + step * (i + 0.5) + shift, shares.intervals[key]
            line.append(f"{x:.1f} {y(share):.1f}")
            parts.append(f'<path class="line {css}" d="M{x:.1f} {y(low):.1f}V{y(high):.1f}"/>')
            parts.append(f'<circle class="{css}" cx="{x:.1f}" cy="{y(share):.1f}" r="4"/>')
        if line:
            parts.append(f'<path class="trend {css}" d="M{"L".join(line)}"/>')
    for i, (name, _) in enumerate(points):
        x = left + step * (i + 0.5)
        parts.append(f'<text x="{x:.1f}" y="{height - 6}" text-anchor="middle">{escape(name)}</text>')
    said = "; ".join(f"{name}: {percent(s.good)} good, {percent(s.poor)} poor" for name, s in points)
    return _svg(width, height, said, "".join(parts))


def _svg(width: int, height: float, title: str, body: str) -> str:
    said = escape(title, quote=True)
    return (
        f'<svg viewBox="0 0 {width} {height:g}" role="img" aria-label="{said}" preserveAspectRatio="xMinYMid meet">'
        f"<title>{said}</title>{body}</svg>"
    )
