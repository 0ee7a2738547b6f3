"""A client's request made into the engine's: what `schema.py` allows, then what the version brings where the caller is
silent.

A version brings its system prompt, its decoding defaults and the form of its answers: a classification's labels, a JSON
schema, a pattern, or a grammar of the prompt. The engine may then answer nothing else.
"""

import json
from typing import Any

from pydantic_core import from_json

from factory.decoding import FORMS
from factory.registry.store import Facts
from factory.strict import dotted
from factory.unheld import unheld
from serve.replies import Refusal
from serve.schema import IGNORED, MAX_CHOICES, SENT_BACK, check

MAX_SCHEMA, MAX_COUNT = 2**15, 500  # characters of a schema, and how far it may count characters or items
LONG = 1024  # tokens of a prompt from which on it is long
COUNTS = {"maxItems", "maxLength", "maxProperties", "minItems", "minLength", "minProperties"}
CUTS = ("stop", "stop_token_ids", "ignore_eos", "min_tokens")  # what could end an answer early or late


def parse(body: bytes, path: str) -> dict[str, Any]:
    """The JSON object of a request, checked. Refusal 400 says what is wrong with it."""
    try:
        request = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        half = " (half of a surrogate pair is no text)" if "hex escape" in str(error) else ""
        raise Refusal(400, f"the body is not valid JSON: {error}{half}", code="invalid_json") from None
    if not isinstance(request, dict):
        raise Refusal(400, "the body must be a JSON object", code="invalid_json")
    for name in ("response_format", "structured_outputs", "tools"):
        _modest(name, request.get(name))
    check(request, path)
    _held(request)
    for name in IGNORED & request.keys():
        del request[name]
    for message in request.get("messages") or ():
        for name in SENT_BACK & message.keys():
            del message[name]
    if answers(request) > MAX_CHOICES:
        raise Refusal(400, f"n times the prompts is at most {MAX_CHOICES} here", param="n", code="too_many")
    return request


def answers(request: dict[str, Any]) -> int:
    """How many answers a request asks for: each takes a place in the engine's batch."""
    prompt = request.get("prompt")
    several = len(prompt) if isinstance(prompt, list) and not isinstance(prompt[0], int) else 1
    return int(request.get("n") or 1) * several


def is_long(request: dict[str, Any]) -> bool:
    """Whether reading the prompt takes long: a token is about four characters."""
    return len(json.dumps(request.get("messages") or request.get("prompt"))) > 4 * LONG


def complete(request: dict[str, Any], model: str, facts: Facts | None) -> dict[str, Any]:
    """The request for the engine under the internal name `model`. `facts` are the version's, None for the base."""
    request = {**request, "model": model}
    if request.get("stream"):
        request["stream_options"] = {**(request.get("stream_options") or {}), "include_usage": True}
    if facts is None:
        return request
    if messages := request.get("messages"):
        said = [m for m in messages if not (m["role"] in ("system", "developer") and _blank(m.get("content")))]
        if facts.prompt and not any(m["role"] in ("system", "developer") for m in said):
            request["messages"] = [{"role": "system", "content": facts.prompt}, *said]
    decoding = facts.decoding.model_dump(exclude={*FORMS})
    if request.get("max_completion_tokens") is not None:
        decoding.pop("max_tokens")
    for name, value in decoding.items():
        if request.get(name) is None:
            request[name] = value
    form = {"choice": facts.labels} if facts.labels else facts.decoding.form(request.get("messages") or ())
    if form and not _another_form(request):
        request["structured_outputs"] = form
        for name in (*CUTS, "response_format"):
            request.pop(name, None)
    if "choice" in form and request.get("structured_outputs") == form:
        # A label in the worst case a token for each byte, and one that ends it: never cut, however few were asked for.
        room = max(len(label.encode()) for label in facts.labels) + 1
        limit = "max_completion_tokens" if request.get("max_completion_tokens") is not None else "max_tokens"
        request[limit] = max(request[limit], room)
    return request


def refuse_tools(request: dict[str, Any], base: str) -> None:
    """Refusal 400 if the caller wants tools to be called, which this base cannot: the engine would not know a call when
    it sees one, and most such templates do not even show the tools to the model."""
    if request.get("tools") and request.get("tool_choice") != "none":
        why = (
            f"{base}, the base of this model, answers without tools: its chat template and tokenizer have no form for "
            'calls that is known here; leave tools out, or send tool_choice="none"'
        )
        raise Refusal(400, why, param="tools", code="tools_unsupported")


def _another_form(request: dict[str, Any]) -> bool:
    """Whether the caller asks for another form: JSON, choices of its own, or a tool's call."""
    form = (request.get("response_format") or {}).get("type", "text")
    tools = request.get("tools") and request.get("tool_choice") != "none"
    return form != "text" or bool(request.get("structured_outputs")) or bool(tools)


def _blank(content: Any) -> bool:
    parts = content if isinstance(content, list) else [{"text": content or ""}]
    return not any(part["text"].strip() for part in parts)


def _held(request: dict[str, Any]) -> None:
    """Refusal 400 for a schema of which the engine would not hold a part, with its path."""
    for place in (("response_format", "json_schema", "schema"), ("structured_outputs", "json")):
        schema: Any = request
        for part in place:
            schema = (schema or {}).get(part)
        for at, why in unheld(schema):
            raise Refusal(400, f"{dotted((*place, *at))}: {why}", param=place[0], code="schema_not_held")


def _modest(name: str, schema: Any) -> None:
    """Refusal 400 for a schema that would keep the engine compiling for minutes: too long, or counting too far."""
    if schema and len(json.dumps(schema)) > MAX_SCHEMA:
        raise Refusal(400, f"{name} is longer than {MAX_SCHEMA} characters", param=name, code="too_large")
    parts = [schema]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            for key in COUNTS & part.keys():
                if isinstance(part[key], int | float) and part[key] > MAX_COUNT:
                    raise Refusal(400, f"{key} is at most {MAX_COUNT} here", param=name, code="too_many")
            parts += part.values()
        elif isinstance(part, list):
            parts += part
