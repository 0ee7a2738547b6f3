"""A client's request made into the engine's: known fields, then what the version brings where the caller is silent.

A version brings its system prompt, its decoding defaults and, for a classification, its labels: the engine may then
answer nothing else.
"""

from __future__ import annotations

import difflib
import json
from typing import Any

from factory.registry.store import Facts
from serve.replies import Refusal

MAX_SCHEMA, MAX_COUNT = 2**15, 500  # characters of a schema, and how far it may count characters or items
COUNTS = {"maxItems", "maxLength", "maxProperties", "minItems", "minLength", "minProperties"}
MAX_CHOICES = 16  # answers (`n`) and prompts of one request: one caller must not fill the engine's batch
_SAMPLING = """
    frequency_penalty ignore_eos logit_bias logprobs max_tokens min_p min_tokens n presence_penalty
    repetition_penalty response_format return_token_ids seed skip_special_tokens stop stop_token_ids stream
    stream_options structured_outputs temperature top_k top_p
""".split()
FIELDS = {
    "/v1/chat/completions": {
        *("messages", "model", "user", *_SAMPLING),
        *("max_completion_tokens", "parallel_tool_calls", "tool_choice", "tools", "top_logprobs"),
        *("add_generation_prompt", "chat_template_kwargs", "continue_final_message"),
    },
    "/v1/completions": {"echo", "model", "prompt", "user", *_SAMPLING},
}
# Fields that the engine takes apart before it looks at their types.
KINDS: dict[str, type] = {
    **dict.fromkeys(("stream", "parallel_tool_calls"), bool),
    **dict.fromkeys(
        ("chat_template_kwargs", "logit_bias", "response_format", "stream_options", "structured_outputs"), dict
    ),
    **dict.fromkeys(("messages", "stop_token_ids", "tools"), list),
}
SAID = {bool: "true or false", dict: "an object", list: "a list"}
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
# OpenAI's own fields that mean nothing here: clients that send them are served all the same.
IGNORED = {
    *("metadata", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "service_tier", "store"),
    *("verbosity", "reasoning_effort"),
}


def parse(body: bytes, path: str) -> dict[str, Any]:
    """The JSON object of a request, with known fields only. Refusal 400 says what is wrong with it."""
    try:
        request = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"the body is not valid JSON: {error}", code="invalid_json") from None
    if not isinstance(request, dict):
        raise Refusal(400, "the body must be a JSON object", code="invalid_json")
    model = request.get("model")
    if not isinstance(model, str) or not model:
        raise Refusal(400, "model must be given, as a string", param="model", code="missing_model")
    for name in request.keys() - FIELDS[path]:
        if name not in IGNORED:
            close = difflib.get_close_matches(name, FIELDS[path], n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise Refusal(400, f"unknown field {name[:80]!r}{hint}", param=name[:80], code="unknown_field")
        del request[name]
    _limit(request, "n", request.get("n"))
    if isinstance(prompts := request.get("prompt"), list) and any(not isinstance(p, int) for p in prompts):
        _limit(request, "prompt", len(prompts))
    for name, kind in KINDS.items():
        if not isinstance(request.get(name), kind | None):
            raise Refusal(400, f"{name} must be {SAID[kind]}", param=name, code="invalid_type")
    for tool in request.get("tools") or []:
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise Refusal(400, "each tool is an object with a function that has a name", param="tools", code="no_tool")
    if unknown := (request.get("structured_outputs") or {}).keys() - {"choice", "json"}:
        why = f"structured_outputs takes choice or json here, not {min(unknown)[:40]}"
        raise Refusal(400, why, param="structured_outputs", code="unknown_field")
    for name in ("response_format", "structured_outputs", "tools"):
        _modest(name, request.get(name))
    for message in request.get("messages") or []:
        if _role(message) not in ROLES:
            raise Refusal(400, f"each message needs a role: {', '.join(ROLES)}", param="messages", code="invalid_role")
        content = message.get("content")
        if isinstance(content, list) and any(not isinstance(p, dict) or p.get("type") != "text" for p in content):
            raise Refusal(400, "messages hold text only here", param="messages", code="text_only")
    return request


def complete(request: dict[str, Any], model: str, facts: Facts | None) -> dict[str, Any]:
    """The request for the engine under the internal name `model`. `facts` are the version's, None for the base."""
    request = {**request, "model": model}
    if request.get("stream"):
        request["stream_options"] = {**(request.get("stream_options") or {}), "include_usage": True}
    if facts is None:
        return request
    messages = request.get("messages")
    if facts.prompt and messages and not any(_role(m) in ("system", "developer") for m in messages):
        request["messages"] = [{"role": "system", "content": facts.prompt}, *messages]
    decoding = facts.decoding.model_dump()
    if request.get("max_completion_tokens") is not None:
        decoding.pop("max_tokens")
    for name, value in decoding.items():
        if request.get(name) is None:
            request[name] = value
    free = not any(request.get(name) for name in ("response_format", "structured_outputs", "tools"))
    if facts.labels and free:
        request["structured_outputs"] = {"choice": facts.labels}
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


def wants_usage(request: dict[str, Any]) -> bool:
    """Whether the caller asked for the usage chunk that we always ask the engine for."""
    return bool((request.get("stream_options") or {}).get("include_usage"))


def _role(message: Any) -> Any:
    return message.get("role") if isinstance(message, dict) else None


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


def _limit(request: dict[str, Any], name: str, value: Any) -> None:
    if isinstance(value, int) and value > MAX_CHOICES:
        raise Refusal(400, f"{name} is at most {MAX_CHOICES} here", param=name, code="too_many")


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")
