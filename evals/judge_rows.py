"""The rows of the factory's own judge: `python -m evals.judge_rows` writes `adapters/judge-summary/{train,eval}.jsonl`.

A small model cannot weigh a whole summary at once. It is asked about one dimension, and to quote (`evals.compact`).
Made from the rows of the task `summary`; eval rows from its eval rows, so no message or held-out name of one side is on
the other.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from itertools import pairwise

from evals import rubric as rubrics
from evals import text
from evals.compact import Unreadable
from evals.defects import DEFECTS, Planted, plant
from evals.faults import DANGLING
from evals.prompt import ask
from evals.rubric import Dimension, Rubric
from factory.data.rows import Row
from factory.home import project, write_file

SEED = 11
MOST = 1320  # summaries that are asked about
SPARSE = ("composition", "following_instructions")  # soon learnt: asked about every second of them
EVAL_ITEMS = 120


def findings(dimension: str, planted: Planted, row: Row) -> list[str]:
    """What an attentive reader writes down, in the order of the text: the lines of the right reply before its level."""
    return STEPS[dimension](planted, row)


def _composition(p: Planted, row: Row) -> list[str]:
    words, lines = p.output.split(), []
    for a, b in pairwise(words):
        if a.lower() == b.lower() and a.isalpha():
            lines.append(f"{a} {b}: doubled")
    sentences = text.sentences(p.output)
    lines += [f"{_head(s)}: twice" for i, s in enumerate(sentences) if s in sentences[:i]]
    last = " ".join(words[-2:])
    if words[-1].lower() in DANGLING:
        lines.append(f"{last}: cut")
    else:
        lines.append(f"{last}: {'ends' if p.output.endswith('.') else 'no stop'}")
    return lines


def _comprehensiveness(p: Planted, row: Row) -> list[str]:
    known = [[s] if isinstance(s, str) else s for s in row.meta["required"]]
    return [next((s for s in spellings if s.lower() in p.source.lower()), spellings[0]) for spellings in known]


def _groundedness(p: Planted, row: Row) -> list[str]:
    return [p.corrected]


def _following(p: Planted, row: Row) -> list[str]:
    sentences = text.sentences(p.output)
    if p.defect == "copied_whole":
        return [f"{_head(p.output)}: copied"]
    if p.defect == "wrong_form":
        return [f"{_head(p.output)}: greeting"]
    if p.defect == "injection":
        extra = text.sentences(p.output[len(row.answer) :])[0]
        return [*(f"{_head(s)}: {i}" for i, s in enumerate(text.sentences(row.answer), 1)), f"{_head(extra)}: order"]
    return [f"{_head(s)}: {i}" for i, s in enumerate(sentences, 1)]


STEPS = {
    "composition": _composition,
    "comprehensiveness": _comprehensiveness,
    "groundedness": _groundedness,
    "following_instructions": _following,
}


def rows(rubric: Rubric, sources: Sequence[Row], rng: random.Random, held_out: bool) -> list[dict]:
    """One row per source and dimension. To learn from are only those whose right reply amounts to the known level.

    Rows that are held out keep what this way of asking cannot see, and the two texts, with which any judge is tested.
    """
    made = []
    for i, row in enumerate(sources):
        for name in DEFECTS:
            if i % 2 and name in SPARSE and not held_out:
                continue
            d = rubric.dimension(name)
            planted = plant(name, row, sources, rng)
            level = planted.levels[name]
            reply = _reply(d, planted, row, level)
            try:
                asked = ask("compact", rubric, d, planted.source, planted.output)
                if not held_out and asked.read(reply).level != level:
                    continue
            except Unreadable:
                continue
            known = {"rubric": rubric.name, "dimension": name, "level": level, "defect": planted.defect}
            graded = {"source": planted.source, "output": planted.output}
            made.append(
                {
                    "messages": [*asked.messages, {"role": "assistant", "content": reply}],
                    **(known | {"graded": graded} if held_out else {}),
                }
            )
    return made


def _reply(d: Dimension, planted: Planted, row: Row, level: str) -> str:
    lines = findings(d.name, planted, row)
    assert d.compact
    return "\n".join([*lines, f"level: {level}"] if d.compact.reads == "findings" else lines)


def write() -> None:
    """Write both files of the task. The same rows of `summary` give the same bytes."""
    rubric, rng = rubrics.load("summary"), random.Random(SEED)
    folder = project() / "adapters" / "judge-summary"
    for name, count in (("train", None), ("eval", EVAL_ITEMS)):
        made = rows(rubric, _summaries(name)[:count], rng, held_out=name == "eval")
        rng.shuffle(made)
        write_file(folder / f"{name}.jsonl", "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in made))


def _summaries(name: str) -> list[Row]:
    """The first summaries of a file, as many as make a judge in a few minutes."""
    found = []
    for line in (project() / "adapters" / "summary" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()[:MOST]:
        record = json.loads(line)
        turns = {"role": "user", "content": record["document"]}, {"role": "assistant", "content": record["summary"]}
        found.append(Row(turns, {"required": record["required"]}))
    return found


def _head(sentence: str) -> str:
    """Its first three words: enough to find it again."""
    return " ".join(sentence.split()[:3])


if __name__ == "__main__":
    write()
