"""What every generator of rows is given, and the few things they share."""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from rapidfuzz.distance import LCSseq

from factory.data.endpoint import Ask, Asker, F, Form, NoAnswer
from factory.data.load import load
from factory.data.read import find
from factory.data.rows import Dropped, Row, one_line
from factory.data.words import words
from factory.errors import InputError
from factory.home import shown
from factory.recipe import Recipe

TOO_ALIKE = 0.7  # ROUGE-L above which a new row is no new row (Self-Instruct, arXiv 2212.10560)


class Reply(Form):
    """A teacher's answer to one request."""

    answer: str


@dataclass
class SynthRun:
    """One run of a generator: the recipe, the endpoint, and what was thrown away on the way, with why."""

    recipe: Recipe
    asker: Asker
    kind: str
    progress: Callable[[str, int], None]
    dropped: list[Dropped] = field(default_factory=list)

    @property
    def n(self) -> int:
        return self.recipe.data.synth.n

    @property
    def task(self) -> str:
        """What the task is, for the teacher: its prompt, else its description."""
        return self.recipe.system_prompt() or self.recipe.description or "Answer the user's requests."

    def random(self, *what: Any) -> random.Random:
        """A generator of random numbers of its own for each thing to be drawn, so that a resumed run draws the same."""
        return random.Random(repr((self.recipe.train.seed, self.kind, *what)))

    def ask(self, asks: Sequence[Ask[F]]) -> Iterator[tuple[int, F]]:
        """The answers that came, each with its question's number; the others are listed as dropped."""
        for i, answer in enumerate(self.asker(asks, lambda n: self.progress(self.kind, n))):
            if isinstance(answer, NoAnswer):
                self.drop(f"the teacher: {answer.why}", asks[i].messages[-1]["content"], i)
            else:
                yield i, answer

    def drop(self, reason: str, text: str, number: int = 0) -> None:
        self.dropped.append(Dropped(self.kind, number, "synth", one_line(reason), text[:2000]))

    def new(self, text: str, among: "Novelty", what: str, number: int = 0) -> bool:
        """Whether a text is new `among` others, which it then joins; else it is dropped, as too much like `what`."""
        if among.add(text):
            return True
        self.drop(f"too much like {what} (ROUGE-L above {TOO_ALIKE})", text, number)
        return False

    def rows(self) -> list[Row]:
        """The rows to start from: `data.synth.files`, else the training rows."""
        data = self.recipe.data
        spec, key = (data.synth.files, "data.synth.files") if data.synth.files else (data.train, "data.train")
        return list(load(spec, data, self.recipe.folder, key, self.dropped, []))

    def documents(self) -> list[tuple[str, str]]:
        """Names and texts of the documents: text files whole, other files row by row (`text`, `document`, or a
        question)."""
        files = self.recipe.data.synth.files
        if not files:
            raise InputError("name the documents (text, Markdown, or rows with `text`)", key="data.synth.files")
        found = []
        for name in find(files, self.recipe.folder, "data.synth.files"):
            if Path(name).suffix in (".txt", ".md"):
                try:
                    text = Path(name).read_text(encoding=self.recipe.data.encoding or "utf-8-sig")
                except (UnicodeError, OSError) as error:
                    raise InputError(f"cannot be read: {error}", file=name, key="data.encoding") from None
                found.append((shown(Path(name)), text))
            else:
                rows = load(name, self.recipe.data, self.recipe.folder, "data.synth.files", self.dropped, [])
                found += [(row.place, row.source or row.answer) for row in rows]
        return found


def prompt(module: str, section: str = "", **parts: Any) -> list[dict[str, str]]:
    """The Markdown file beside a generator, or the section of it under the line `=== section`, as the teacher is sent
    it, with its `<<NAME>>` marks filled; values are not read for marks again."""
    text = Path(module).with_suffix(".md").read_text(encoding="utf-8")
    if section:
        text = re.split(rf"(?m)^=== {section}\n", text)[1]
    marked = Environment(variable_start_string="<<", variable_end_string=">>", undefined=StrictUndefined)
    filled = marked.from_string(text.split("\n=== ")[0]).render(parts)
    return [{"role": "user", "content": filled.strip()}]


def with_task(job: SynthRun, question: str) -> list[dict[str, str]]:
    """A request as the finished adapter will get it, for the teacher to answer."""
    return [{"role": "system", "content": job.task}, {"role": "user", "content": question}]


class Novelty:
    """Which texts are new: ROUGE-L (F-measure over words, by the longest common subsequence) against all before."""

    def __init__(self, texts: Sequence[str] = ()) -> None:
        self.known = [words(text) for text in texts]

    def add(self, text: str, limit: float = TOO_ALIKE) -> bool:
        own = words(text)
        if any(rouge_l(own, other) > limit for other in self.known):
            return False
        self.known.append(own)
        return True


def rouge_l(a: list[str], b: list[str]) -> float:
    return 2 * LCSseq.similarity(a, b) / (len(a) + len(b)) if a and b else 0.0
