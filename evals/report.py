"""A grading run as a page that needs nothing beside itself: `report.html.j2`, with its charts as inline SVG.

It is for whoever answers for the product: the verdict in one sentence and what it means, how good and how sure, where
it fails with the words that show it, what the judge can be trusted with; the plan and its figures come last. All texts
of messages and models are untrusted and escaped.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from evals.run import Report
from evals.scorecard import Worst
from evals.show import VIEWS, kappa_text, percent
from factory.data.rows import one_line

MEANING = {
    "PROMOTE": "It may go into production.",
    "REJECT": "It must not go into production.",
    "INCONCLUSIVE": "Too little is known to say.",
}
CLASSES = {"holds": "good", "fails": "poor", "open": "average"}  # of a criterion: its colour


def html(report: Report, earlier: Sequence[Report] = ()) -> str:
    """The page. `earlier` reports of the task, oldest first, are drawn beside it where they used the same rows."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    page = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page.filters |= {"share": percent, "kappa": kappa_text, "short": _short, "marked": _marked}
    page.filters["words"] = lambda name: name.replace("_", " ")
    page.globals |= {"MEANING": MEANING, "CLASSES": CLASSES, "VIEWS": VIEWS, "px": lambda x: f"{x:.1f}"}
    card, old, labels = report.scorecard, report.baseline, report.scorecard.labels or {"confusion": {}}
    kind = (report.split, report.rubric_hash, report.evidence)
    same = [one for one in earlier if (one.split, one.rubric_hash, one.evidence) == kind]
    confused = [(g, s, n) for g, row in labels["confusion"].items() for s, n in row.items() if g != s]
    views = ("people", "judge", "combined", "checks")
    return page.get_template("report.html.j2").render(
        r=report,
        when=datetime.fromtimestamp(report.created, UTC).strftime("%d %B %Y, %H:%M UTC"),
        qualities=[
            (name.replace("_", " "), shares, old.dimensions.get(name) if old else None)
            for name, shares in card.dimensions.items()
        ],
        points=[(one.label, one.scorecard) for one in [*same, report]] if same else [],
        others=len(earlier) - len(same),
        strata={key: sorted(of.items(), key=lambda one: one[1].good or 0) for key, of in card.strata.items()},
        confused=sorted(confused, key=lambda wrong: -wrong[2]),
        columns=[v for v in views if any(getattr(numbers, v) for numbers in report.numbers.values())],
    )


def _short(item: Worst) -> str:
    return f"{item.composite}: {one_line(item.output, 110) or '(empty)'}"


def _marked(text: str, item: Worst) -> list[str]:
    """The text in pieces, every second one a quote that shows a fault."""
    quotes = {quote for fault in item.faults.values() for quote in fault["evidence"] if quote.strip()}
    found = [re.escape(quote) for quote in sorted(quotes, key=len, reverse=True)]
    return re.split(f"({'|'.join(found)})", text, flags=re.I) if found else [text]
