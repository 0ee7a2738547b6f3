"""The one internal form of a training or evaluation row: a conversation with roles, and what is known about it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from factory.home import digest


@dataclass(frozen=True)
class Row:
    """One conversation that ends with the answer to learn or to compare with.

    `messages` are `{"role": system|user|assistant|tool, "content": str}`; `meta` holds the row's other keys, such as
    `required`, `label` or `kind`, for checks and strata; `file` and `line` say where the row came from.
    """

    messages: tuple[dict[str, Any], ...]
    meta: dict[str, Any] = field(default_factory=dict)
    file: str = ""
    line: int = 0

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

    def with_system(self, prompt: str) -> Row:
        """The row with `prompt` as its system message, unless it has one of its own."""
        if not prompt or any(m["role"] == "system" for m in self.messages):
            return self
        return replace(self, messages=({"role": "system", "content": prompt}, *self.messages))

    def key(self) -> str:
        """sha256 of the conversation: the row's identity wherever it is cached or rated."""
        return digest([*self.messages])

