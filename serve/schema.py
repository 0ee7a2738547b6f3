"""What a caller may ask: every field of OpenAI's two endpoints that we pass on, with its type and limits, and no other.

Strict: nothing is coerced, so what is checked here is what the engine gets. The same models are `/openapi.json`.
Errors name the field and what it may be.
"""

import difflib
import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from serve.replies import Refusal

MAX_CHOICES = 16  # answers (`n`) of one request, prompts, and both together: one caller must not fill the batch
MOST_TOKENS = 1_000_000
Text = Annotated[str, StringConstraints(max_length=2**22)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Stop = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Token = Annotated[int, Field(ge=0, lt=2**31)]
TokenKey = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}$")]
Tokens = Annotated[list[Token], Field(min_length=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]


class Exact(BaseModel):
    """A part of a request: known fields, right types, and no number that is none."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Part(Exact):
    type: Literal["text"]
    text: Text


class Called(Exact):
    name: Name
    arguments: Text


class Call(Exact):
    """A call that the model made in an earlier turn."""

    id: Name
    type: Literal["function"] = "function"
    function: Called


class _SentBack(Exact):
    """What an answer brings and clients send back in its turn: it says nothing to the model."""

    annotations: Any = None
    audio: Any = None
    function_call: Any = None
    reasoning: Any = None
    reasoning_content: Any = None
    refusal: Any = None


class Message(_SentBack):
    """A turn. Only an assistant's that calls tools may have no content."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Text | Annotated[list[Part], Field(min_length=1)] | None = None
    name: Name | None = None
    tool_calls: Annotated[list[Call], Field(max_length=128)] | None = None
    tool_call_id: Name | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.content is None and not (self.role == "assistant" and self.tool_calls):
            raise ValueError("content must be given, as text")
        return self


class Function(Exact):
    name: Name
    description: Text | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Exact):
    type: Literal["function"] = "function"
    function: Function


class Named(Exact):
    name: Name


class Chosen(Exact):
    type: Literal["function"]
    function: Named


class Schema(Exact):
    name: Name
    description: Text | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    strict: bool | None = None


class Plain(Exact):
    type: Literal["text", "json_object"]


class BySchema(Exact):
    type: Literal["json_schema"]
    json_schema: Schema


class Structure(Exact):
    """vLLM's own way to constrain an answer; one of the two."""

    choice: Annotated[list[Annotated[str, StringConstraints(min_length=1)]], Field(min_length=1, max_length=1000)] = []
    json_: Annotated[dict[str, Any] | None, Field(alias="json")] = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if bool(self.choice) == (self.json_ is not None):
            raise ValueError("give choice or json, one of the two")
        return self


class StreamOptions(Exact):
    include_usage: bool | None = None


class Thinking(Exact):
    enable_thinking: bool


class _Ignored(Exact):
    """OpenAI's own fields that mean nothing here: clients that send them are served all the same."""

    metadata: Any = None
    prompt_cache_key: Any = None
    prompt_cache_retention: Any = None
    reasoning_effort: Any = None
    safety_identifier: Any = None
    service_tier: Any = None
    store: Any = None
    verbosity: Any = None


class _Common(_Ignored):
    """What both endpoints take. `null` is as if a field was not there."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1, le=MOST_TOKENS)] | None = None
    min_tokens: Annotated[int, Field(ge=0, le=MOST_TOKENS)] | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, lt=2**31)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    logit_bias: Annotated[dict[TokenKey, Annotated[float, Field(ge=-100, le=100)]], Field(max_length=1024)] | None = (
        None
    )
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    stop_token_ids: Annotated[list[Token], Field(max_length=128)] | None = None
    ignore_eos: bool | None = None
    skip_special_tokens: bool | None = None
    return_token_ids: bool | None = None
    response_format: Plain | BySchema | None = None
    structured_outputs: Structure | None = None
    user: Annotated[str, StringConstraints(max_length=512)] | None = None

    @model_validator(mode="after")
    def _in_itself(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options goes with stream=true")
        if self.response_format is not None and self.structured_outputs is not None:
            raise ValueError("give response_format or structured_outputs, not both")
        return self


class ChatRequest(_Common):
    """POST /v1/chat/completions"""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1, le=MOST_TOKENS)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | Chosen | None = None
    parallel_tool_calls: bool | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    chat_template_kwargs: Thinking | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs goes with logprobs=true")
        if self.continue_final_message and self.add_generation_prompt is not False:
            raise ValueError("continue_final_message goes with add_generation_prompt=false")
        if self.tool_choice not in (None, "none") and not self.tools:
            raise ValueError("tool_choice goes with tools")
        if isinstance(self.tool_choice, Chosen) and self.tool_choice.function.name not in {
            tool.function.name for tool in self.tools or ()
        }:
            raise ValueError("tool_choice names none of the tools")
        return self


class CompletionRequest(_Common):
    """POST /v1/completions"""

    prompt: (
        Annotated[str, StringConstraints(min_length=1, max_length=2**22)]
        | Tokens
        | Annotated[list[Annotated[str, StringConstraints(min_length=1)]], Field(min_length=1, max_length=MAX_CHOICES)]
        | Annotated[list[Tokens], Field(min_length=1, max_length=MAX_CHOICES)]
    )
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None


SENT_BACK, IGNORED = frozenset(_SentBack.model_fields), frozenset(_Ignored.model_fields)  # taken out before the engine
REQUESTS: dict[str, type[_Common]] = {"/v1/chat/completions": ChatRequest, "/v1/completions": CompletionRequest}
CODES = {"missing": "missing_field", "extra_forbidden": "unknown_field", "value_error": "invalid_value"}
CODES |= dict.fromkeys(("less_than_equal", "less_than", "too_long", "string_too_long"), "too_many")


def check(request: dict[str, Any], path: str) -> None:
    """Refusal 400 unless the request is one of those that this path takes. It names the worst fault."""
    model = request.get("model")
    if not isinstance(model, str) or not model:
        raise Refusal(400, "model must be given, as a string", param="model", code="missing_model")
    for name in sorted(map(str, request.keys() - REQUESTS[path].model_fields.keys())):
        close = difflib.get_close_matches(name, REQUESTS[path].model_fields, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        if name.startswith("guided_"):
            hint = "; structured_outputs takes choice and json"
        raise Refusal(400, f"unknown field {name[:80]!r}{hint}", param=name[:80], code="unknown_field")
    try:
        REQUESTS[path].model_validate(request)
    except ValidationError as error:
        raise _said(request, error) from None


def _said(request: dict[str, Any], error: ValidationError) -> Refusal:
    """The fault that lies deepest: of a value that could be several things, the one it is most like."""
    fault = max(error.errors(include_url=False, include_context=False), key=lambda fault: len(_place(request, fault)))
    place = _place(request, fault)
    name = str(place[0]) if place else None
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")
    what = fault["msg"].removeprefix("Value error, ")
    what = re.sub(r"a valid dictionary or instance of \w+|a valid dictionary", "an object", what)
    kind = fault["type"]
    code = CODES.get(kind, "invalid_type" if kind.endswith("_type") else "invalid_value")
    if name == "messages" and where.endswith(".role"):
        code = "invalid_role"
    elif name == "messages" and len(place) == 5 and where.endswith(".type"):
        code, what = "text_only", "messages hold text only here"
    elif name == "tools":
        code = "no_tool"
    if kind == "missing":
        what, where = "must be given", ".".join(filter(None, (where, str(fault["loc"][-1]))))
        name = name or str(fault["loc"][-1])
    return Refusal(400, f"{where[:200]}: {what}" if where else what, param=name, code=code)


def _place(request: dict[str, Any], fault: Any) -> tuple[str | int, ...]:
    """Where a fault lies in the request itself, without the names of the types that were tried."""
    at: Any = request
    place: list[str | int] = []
    for part in fault["loc"]:
        try:
            at = at[part]
        except (KeyError, IndexError, TypeError):
            continue
        place.append(part)
    return tuple(place)
