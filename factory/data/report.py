"""The report of a data set: one self-contained HTML file, and ten lines for the terminal."""

from collections import Counter
from pathlib import Path
from typing import Any

from factory.data.analyse import facts
from factory.data.build import Built
from factory.data.load import OF_A_TURN
from factory.data.rows import one_line
from factory.home import shown, write_file

HUES = ("#3b6fd4", "#d9822b", "#2f9e6e", "#b5487f", "#7a5fc4", "#c0a02c", "#3a9bb5", "#c2503f", "#6b8f3a", "#8a6a4f")


def write(built: Built) -> tuple[Path, dict[str, Any]]:
    """Write `report.html` into the data set's folder. Returns its path and the numbers in it."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = facts(built)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["n"] = lambda value: f"{value:,}"
    environment.filters["share"] = lambda part, whole: f"{100 * part / whole:.1f} %" if whole else "–"
    path = built.folder / "report.html"
    page = environment.get_template("report.html.j2").render(**found, lost=losses(found), hues=HUES)
    write_file(path, page)
    return path, found


def losses(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """The funnel's steps that lose rows, each with its reasons: a step's rows in, kept, lost, and why."""
    return [
        {**step, "lost": max(0, step["in"] - step["kept"]), "why": manifest["reasons"].get(step["step"], {})}
        for step in manifest["funnel"]
    ]


def lines(built: Built, path: Path | None = None) -> list[str]:
    """The data set in about ten lines of text."""
    m = built.manifest
    rows, tokens = m["rows"], m["tokens"]
    read = m["funnel"][0]
    seconds = sum(step["seconds"] for step in m["funnel"])
    general = f" ({rows['replay']:,} of them general)" if rows["replay"] else ""
    found = [
        f"{m['task']}: {rows['train']:,} rows to train on{general}, {rows['tune']:,} to tune on, "
        f"{rows['eval']:,} to grade on; "
        f"{rows['dropped']:,} dropped of {read['in']:,} read, in {seconds:.1f} s"
    ]
    for entry in (entry for entry in m["files"] if entry["for"] == "train"):
        twice = f", {entry['duplicates']:,} to the letter twice" if entry["duplicates"] else ""
        keys = ", ".join(sorted(key for key in entry["unused"] if not key.endswith(OF_A_TURN)))
        beside = f"; kept beside them for checks, not trained on: {keys}" if keys else ""
        found.append(f"  {entry['file']}: {entry['rows']:,} rows, {entry['format']}{twice}{beside}")
    for step, why in m["reasons"].items():
        step = {"eval": "eval rows", "replay": "general rows"}.get(step, step)
        told = ", ".join(f"{n:,} {what}" for what, n in list(why.items())[:3])
        found.append(f"  {step:<14}-{sum(why.values()):,}: {told}{', …' if len(why) > 3 else ''}")
    if rows["split"]:
        found.append(f"  {'split':<14}{rows['split']:,} rows set aside to grade on")
    found.append(f"  tokens: {tokens['answer']:,} to learn, {tokens['prompt']:,} in prompts")
    if (turns := m["turns"])["answers"] > turns["learned"]:
        which = f"; {turns['marked']:,} are marked not to be" if turns["marked"] else ""
        more = "" if turns["marked"] else " (the last of each; data.learn=all learns every one)"
        found.append(f"  turns: {turns['learned']:,} of {turns['answers']:,} answers are learned{which}{more}")
    if m["labels"]:
        counts = Counter(row.answer for row in built.train if not row.meta.get("replay"))
        thin = min(m["labels"], key=lambda label: counts[label])
        most, least = max(counts.values()), f"{one_line(thin, 60)} ({counts[thin]:,})"
        found.append(f"  {len(m['labels'])} labels with up to {most:,} rows; thinnest: {least}")
    for task, n in m["leaks"].items():
        stood = "1 eval row" if n == 1 else f"{n:,} eval rows"
        found.append(f"  {stood} of {task} stood in train; none does now")
    if m["conflicts"]["count"]:
        found.append(f"  same question, different answers: {m['conflicts']['count']:,}, kept; see the report")
    found += [f"  note: {note}" for note in m["notes"]]
    if path:
        found.append(f"  report: {shown(path)}")
    return [*found, f"  next: {m['next']}"] if m["next"] else found
