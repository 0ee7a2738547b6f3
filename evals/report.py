"""A grading run as a page that needs nothing beside itself.

It is for whoever answers for the product: the verdict in one sentence and what it means, how good and how sure, where
it fails with the words that show it, what the judge can be trusted with; the plan and its figures come last. All texts
of messages and models are untrusted and escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from evals import svg
from evals.agreement import Agreement
from evals.estimate import Estimate
from evals.run import Report
from evals.scorecard import Shares, Worst
from evals.show import VIEWS, kappa_text
from evals.svg import percent

SHOWN_ITEMS = 10

MEANING = {
    "PROMOTE": "It may go into production.",
    "REJECT": "It must not go into production.",
    "INCONCLUSIVE": "Too little is known to say.",
}

CSS = """
:root{--ink:#1d2433;--soft:#5d6779;--line:#dfe3ea;--card:#fff;--page:#f5f6f9;--good:#2f8f5b;--average:#e0a526;
--poor:#cc4b4b;--mark:#fde9a9;--forbid:#cc4b4b1f}
@media(prefers-color-scheme:dark){:root{--ink:#e8ebf2;--soft:#a2abbd;--line:#343b4a;--card:#1e2430;--page:#151922;
--good:#4fb981;--average:#e3b341;--poor:#ea6f6f;--mark:#6b5710;--forbid:#ea6f6f26}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
main{max-width:860px;margin:0 auto;padding:32px 20px 80px}h1{font-size:1.7rem;margin:0 0 4px}
h2{font-size:1.15rem;margin:0 0 12px}.muted{color:var(--soft)}section{background:var(--card);
border:1px solid var(--line);border-radius:12px;padding:20px 22px;margin:18px 0}.verdict{border-left:8px solid var(--c)}
.verdict b{font-size:1.35rem;color:var(--c)}.PROMOTE{--c:var(--good)}.REJECT{--c:var(--poor)}
.INCONCLUSIVE{--c:var(--average)}table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:6px 10px 6px 0;
border-bottom:1px solid var(--line);vertical-align:top}th{font-weight:600;color:var(--soft);font-size:.85rem}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
td.n{white-space:nowrap}td.n .muted{font-size:.85rem}svg{width:100%;height:auto;display:block}
svg text{fill:var(--ink);font:12px system-ui,sans-serif}.good{fill:var(--good)}.average{fill:var(--average)}
.poor{fill:var(--poor)}.line,.trend{fill:none;stroke-width:2}.trend{opacity:.35}
.line.good,.trend.good{stroke:var(--good)}
.line.poor,.trend.poor{stroke:var(--poor)}.line.average{stroke:var(--average)}
.whisker{stroke:var(--ink);stroke-width:1.5;fill:none}.limit{stroke:var(--ink);stroke-dasharray:3 3}
.grid{stroke:var(--line)}.forbidden{fill:var(--forbid)}.big{display:grid;gap:14px;
grid-template-columns:repeat(auto-fit,minmax(150px,1fr))}.big div{border:1px solid var(--line);border-radius:10px;
padding:12px 14px}.big strong{display:block;font-size:1.6rem}pre{white-space:pre-wrap;word-break:break-word;
margin:6px 0;padding:10px 12px;border-radius:8px;background:var(--page);font:14px/1.5 ui-monospace,monospace;
max-height:16em;overflow:auto}
mark{background:var(--mark);color:inherit;border-radius:3px}.tag{display:inline-block;padding:0 8px;border-radius:9px;
color:#fff;font-size:.8rem}.tag.poor{background:var(--poor)}.tag.average{background:var(--average)}
.tag.good{background:var(--good)}details{margin:10px 0}summary{cursor:pointer}
"""


def html(report: Report, earlier: Sequence[Report] = ()) -> str:
    """The page. `earlier` reports of the task, oldest first, are drawn beside it where they used the same rows."""
    title = f"{report.task} {report.label}: {report.gate.decision}"
    parts = [part for build in SECTIONS for part in build(report, earlier)]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{CSS}</style></head><body><main>{''.join(parts)}</main></body></html>"
    )


def _head(r: Report, earlier: Sequence[Report]) -> Iterator[str]:
    when = datetime.fromtimestamp(r.created, UTC).strftime("%d %B %Y, %H:%M UTC")
    against = f"against {r.against_label}" if r.against else "nothing is in production yet"
    yield f"<h1>{escape(r.task)} {escape(r.label)}</h1>"
    yield f'<p class="muted">{escape(against)} · {r.rows} messages · graded by {VIEWS[r.evidence]} · {when}</p>'
    why = "".join(f'<div class="muted">{escape(reason)}</div>' for reason in r.gate.why.split("; "))
    more = f" Label {r.gate.labels_needed} more to settle it." if r.gate.labels_needed else ""
    yield (
        f'<section class="verdict {r.gate.decision}"><b>{r.gate.decision}</b>'
        f"<p>{MEANING[r.gate.decision]}{more}</p><p>{escape(r.sentence)}</p>{why}</section>"
    )


def _numbers(r: Report, earlier: Sequence[Report]) -> Iterator[str]:
    card, old = r.scorecard, r.baseline
    if card.good is None:
        yield f"<section><h2>How good is it?</h2><p>Nothing was graded by {VIEWS[r.evidence]} yet.</p></section>"
        return
    yield '<section><h2>How good is it?</h2><div class="big">'
    for name in ("good", "average", "poor"):
        low, high = card.intervals[name]
        before = f"<br>{escape(r.against_label)}: {percent(getattr(old, name))}" if old and old.good is not None else ""
        yield (
            f'<div><span class="tag {name}">{name}</span><strong>{percent(getattr(card, name))}</strong>'
            f'<span class="muted">{percent(low)} to {percent(high)}{before}</span></div>'
        )
    yield "</div></section><section><h2>By quality</h2><table>"
    rows: list[tuple[str, Shares, Shares | None]] = [("all together", card, old)]
    rows += [(n.replace("_", " "), s, old.dimensions.get(n) if old else None) for n, s in card.dimensions.items()]
    for name, new, before_ in rows:
        yield f'<tr><td>{escape(name)}</td><td style="width:60%">{svg.bar(new, name)}'
        if before_ and before_.good is not None:
            yield f'<span class="muted">{escape(r.against_label)}</span>{svg.bar(before_, r.against_label, height=14)}'
        yield f'</td><td class="n">{percent(new.good)}</td></tr>'
    yield "</table>"
    if card.not_measured:
        yield f'<p class="muted">Not measured: {escape(", ".join(card.not_measured).replace("_", " "))}.</p>'
    yield "</section>"


def _gate(r: Report, earlier: Sequence[Report]) -> Iterator[str]:
    if not r.gate.criteria:
        return
    yield "<section><h2>What the gate asked</h2><p class='muted'>The dot is the estimate, the line what is known about "
    yield f"it with {r.gate.plan['confidence']:.0%} confidence; it must stay out of the red.</p>"
    yield svg.criteria(r.gate.criteria)
    yield f"<table>{_heads('what', '#estimate', '#bound that counts', 'must be', '')}"
    for c in r.gate.criteria:
        bound = c.estimate.low if c.must_be == "above" else c.estimate.high
        css = {"holds": "good", "fails": "poor", "open": "average"}[c.verdict]
        yield (
            f'<tr><td>{escape(c.name)}</td><td class="n">{percent(c.estimate.value)}</td>'
            f'<td class="n">{percent(bound)}</td><td>{c.must_be} {percent(c.threshold)}</td>'
            f'<td><span class="tag {css}">{c.verdict}</span></td></tr>'
        )
    yield "</table>"
    if r.gate.mcnemar is not None:
        yield f"<p class='muted'>McNemar's test of the good rates: p = {r.gate.mcnemar:.3g}.</p>"
    yield "</section>"


def _history(r: Report, earlier: Sequence[Report]) -> Iterator[str]:
    same = [e for e in earlier if (e.split, e.rubric_hash, e.evidence) == (r.split, r.rubric_hash, r.evidence)]
    if not same:
        return
    points = [(e.label, e.scorecard) for e in [*same, r]]
    yield f"<section><h2>Versions on the same messages</h2>{svg.history(points)}"
    yield '<p class="muted">The shares of <span class="tag good">good</span> and <span class="tag poor">poor</span>, '
    yield "with what is known about them.</p>"
    if len(same) < len(earlier):
        yield f'<p class="muted">{len(earlier) - len(same)} earlier runs used other messages or another rubric.</p>'
    yield "</section>"


def _strata(r: Report, earlier: Sequence[Report]) -> Iterator[str]:
    for key, values in r.scorecard.strata.items():
        yield f"<section><h2>By {escape(key)}</h2><table>"
        for value, shares in sorted(values.items(), key=lambda pair: pair[1].good or 0):
            value = {"True": "yes", "False": "no"}.get(value, value)
            yield f'<tr><td>{escape(value)}</td><td style="width:60%">{svg.bar(shares, value)}</td>'
            yield f'<td class="n">{percent(shares.good)} of {shares.n}</td></tr>'
        yield "</table></section>"
    if r.scorecard.labels:
        yield from _confusion(r.scorecard.labels)
    if r.scorecard.kappa:
        yield from _agreements("As a judge", "kappa with known faults", "read", r.scorecard.kappa)


def _confusion(labels: dict[str, Any]) -> Iterator[str]:
    wrong = [(g, s, n) for g, row in labels["confusion"].items() for s, n in row.items() if g != s]
    yield f"<section><h2>Labels</h2><p>Accuracy {percent(labels['accuracy'])}, macro-F1 {labels['macro_f1']:.3f}.</p>"
    if wrong:
        yield f"<table>{_heads('should be', 'said', '#times')}"
        for gold, said, n in sorted(wrong, key=lambda w: -w[2])[:15]:
            yield f'<tr><td>{escape(gold)}</td><td>{escape(said)}</td><td class="n">{n}</td></tr>'
        yield "</table>"
    yield "</section>"


def _worst(r: Report, earlier: Sequence[Report]) -> Iterator[str]:
    if not r.scorecard.worst:
        return
    yield "<section><h2>Where it fails</h2>"
    for i, item in enumerate(r.scorecard.worst[:SHOWN_ITEMS]):
        quotes = [quote for fault in item.faults.values() for quote in fault["evidence"]]
        faults = "".join(
            f'<li><span class="tag {"poor" if f["level"] == "poor" else "average"}">'
            f"{escape(name.replace('_', ' '))}</span> {escape(f['why'])}</li>"
            for name, f in item.faults.items()
        )
        yield f"<details{'' if i else ' open'}><summary>{escape(_short(item))}</summary><ul>{faults}</ul>"
        yield f"<pre>{_marked(item.output, quotes)}</pre><span class='muted'>for</span>"
        yield f"<pre>{_marked(item.source, quotes)}</pre></details>"
    yield "</section>"


def _judge(r: Report, earlier: Sequence[Report]) -> Iterator[str]:
    how = r.judging
    if how is None:
        return
    yield "<section><h2>Can the judge be trusted?</h2>"
    yield f"<p>{escape(how.name)}: it abstained on {percent(how.abstentions)}, "
    cost = f"{how.cost:.4f}" if how.cost is not None else "nothing"
    yield f"made {how.calls} calls ({how.reused} known from before) and cost {cost}."
    if how.flip_rate is not None:
        yield f" Asked in the other order it changed its mind in {percent(how.flip_rate)} of pairs."
    if how.length_effect:
        e = how.length_effect
        yield f" Per doubling of length it is {e.value:+.2f} more lenient than people ({e.low:+.2f} to {e.high:+.2f})."
    if how.jury_agreement:
        said = ", ".join(f"{name.replace('_', ' ')} {kappa:.2f}" for name, kappa in how.jury_agreement.items())
        yield f" The judges agree among themselves (Fleiss' kappa): {escape(said)}."
    yield "</p><table>" + _heads("judge", "quality", "#kappa with known faults", "#with people")
    for name, tested in how.trials.items():
        for dimension, kappa in tested.kappa.items():
            out = dimension in how.refused.get(name, [])
            yield (
                f"<tr><td>{escape(name)}</td><td>{escape(dimension.replace('_', ' '))}</td>"
                f"<td class='n'>{kappa_text(kappa)}{' not heard' if out else ''}</td>"
                f"<td class='n'>{kappa_text(how.against_people.get(dimension))}</td></tr>"
            )
    yield "</table></section>"


def _people(r: Report, earlier: Sequence[Report]) -> Iterator[str]:
    if r.people_agreement:
        yield from _agreements("How far people agree", "alpha", "graded twice", r.people_agreement)


def _agreements(title: str, coefficient: str, counted: str, found: Mapping[str, Agreement]) -> Iterator[str]:
    yield f"<section><h2>{title}</h2><table>{_heads('quality', f'#{coefficient}', f'#{counted}')}"
    for name, a in found.items():
        yield f"<tr><td>{escape(name.replace('_', ' '))}</td><td class='n'>{kappa_text(a)}</td>"
        yield f"<td class='n'>{a.n}</td></tr>"
    yield "</table></section>"


def _views(r: Report, earlier: Sequence[Report]) -> Iterator[str]:
    if len(r.views) < 2:
        return
    columns = [v for v in ("people", "judge", "combined", "checks") if any(getattr(n, v) for n in r.numbers.values())]
    shown = {**VIEWS, "combined": "people and judge"}
    heads = _heads("", *(f"#{shown[v]}" for v in columns))
    yield f"<section><h2>The same numbers by each grader</h2><table>{heads}"
    for name, numbers in r.numbers.items():
        cells = "".join(f"<td class='n'>{_estimate(getattr(numbers, v), 'against' in name)}</td>" for v in columns)
        yield f"<tr><td>{escape(name)}</td>{cells}</tr>"
    yield "</table></section>"


def _matrix(r: Report, earlier: Sequence[Report]) -> Iterator[str]:
    if not r.matrix:
        return
    yield "<section><h2>Did anything else change?</h2>"
    yield f"<table>{_heads('rows of', '#this version', '#base', '')}"
    for cell in r.matrix:
        said = "its own task" if cell.own else "worse than the base" if cell.worse else ""
        yield (
            f"<tr><td>{escape(cell.task)}</td><td class='n'>{percent(cell.version.good)}</td>"
            f"<td class='n'>{percent(cell.base.good)}</td><td>{said}</td></tr>"
        )
    yield "</table></section>"


def _plan(r: Report, earlier: Sequence[Report]) -> Iterator[str]:
    used = f"decided on {r.used_before} other versions before" if r.used_before else "were not used before"
    rows = "".join(f"<tr><td>{escape(k)}</td><td>{escape(str(v))}</td></tr>" for k, v in r.gate.plan.items())
    yield (
        f"<section><h2>The plan</h2><p>These rows {used}.</p>"
        f"<details><summary>fixed before grading</summary><table>{rows}</table>"
        f"<p class='muted'>plan {r.gate.plan_hash[:12]} · rubric {escape(r.rubric)} {r.rubric_hash[:12]} · "
        f"rows {r.split[:12]} · version {escape(r.version)}</p></details></section>"
    )


SECTIONS = (_head, _numbers, _gate, _history, _worst, _strata, _views, _judge, _people, _matrix, _plan)


def _heads(*names: str) -> str:
    """The heads of a table; # before a name: it stands over numbers."""
    cells = (f"<th class='n'>{name[1:]}</th>" if name.startswith("#") else f"<th>{name}</th>" for name in names)
    return f"<tr>{''.join(cells)}</tr>"


def _estimate(e: Estimate | None, sign: bool) -> str:
    """In a cell of a table: the value, and below it its bounds and what they rest on."""
    if e is None:
        return "–"
    effective = f", worth {e.effective_n:.0f}" if e.effective_n else ""
    known = f"{percent(e.low, sign)} to {percent(e.high, sign)}<br>n {e.n}{effective}"
    return f'{percent(e.value, sign)}<br><span class="muted">{known}</span>'


def _short(item: Worst) -> str:
    text = " ".join(item.output.split()) or "(empty)"
    return f"{item.composite}: {text[:110]}{'…' if len(text) > 110 else ''}"


def _marked(text: str, quotes: Sequence[str]) -> str:
    """The text, escaped, with every quote marked where it stands."""
    found = [re.escape(q) for q in sorted(set(quotes), key=len, reverse=True) if q.strip()]
    if not found:
        return escape(text)
    pieces = re.split(f"({'|'.join(found)})", text, flags=re.I)
    return "".join(f"<mark>{escape(p)}</mark>" if i % 2 else escape(p) for i, p in enumerate(pieces))
