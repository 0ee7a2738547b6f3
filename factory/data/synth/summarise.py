"""A teacher writes the summaries, filters drop the bad ones: after Apple's models (arXiv 2407.21075).

Dropped are summaries that are too long (above 60 words or half of the source) and ungrounded ones: with a number, or a
name, that the source does not have.
"""

import re
from typing import Any

from factory.data.endpoint import Ask
from factory.data.synth.job import Reply, SynthRun, prompt
from factory.data.words import words

LONGEST, HALF = 60, 0.5  # words; share of the source's words, for sources of more than 30
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_NAME = re.compile(r"(?<![.!?…:] )(?<!^)(?<!\n)\b[A-ZÀ-Þ][\w’'-]+")


def make(job: SynthRun) -> list[dict[str, Any]]:
    """Document and summary rows with the place of their document."""
    documents = job.documents()[: job.n]
    asks = [Ask(prompt(__file__, TASK=job.task, TEXT=text), Reply) for _, text in documents]
    rows = []
    for i, answer in job.ask(asks):
        name, text = documents[i]
        if why := fault(answer.answer, text):
            job.drop(why, f"{answer.answer}\n--- of\n{text}", i)
        else:
            rows.append({"document": text, "summary": answer.answer.strip(), "from": name})
    return rows


def fault(summary: str, source: str) -> str:
    """Why a summary is not fit to learn from; nothing if it is."""
    said, there = words(summary), words(source)
    if not said:
        return "the summary is empty"
    if len(said) > LONGEST or (len(there) > 30 and len(said) > HALF * len(there)):
        return f"the summary is too long ({len(said)} words of {len(there)})"
    if missing := [number for number in _NUMBER.findall(summary) if number not in _NUMBER.findall(source)]:
        return f"not in the source: {missing[0]}"
    known = set(there)
    for name in _NAME.findall(summary):
        if not set(words(name.removesuffix("'s").removesuffix("’s"))) <= known:
            return f"not in the source: {name}"
    return ""
