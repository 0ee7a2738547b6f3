"""How an answer is decoded, and the form that it may be held to: JSON of a schema, a pattern, or a grammar made of
what its own prompt shows.

The form is compiled as the server's engine compiles it (xgrammar, no white space between the parts of the JSON), so
training data, grading and serving let the same answers through.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from factory.errors import InputError, Problem
from factory.own import defined
from factory.sql import grammar as sql
from factory.strict import Key, Layer, Strict, dotted, nearest
from factory.unheld import unheld

MAX_SCHEMA = 2**15  # characters: what a caller of the server may send as well
KEPT = 256  # compiled forms, where each prompt has its own
Messages = Sequence[Mapping[str, Any]]
# The grammars that a version may name: each makes EBNF of a conversation, or nothing where the answer to it is free. A
# version names one of these and brings no code, so that what somebody publishes runs nothing of theirs.
GRAMMARS: dict[str, Callable[[Messages], str]] = {"sql": sql.of}


FORMS = ("json_schema", "regex", "grammar")


class Decoding(Strict):
    """What the server does where the caller is silent; it is part of a version.

    `json_schema` is JSON Schema, as text or written out in the recipe; an answer is then compact JSON with its keys in
    the schema's order. `regex` is a pattern for the whole answer. `grammar` names one of `GRAMMARS`. At most
    one of the three.
    """

    max_tokens: int = Field(128, ge=1)
    temperature: float = Field(0.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    json_schema: str = Field("", max_length=MAX_SCHEMA, description="or adapters/<task>/<file>.py:<pydantic model>")
    regex: str = Field("", max_length=MAX_SCHEMA, description="for the whole answer")
    grammar: str = Field("", description=f"made of each prompt: {', '.join(GRAMMARS)}")

    @field_validator(*FORMS, mode="before")
    @classmethod
    def _none(cls, value: Any) -> Any:
        """`decoding.regex=` takes away what the recipe says."""
        return "" if value is None else value

    @field_validator("json_schema", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        if isinstance(value, str) and value:
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                raise ValueError("neither JSON nor the file.py:Model of a pydantic model") from None
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")) if isinstance(value, dict) else value

    @field_validator("grammar")
    @classmethod
    def _known(cls, value: str) -> str:
        if value and value not in GRAMMARS:
            raise ValueError(f"there is no grammar {value[:80]!r}{nearest(value, GRAMMARS)}")
        return value

    @model_validator(mode="after")
    def _one(self) -> Decoding:
        if len(given := [name for name in FORMS if getattr(self, name)]) > 1:
            raise ValueError(f"{' and '.join(given)} are two forms: give one of them")
        return self

    @model_serializer(mode="wrap")
    def _told(self, told: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the form where there is none: versions of earlier releases keep their hashes."""
        return {name: value for name, value in told(self).items() if value != ""}

    @property
    def held(self) -> str:
        """By which of the keys answers are held to a form; empty where they are free."""
        return next((name for name in FORMS if getattr(self, name)), "")

    def form(self, messages: Messages) -> dict[str, Any]:
        """What the engine holds the answer to `messages` to, as vLLM's `structured_outputs`; empty where it is free."""
        if self.json_schema:
            return {"json": json.loads(self.json_schema)}
        if self.grammar:
            made = GRAMMARS[self.grammar](messages)
            return {"grammar": made} if made else {}
        return {"regex": self.regex} if self.regex else {}


def own_schema(layer: Layer) -> Iterator[Problem]:
    """Puts its schema where a recipe names a pydantic model (`json_schema: adapters/triage/message.py:Message`), and
    says what the engine would not hold of a schema."""
    key: Key = ("decoding", "json_schema")
    decoding = layer.values.get("decoding")
    said = decoding.get("json_schema") if isinstance(decoding, dict) else None
    if isinstance(said, str) and ".py:" in said:
        try:
            model = defined(said)
            said = decoding["json_schema"] = model.model_json_schema()  # type: ignore[index]
        except AttributeError:
            yield Problem(f"{said} is no pydantic model", *layer.places[key], dotted(key))
        except InputError as error:
            yield Problem(str(error), *layer.places[key], dotted(key))
    elif isinstance(said, str):
        with contextlib.suppress(ValueError, RecursionError):  # what is no JSON is told later
            said = json.loads(said)
    for at, why in unheld(said):
        where = (*key, *at)
        yield Problem(why, *layer.place(where), dotted(where))


class Forms:
    """The forms that `decoding` holds answers to, compiled over the tokens of a base (`vocabulary`: the width of its
    logits), or of none where texts are only looked at, which is quicker."""

    def __init__(self, decoding: Decoding, tokenizer: Any = None, vocabulary: int | None = None) -> None:
        import xgrammar

        none = xgrammar.TokenizerInfo(["a", "</s>"], stop_token_ids=[1])
        tokens = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=vocabulary) if tokenizer else none
        self.decoding, self._tokens = decoding, tokens
        self._compiler = xgrammar.GrammarCompiler(tokens, max_threads=1, cache_enabled=False)
        self._compiled = lru_cache(KEPT)(self._compile)

    def of(self, messages: Messages) -> Form | None:
        """The form of the answer to `messages`; None where it is free. InputError: it cannot be compiled."""
        how = self.decoding
        said = GRAMMARS[how.grammar](messages) if how.grammar else how.json_schema or how.regex
        return self._compiled(said) if said else None

    def _compile(self, said: str) -> Form:
        how, of = self.decoding, self._compiler
        try:
            if how.json_schema:
                made = of.compile_json_schema(said, any_whitespace=False, separators=(",", ":"))
            else:
                made = of.compile_grammar(said) if how.grammar else of.compile_regex(said)
        except RuntimeError as error:
            why = f"no grammar can be made of it: {str(error).splitlines()[-1]}"
            raise InputError(Problem(why, key=f"decoding.{how.held}")) from None
        return Form(made, self._tokens.vocab_size)


class Form:
    """One compiled form."""

    def __init__(self, compiled: Any, vocabulary: int) -> None:
        import xgrammar

        self._matcher = xgrammar.GrammarMatcher(compiled)
        self._mask = xgrammar.allocate_token_bitmask(1, vocabulary)

    def lets(self, text: str) -> bool:
        """Whether a whole answer is of the form."""
        self._matcher.reset()
        return bool(self._matcher.accept_string(text) and self._matcher.is_completed())

    def allowed(self, so_far: Sequence[int]) -> Any:
        """The tokens that may follow, as a tensor of their numbers; the end's is among them where it may end."""
        import numpy
        import torch

        self._matcher.reset()
        for token in so_far:
            self._matcher.accept_token(token)
        self._matcher.fill_next_token_bitmask(self._mask)
        bits = numpy.unpackbits(self._mask.numpy().view(numpy.uint8), bitorder="little")
        return torch.from_numpy(bits.nonzero()[0])
