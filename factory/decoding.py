"""How an answer is decoded, and the grammar that it may be held to: JSON of a schema, or a pattern.

The grammar is compiled as the server's engine compiles it (xgrammar, no white space between the parts of the JSON), so
training data, grading and serving let the same answers through.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from factory.errors import InputError, Problem
from factory.own import defined
from factory.strict import Layer, Strict, dotted

MAX_SCHEMA = 2**15  # characters: what a caller of the server may send as well


class Decoding(Strict):
    """What the server does where the caller is silent; it is part of a version.

    `json_schema` is JSON Schema, as text or written out in the recipe; an answer is then compact JSON with its keys in
    the schema's order. `regex` is a pattern for the whole answer. At most one of the two.
    """

    max_tokens: int = Field(128, ge=1)
    temperature: float = Field(0.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    json_schema: str = Field("", max_length=MAX_SCHEMA, description="or adapters/<task>/<file>.py:<pydantic model>")
    regex: str = Field("", max_length=MAX_SCHEMA, description="for the whole answer")

    @field_validator("json_schema", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        if isinstance(value, str) and value:
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                raise ValueError("neither JSON nor the file.py:Model of a pydantic model") from None
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")) if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _one(self) -> Decoding:
        if self.json_schema and self.regex:
            raise ValueError("json_schema and regex are two forms: give one of them")
        return self

    @model_serializer(mode="wrap")
    def _told(self, told: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the form where there is none: versions of earlier releases keep their hashes."""
        return {name: value for name, value in told(self).items() if value != ""}

    def form(self) -> dict[str, Any]:
        """What the engine holds an answer to, as vLLM's `structured_outputs`; empty where it is free."""
        if self.json_schema:
            return {"json": json.loads(self.json_schema)}
        return {"regex": self.regex} if self.regex else {}


def own_schema(layer: Layer) -> Iterator[Problem]:
    """Puts its schema where a recipe names a pydantic model: `json_schema: adapters/triage/message.py:Message`."""
    decoding = layer.values.get("decoding")
    name = decoding.get("json_schema") if isinstance(decoding, dict) else None
    if not isinstance(name, str) or ".py:" not in name:
        return
    key = ("decoding", "json_schema")
    try:
        model = defined(name)
        decoding["json_schema"] = model.model_json_schema()  # type: ignore[index]
    except AttributeError:
        yield Problem(f"{name} is no pydantic model", *layer.places[key], dotted(key))
    except InputError as error:
        yield Problem(str(error), *layer.places[key], dotted(key))


class Grammar:
    """The compiled form of answers, over the tokens of a base. `vocabulary`: the width of its logits."""

    def __init__(self, decoding: Decoding, tokenizer: Any, vocabulary: int | None = None) -> None:
        """InputError: the schema or the pattern cannot be made into a grammar."""
        import xgrammar

        tokens = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=vocabulary)
        compiler = xgrammar.GrammarCompiler(tokens, max_threads=1)
        try:
            if decoding.json_schema:
                made = compiler.compile_json_schema(decoding.json_schema, any_whitespace=False, separators=(",", ":"))
            else:
                made = compiler.compile_regex(decoding.regex)
        except RuntimeError as error:
            key = "decoding.json_schema" if decoding.json_schema else "decoding.regex"
            raise InputError(Problem(f"no grammar can be made of it: {str(error).splitlines()[-1]}", key=key)) from None
        self._matcher = xgrammar.GrammarMatcher(made)
        self._mask = xgrammar.allocate_token_bitmask(1, tokens.vocab_size)

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
