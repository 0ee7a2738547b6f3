"""Documents → question and answer pairs, each checked from behind.

A document is cleaned and cut at sentence ends into chunks of 1,000–2,000 characters; the teacher writes pairs from each
chunk. Then it answers every question without the document, which shows the questions that make no sense alone, and
holds the pair's answer, its own, and the chunk against each other: what the chunk does not support is thrown away.
"""

import re
from typing import Any, Literal

from factory.data.endpoint import Ask, Form
from factory.data.synth.job import Novelty, SynthRun, prompt

LEAST, MOST = 1000, 2000  # characters of a chunk
_SENTENCE = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])|\n{2,}")


class Pair(Form):
    """A question that can be understood without the document, and its answer."""

    question: str
    answer: str


class Pairs(Form):
    """What the teacher writes from one chunk."""

    pairs: list[Pair]


class Alone(Form):
    """The question on its own: whether it can be understood, and an answer from memory."""

    understandable: bool
    answer: str


class Verdict(Form):
    """Whether the document supports the pair's answer; the reason comes first."""

    reason: str
    verdict: Literal["same", "different but supported", "not supported"]


def make(job: SynthRun) -> list[dict[str, Any]]:
    """Prompt and completion rows with the place of their chunk."""
    chunks = [(f"{name}#{i}", text) for name, whole in job.documents() for i, text in enumerate(cut(clean(whole)), 1)]
    per_chunk = job.recipe.data.synth.per_chunk
    chunks = chunks[: -(-job.n // per_chunk)]
    earlier = Novelty()
    asks = [Ask(prompt(__file__, "pairs", N=per_chunk, TEXT=text), Pairs, 0.7) for _, text in chunks]
    pairs = [
        (*chunks[i], pair)
        for i, written in job.ask(asks)
        for pair in written.pairs[:per_chunk]
        if job.new(pair.question, earlier, "an earlier question", i)
    ]
    alone: dict[int, Alone] = {}
    for i, answer in job.ask([Ask(prompt(__file__, "alone", Q=pair.question), Alone) for _, _, pair in pairs]):
        if answer.understandable:
            alone[i] = answer
        else:
            job.drop("the question makes no sense without the document", pairs[i][2].question, i)
    kept = sorted(alone)
    rows = []
    for j, found in job.ask([_verdict(*pairs[i][1:], alone[i].answer) for i in kept]):
        name, _, pair = pairs[kept[j]]
        if found.verdict == "not supported":
            job.drop(f"the document does not support the answer: {found.reason}", f"{pair.question}\n{pair.answer}", j)
        else:
            rows.append({"prompt": pair.question, "completion": pair.answer, "from": name, "verified": found.verdict})
    return rows[: job.n]


def _verdict(text: str, pair: Pair, own: str) -> Ask[Verdict]:
    return Ask(prompt(__file__, "verdict", TEXT=text, Q=pair.question, A=pair.answer, B=own), Verdict)


def clean(text: str) -> str:
    """Line ends, hyphenation at line ends, page numbers and runs of blank space put right."""
    text = text.replace("\r\n", "\n").replace("\u00ad", "")
    text = re.sub(r"(\w)-\n(?=[a-zà-ÿ])", r"\1", text)
    text = re.sub(r"(?m)^\s*(page )?\d{1,4}\s*$\n?", "", text, flags=re.IGNORECASE)
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+", " ", text)).strip()


def cut(text: str) -> list[str]:
    """Chunks of whole sentences: at most MOST characters, at least LEAST but for the last one of a document. A single
    sentence that is longer is cut at its words."""
    chunks = [""]
    start = 0
    for end in [*(m.end() for m in _SENTENCE.finditer(text)), len(text)]:
        sentence, start = text[start:end], end
        while len(sentence) > MOST:
            at = sentence.rfind(" ", 0, MOST) + 1 or MOST
            chunks += [sentence[:at], ""]
            sentence = sentence[at:]
        if len(chunks[-1]) + len(sentence) > MOST or len(chunks[-1]) >= LEAST:
            chunks.append("")
        chunks[-1] += sentence
    return [chunk.strip() for chunk in chunks if chunk.strip()]
