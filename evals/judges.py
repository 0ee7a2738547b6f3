"""The table of judges in `adapters/defaults.yaml`: who may be asked, where, how fast and at what price.

judges:
  own:     {adapter: my-judge}                           # an adapter of this project; it answers in the grading
                                                         # process, or with base_url on the server named
  big:     {base_url: https://api.example.com/v1, model: some-model, key_env: JUDGE_KEY, concurrency: 16,
            price: {input: 0.5, output: 1.5}}            # any OpenAI-compatible endpoint
  jury:    {members: [big, other, own]}              # they vote per dimension
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from pydantic import Field, model_validator

from factory.chat import Messages
from factory.errors import InputError, Problem
from factory.home import digest
from factory.recipe import defaults
from factory.strict import Layer, Strict, check, nearest

Generate = Callable[[Sequence[Messages]], Sequence[str]]


class Price(Strict):
    """Per million tokens, in whatever currency the bill has."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)


class Judge(Strict):
    """One judge. `timeout` in seconds for a call."""

    model: str = ""
    base_url: str = ""
    adapter: str = ""
    members: list[str] = []
    key_env: str = ""
    concurrency: int = Field(default=8, ge=1, le=1024)
    timeout: float = Field(default=60, gt=0)
    price: Price | None = None
    max_tokens: int = Field(default=512, ge=16)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(map(bool, (self.model, self.adapter, self.members))) != 1:
            raise ValueError("give exactly one of model (with base_url), adapter, members")
        if self.model and not self.base_url:
            raise ValueError("model needs base_url, the address of an OpenAI-compatible endpoint")
        return self

    @property
    def asked(self) -> str:
        """The `model` of the request."""
        return self.model or self.adapter

    def key(self) -> str:
        """The key from the environment; without `key_env` none is sent. Errors: the variable is not set."""
        if self.key_env and not os.environ.get(self.key_env):
            raise InputError(Problem(f"the key of this judge is not set: export {self.key_env}=...", key="judges"))
        return os.environ.get(self.key_env, "") if self.key_env else ""

    def identity(self, version: str = "") -> str:
        """A hash of all that can change what it answers; `version` is that of a served adapter."""
        return digest([self.asked, self.base_url, "rubric", self.max_tokens, version])[:12]


@dataclass(frozen=True)
class Member:
    """A judge with its name. `version` is that of a served adapter; `generate` answers in this process."""

    name: str
    judge: Judge
    version: str = ""
    generate: Generate | None = None


class _Table(Strict):
    judges: dict[str, Judge] = {}

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name, judge in self.judges.items():
            for member in judge.members:
                if member not in self.judges or self.judges[member].members:
                    raise ValueError(f"{name}: no single judge {member!r}{nearest(member, self.judges)}")
        return self


def table() -> dict[str, Judge]:
    """All judges by name. Errors: every mistake in the table, with file and line."""
    layer = defaults()
    judges = Layer({"judges": layer.values.get("judges") or {}}, layer.places)
    return check(_Table, judges, "adapters/defaults.yaml").judges


def load(name: str) -> dict[str, Judge]:
    """The judge `name`, or the members of a jury, by name."""
    known = table()
    if name not in known:
        raise InputError(Problem(f"no judge {name!r}{nearest(name, known)}", "adapters/defaults.yaml", key="judges"))
    return {member: known[member] for member in known[name].members} or {name: known[name]}
