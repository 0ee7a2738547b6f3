"""A grading run in a few lines for the terminal; the page (`evals.report`) has the rest."""

from collections.abc import Iterator

from rich.markup import escape
from rich.progress import Progress, TaskID

from evals.agreement import Agreement
from evals.judge import Tally
from evals.panel import Watch
from evals.run import Report
from factory.data.rows import one_line

WORST = 3  # of the worst items, so many are shown
VIEWS = {"checks": "deterministic checks", "judge": "checks and judge", "people": "people"}


def watch(bar: Progress) -> Watch:
    """Draws what the judges are doing on a progress bar: done, abstained, and what it has cost so far."""
    rows: dict[str, TaskID] = {}

    def show(what: str, tally: Tally) -> None:
        if what not in rows:
            rows[what] = bar.add_task(what, total=tally.total, text="")
        cost = f"cost {tally.cost:.4f}" if tally.cost is not None else ""
        abstained = f"{tally.abstained} abstained" if tally.abstained else ""
        bar.update(rows[what], completed=tally.done, text="  ".join(filter(None, (cost, abstained))))

    return show


def lines(r: Report) -> Iterator[str]:
    """The report for a terminal, in rich's markup; the page has the rest."""
    colour = {"PROMOTE": "green", "REJECT": "red", "INCONCLUSIVE": "yellow"}[r.gate.decision]
    against = f" against {r.against_label}" if r.against else ""
    yield f"[bold]{r.task} {r.label}[/]{against}, {r.rows} rows, decided by {VIEWS[r.evidence]}"
    for name, card, old in [
        ("all together", r.scorecard, r.baseline),
        *((n, s, r.baseline.dimensions.get(n) if r.baseline else None) for n, s in r.scorecard.dimensions.items()),
    ]:
        if card.good is None:
            yield f"  {name:<24} not measured"
            continue
        low, high = card.intervals["good"]
        before = f"  was {percent(old.good)} / {percent(old.poor)}" if old and old.good is not None else ""
        yield (
            f"  {name.replace('_', ' '):<24} good {percent(card.good):>7} ({percent(low)} to {percent(high)})"
            f"  poor {percent(card.poor):>7}{before}"
        )
    old_figures = (r.baseline and r.baseline.figures) or {}
    for name, share in (r.scorecard.figures or {}).items():
        was = f"  was {percent(old_figures[name])}" if name in old_figures else ""
        yield f"  {escape(name):<32} {percent(share):>7}{was}"
    for path, found in (r.scorecard.fields or {"paths": {}})["paths"].items():
        said = "  ".join(f"{name} {percent(found[name])}" for name in ("precision", "recall", "f1"))
        yield f"  [dim]{escape(path):<24} {said} (there {found['n']} times)[/]"
    if r.scorecard.not_measured:
        yield f"  [dim]not measured: {', '.join(r.scorecard.not_measured)}[/]"
    yield from _number_lines(r)
    if r.judging:
        yield from _judge_lines(r)
    for item in r.scorecard.worst[:WORST]:
        faults = "; ".join(f"{name}: {f['why']} {' | '.join(f['evidence'])}".strip() for name, f in item.faults.items())
        yield f"  [dim]{item.composite}: {escape(one_line(item.output, 100))} ({escape(one_line(faults, 200))})[/]"
    for cell in r.matrix:
        if cell.worse and not cell.own:
            good = f"{percent(cell.version.good)} good, base {percent(cell.base.good)}"
            yield f"  [yellow]on {cell.task} it is worse than the base: {good}[/]"
    if r.used_before:
        yield f"  [dim]these rows decided on {r.used_before} other versions before[/]"
    yield f"[bold {colour}]{r.gate.decision}[/] {escape(r.gate.why)}"
    yield f"  [dim]{escape(r.sentence)}[/]"


def _number_lines(r: Report) -> Iterator[str]:
    """The same numbers by people, by the judge and by both together, where more than one kind of grader spoke."""
    shown = {"people": "people", "judge": "judge", "combined": "people and judge"}
    for name, numbers in r.numbers.items() if len(r.views) > 1 else ():
        sign = "against" in name
        found = {label: e for view, label in shown.items() if (e := getattr(numbers, view))}
        said = "  ".join(
            f"{label} {percent(e.value, sign)} ({percent(e.low, sign)} to {percent(e.high, sign)}, n {e.n}"
            f"{f' worth {e.effective_n:.0f}' if e.effective_n else ''})"
            for label, e in found.items()
        )
        if said:
            yield f"  {name}: {said}"
    if r.people_agreement:
        alphas = ", ".join(f"{name} {kappa_text(a)}" for name, a in r.people_agreement.items())
        yield f"  people agree (alpha): {alphas}"


def _judge_lines(r: Report) -> Iterator[str]:
    how = r.judging
    assert how
    cost = f", cost {how.cost:.4f}" if how.cost is not None else ""
    flips = f", flips {percent(how.flip_rate)}" if how.flip_rate is not None else ""
    calls = f"{how.calls} calls, {how.reused} reused"
    yield f"  judge {escape(how.name)}: abstained {percent(how.abstentions)}, {calls}{cost}{flips}"
    for name, tested in how.trials.items():
        shown = [
            f"{d} {kappa_text(k)}{' not heard' if d in how.refused.get(name, []) else ''}"
            for d, k in tested.kappa.items()
        ]
        yield f"  [dim]{escape(name)}, kappa with known faults: {', '.join(shown)}[/]"


def percent(share: float | None, sign: bool = False) -> str:
    if share is None:
        return "–"
    return f"{100 * share:+.1f} %" if sign else f"{100 * share:.0f} %" if share in (0, 1) else f"{100 * share:.1f} %"


def kappa_text(a: Agreement | None) -> str:
    if a is None or a.value is None:
        return "–"
    return (
        f"{a.value:.2f} ({a.low:.2f} to {a.high:.2f})" if a.low is not None and a.high is not None else f"{a.value:.2f}"
    )
