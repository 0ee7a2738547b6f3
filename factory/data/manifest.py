"""What a data set's manifest says, and the kinds of reasons that rows were dropped for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from factory.data.dedup import question_hash
from factory.data.label import visible
from factory.data.load import Read
from factory.data.rows import Dropped, Row, one_line
from factory.data.steps import Count, Work
from factory.kinds import KINDS

FEW = 100  # rows below which a task is warned (METHODS: 100 to 100,000 rows for one task)
OTHERS = ("eval", "replay")  # the steps of dropped rows that are none of the training files'


def manifest(
    work: Work, train: list[Row], evals: list[Row], read: list[Read], eval_read: list[Read], funnel: list[Count]
) -> dict[str, Any]:
    """What is said of a data set: files, rows, funnel, reasons, tokens, labels, contradictions, leaks, notes. JSON."""
    recipe, own = work.recipe, [row for row in train if not row.meta.get("replay")]
    labels = recipe.labels
    if KINDS[recipe.kind].labels and not labels:
        labels = sorted({row.answer for row in [*own, *evals]})
    trained, graded = ({row.answer for row in rows} if labels else set[str]() for rows in (own, evals))
    unseen, unasked = sorted(graded - trained), sorted(trained - graded)
    numbers = bool(labels) and all(label.lstrip("-").isdigit() for label in labels)
    unused = sum((r.unused for r in read), Counter[str]())
    work.notes += _notes(work, labels, unseen, unasked, len(own), [*read, *eval_read])
    if n := sum(r.rendered for r in read):
        work.notes.append(f"{n:,} rows were rendered by a chat template already: they are read back into turns")
    if work.controlled:
        work.notes.append(
            f"{work.controlled:,} rows hold control tokens of the base in what users wrote: they are read as plain text"
        )
    if numbers:
        work.notes.append(f"the labels are numbers ({', '.join(labels[:5])}), and numbers will be the answers")
    if unused:
        work.notes.append("keys kept beside the rows, not trained on: " + ", ".join(sorted(unused)))
    reasons: dict[str, Counter[str]] = {}
    for row in work.dropped:
        reasons.setdefault(row.step, Counter())[reason(row)] += 1
    order = [*(count.step for count in funnel), *OTHERS]
    found = {
        "files": [
            vars(r) | {"for": use, "unused": dict(r.unused)}
            for use, group in (("train", read), ("eval", eval_read))
            for r in group
        ],
        "rows": {
            "train": len(train),
            "replay": len(train) - len(own),
            "tune": len(work.tune),
            "eval": len(evals),
            "split": len(work.split),
            "dropped": sum(row.step not in OTHERS for row in work.dropped),
        },
        "funnel": [{"step": c.step, "in": c.rows_in, "kept": c.kept, "seconds": round(c.seconds, 3)} for c in funnel],
        "reasons": {step: dict(reasons[step].most_common()) for step in order if step in reasons},
        "tokens": {
            "prompt": sum(row.tokens[0] for row in train),
            "answer": sum(row.tokens[1] for row in train),
            "max_length": recipe.train.max_length,
        },
        "turns": {name: sum(getattr(r, name) for r in read) for name in ("answers", "learned", "marked")},
        "labels": labels,
        "conflicts": {"count": len(work.conflicts), "shown": work.conflicts[:50]},
        "leaks": _leaks(work),
        "closest": work.closest,
        "notes": work.notes,
        "usage": work.usage,
    }
    thought = sorted(key.split()[0] for key in unused if key.startswith("reasoning"))
    return found | {"next": _remedy(found, work, unseen, unasked, thought, numbers)}


def _notes(
    work: Work, labels: list[str], unseen: list[str], unasked: list[str], own: int, read: list[Read]
) -> Iterator[str]:
    """What is to be said of labels, of rows that are too long or too few, and of the files."""
    most, longest = work.recipe.train.max_length, work.longest
    if labels and not work.recipe.labels:
        yield f"the {len(labels)} labels are those of the data: the recipe lists none"
    for where, lacking in (("a training row", unseen), ("an eval row", unasked)):
        if lacking:
            yield f"labels without {where}: {', '.join(one_line(label, 60) for label in lacking[:10])}"
    if longest:
        yield (
            f"rows of more than train.max_length={most} tokens are left out, for their answers would break off; "
            f"train.max_length={longest} takes them all"
        )
    if own < FEW:
        yield f"only {own} training rows: below {FEW} an adapter seldom learns more than a style"
    yield from (note for r in read for note in r.notes)


def _remedy(
    found: dict[str, Any], work: Work, unseen: list[str], unasked: list[str], thought: list[str], numbers: bool
) -> str:
    """The one setting or edit that settles what is oddest about a data set; empty if nothing is."""
    reasons, task = found["reasons"], work.recipe.task
    many = 0.2 * found["funnel"][0]["in"]
    recipe = f"(on the command line, or in adapters/{task}/recipe.yaml)"
    for note in found["notes"]:
        if "data.encoding=" in note:
            return f"data.encoding={note.rpartition('data.encoding=')[2].split()[0]} {recipe}"
    if lost := [row for row in work.dropped if row.step == "read"]:
        return f"mend {lost[0].file}:{lost[0].line}: {lost[0].reason}"
    if outside := [row for row in work.dropped if row.reason.startswith("the label is outside the set")]:
        return (
            f"add the label to the labels in adapters/{task}/recipe.yaml, or mend {outside[0].file}:{outside[0].line}"
        )
    if work.longest:
        whole = -(-work.longest // 64) * 64
        return f"train.max_length={whole} keeps every answer whole {recipe}"
    for step, setting in (("near", "data.near=0"), ("semantic", "data.semantic=1")):
        if sum(reasons.get(step, {}).values()) > many:
            return f"{setting} keeps what is nearly the same {recipe}"
    if reasons.get("rules", {}).get("the answer refuses", 0) > many / 4:
        return f"data.refusals=true keeps answers that refuse {recipe}"
    if unseen:
        return f"write rows with the label {visible(unseen[0])} into the training file"
    if unasked and not work.split:
        return f"write rows with the label {visible(unasked[0])} into the eval file: nothing grades it"
    if found["conflicts"]["count"]:
        one, two = found["conflicts"]["shown"][0]["places"]
        return f"keep one of {one} and {two}: the same question, answered differently"
    if thought:
        return f"write {thought[0]} into content where it is to be learned: adapters answer without thinking first"
    if numbers:
        return "add a column label_text with the names of the classes, if the numbers stand for any"
    if found["rows"]["train"] - found["rows"]["replay"] < FEW:
        ways = "from-labels" if found["labels"] else "evolve"
        return f"write more rows, or make some: factory data task={task} synth={ways} (needs data.synth.endpoint)"
    return ""


def _leaks(work: Work) -> dict[str, int]:
    """For each task, how many of its eval rows have their question among the training rows, by normalised text."""
    found = {
        task: sum(question_hash(row) in work.questions for row in rows)
        for task, rows in work.evals.items()
        if rows is not work.split
    }
    return {task: n for task, n in found.items() if n}


def reason(row: Dropped) -> str:
    """The kind of a reason, without the row, number or byte that it names."""
    copies = {"exact": "the same as an earlier row", "near": "nearly the same as an earlier row"}
    copies["semantic"] = "means the same as an earlier row"
    if row.step in copies:
        return copies[row.step]
    text = row.reason.split(": ")[0]
    if " of the words of " in text:
        return "most words of" + text.split(" of the words of", 1)[1]
    return "a byte is not of the file's encoding" if text.startswith("byte 0x") else text.split(" (column ")[0]
