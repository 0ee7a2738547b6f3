"""What a data set's manifest says, and the kinds of reasons that rows were dropped for."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from factory.data.dedup import question_hash
from factory.data.label import visible
from factory.data.load import OF_A_TURN, Read
from factory.data.mix import ENOUGH_TO_TUNE
from factory.data.rows import Dropped, Row, one_line
from factory.data.steps import Count, Work
from factory.data.values import THOUGHTS
from factory.kinds import KINDS

FEW = 100  # rows below which a task is warned (METHODS: 100 to 100,000 rows for one task)
_SETTING = re.compile(r"[a-z_]+\.[a-z_.]+=")
OTHERS = ("eval", "replay")  # the steps of dropped rows that are none of the training files'


def manifest(
    work: Work, train: list[Row], evals: list[Row], read: list[Read], eval_read: list[Read], funnel: list[Count]
) -> dict[str, Any]:
    """What is said of a data set: files, rows, funnel, reasons, tokens, labels, contradictions, leaks, notes. JSON."""
    recipe = work.recipe
    labels, own = recipe.labels, [row for row in train if not row.meta.get("replay")]
    if KINDS[recipe.kind].labels and not labels:
        labels = sorted({row.answer for row in [*own, *evals]})
        work.notes.append(f"the {len(labels)} labels are those of the data: the recipe lists none")
    learned, graded = ({row.answer for row in rows} if labels else set() for rows in (own, evals))
    unseen, unasked = sorted(graded - learned), sorted(learned - graded)  # labels without a row of the one or the other
    _notes(work, own, labels, unseen, unasked, read)
    work.notes += [note for r in (*read, *eval_read) for note in r.notes]
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
        "funnel": [
            {"step": c.step, "in": came, "kept": c.kept, "seconds": round(c.seconds, 3)}
            for c, came in zip(funnel, [sum(r.rows for r in read), *(c.kept for c in funnel)], strict=False)
        ],
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
    settled = next(filter(None, _settling(found, work, unseen, unasked)), "")
    where = f" (on the command line, or in adapters/{recipe.task}/recipe.yaml)"
    return found | {"next": settled + where * bool(_SETTING.match(settled))}


def _notes(
    work: Work, own: list[Row], labels: list[str], unseen: list[str], unasked: list[str], read: list[Read]
) -> None:
    """What is worth knowing of the rows of a data set, each in a line."""
    recipe = work.recipe
    if unseen:
        work.notes.append(f"labels without a training row: {', '.join(one_line(label, 60) for label in unseen[:10])}")
    if unasked:
        work.notes.append(f"labels without an eval row: {', '.join(one_line(label, 60) for label in unasked[:10])}")
    if work.longest:
        work.notes.append(
            f"rows of more than train.max_length={recipe.train.max_length} tokens are left out, for their answers "
            f"would break off; train.max_length={work.longest} takes them all"
        )
    if len(own) < FEW:
        work.notes.append(f"only {len(own)} training rows: below {FEW} an adapter seldom learns more than a style")
    if n := sum(r.rendered for r in read):
        work.notes.append(f"{n:,} rows were rendered by a chat template already: they are read back into turns")
    if work.controlled:
        work.notes.append(
            f"{work.controlled:,} rows hold control tokens of the base in what users wrote: they are read as plain text"
        )
    numbers = bool(labels) and all(label.lstrip("-").isdigit() for label in labels)
    if numbers:
        names = "add a column label_text with the names of the classes, if the numbers stand for any"
        work.note(f"the labels are numbers ({', '.join(labels[:5])}), and numbers will be the answers", names)
    ignored = sorted({key for r in read for key in r.unused if key.endswith(OF_A_TURN)})
    if ignored:
        thought = any(key.removesuffix(OF_A_TURN) in THOUGHTS for key in ignored) and not KINDS[recipe.kind].labels
        learn = "data.reasoning=true has thoughts learned, as <think>…</think> before the answer" if thought else ""
        work.note(f"not trained on: {', '.join(ignored)}", learn)
    most, said = recipe.decoding.max_tokens, [row.tokens[1] for row in own]
    if long := sum(tokens > most for tokens in said):
        work.note(
            f"{long:,} of {len(own):,} answers are longer than decoding.max_tokens={most}: the adapter's break off",
            f"decoding.max_tokens={max(said) + 1} has room for every answer",
        )


def _settling(found: dict[str, Any], work: Work, unseen: list[str], unasked: list[str]) -> Iterator[str]:
    """The one setting or edit for everything that is odd about a data set, the oddest first."""
    reasons, task = found["reasons"], work.recipe.task
    many = 0.2 * found["funnel"][0]["in"]
    for note in found["notes"]:
        if "data.encoding=" in note:
            yield f"data.encoding={note.rpartition('data.encoding=')[2].split()[0]}"
    lost = [row for row in work.dropped if row.step in ("read", "eval")]
    outside = [row for row in work.dropped if row.reason.startswith("the label is outside the set")]
    if outside:
        yield f"add the label to the labels in adapters/{task}/recipe.yaml, or mend {outside[0].file}:{outside[0].line}"
    for row in lost[:1]:
        yield f"mend {row.file}:{row.line}: {row.reason}"
    if work.longest:
        yield f"train.max_length={-(-work.longest // 64) * 64} keeps every answer whole"
    for step, setting in (("near", "data.near=0"), ("semantic", "data.semantic=1")):
        if sum(reasons.get(step, {}).values()) > many:
            yield f"{setting} keeps what is nearly the same"
    ruled = [row for row in work.dropped if row.step == "rules"]
    if reasons.get("rules", {}).get("the answer refuses", 0) > many / 4:
        yield "data.refusals=true keeps answers that refuse"
    elif len(ruled) > many:
        yield f"mend {ruled[0].file}:{ruled[0].line}: {ruled[0].reason}"
    if unseen:
        yield f"write rows with the label {visible(unseen[0])} into the training file"
    if unasked:
        more, into = ("more ", "") if work.split else ("", " into the eval file")
        yield f"write {more}rows with the label {visible(unasked[0])}{into}: nothing grades it"
    if found["conflicts"]["count"]:
        one, two = found["conflicts"]["shown"][0]["places"]
        yield f"keep one of {one} and {two}: the same question, answered differently"
    yield from work.settle
    if found["rows"]["train"] - found["rows"]["replay"] < FEW or 0 < len(work.tune) < ENOUGH_TO_TUNE:
        ways = "from-labels" if found["labels"] else "evolve"
        yield f"write more rows, or make some: factory data task={task} synth={ways} (needs data.synth.endpoint)"


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
