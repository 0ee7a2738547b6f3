"""The one internal form of a training or evaluation row: a conversation with roles, and what is known about it."""

from dataclasses import dataclass, field, replace
from typing import Any, Self

from factory.home import digest


@dataclass(frozen=True)
class Row:
    """One conversation that ends with the answer to learn or to compare with.

    `messages` are `{"role": system|user|assistant|tool, "content": str}`; `meta` holds the row's other keys, such as
    `required`, `label` or `kind`, for checks and strata; `file` and `line` say where the row came from; `tokens` are
    the tokens of prompt and answer, once they were counted.
    """

    messages: tuple[dict[str, Any], ...]
    meta: dict[str, Any] = field(default_factory=dict)
    file: str = ""
    line: int = 0
    tokens: tuple[int, int] = field(default=(0, 0), compare=False)

    @property
    def answer(self) -> str:
        """The last assistant turn; empty if there is none."""
        last = self.messages[-1] if self.messages else {}
        return last.get("content", "") if last.get("role") == "assistant" else ""

    @property
    def turns(self) -> tuple[dict[str, Any], ...]:
        """The conversation before the answer, as a caller would send it."""
        last = self.messages[-1] if self.messages else {}
        return self.messages[:-1] if last.get("role") == "assistant" else self.messages

    @property
    def source(self) -> str:
        """What the caller wrote: the user turns, joined."""
        return "\n\n".join(m["content"] for m in self.messages if m["role"] == "user")

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"

    def with_system(self, prompt: str) -> Self:
        """The row with `prompt` as its system message, unless it has its own or is replayed against forgetting."""
        if not prompt or self.meta.get("replay") or any(m["role"] == "system" for m in self.messages):
            return self
        return replace(self, messages=({"role": "system", "content": prompt}, *self.messages))

    def with_answer(self, text: str) -> Self:
        """The conversation with another answer."""
        return replace(self, messages=(*self.turns, {"role": "assistant", "content": text}))

    def key(self) -> str:
        """sha256 of the conversation: the row's identity wherever it is cached or rated."""
        return digest([*self.messages])

    def as_json(self) -> dict[str, Any]:
        """The row as one line of `train.jsonl`; `Row.of` is the way back."""
        place = {"file": self.file, "line": self.line, "tokens": [*self.tokens]}
        return {"messages": [*self.messages], "meta": self.meta, **place}

    @classmethod
    def of(cls, value: dict[str, Any]) -> Self:
        return cls(tuple(value["messages"]), value["meta"], value["file"], value["line"], tuple(value["tokens"]))


@dataclass(frozen=True)
class Dropped:
    """A row that a step did not let through, with the place it came from and why. `text` is cut at 2,000 characters."""

    file: str
    line: int
    step: str
    reason: str
    text: str


def one_line(text: str, limit: int = 300) -> str:
    """`text` for a message: its white space folded, cut at `limit` characters."""
    return clip(" ".join(text.split()), limit)


def clip(text: str, limit: int = 2000) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
