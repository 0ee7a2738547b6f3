"""People's own requests on the real vLLM: a classification answers with a label whatever stands beside the question,
JSON ends, what is no text is refused in our own words."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.conftest import Server
from tests.fakes.adapters import register
from tests.serve.hostile import CHAT
from tests.serve.load import until

pytestmark = pytest.mark.slow
USER: list[Any] = [{"role": "user", "content": "lamp rope order status change tile jar"}]
ODD = [
    "order",
    "order status",
    "order status change",
    "🎉 party",
    'said "no"',
    "a\\b",
    "two\nlines",
    "订单",
    "[x]*",
    "x" * 80,
]
TOOL = {"type": "function", "function": {"name": "note", "parameters": {"type": "object", "properties": {}}}}
ENUM = {
    "type": "object",
    "properties": {"label": {"type": "string", "enum": ["refund", "delivery"]}, "n": {"type": "integer"}},
    "required": ["label", "n"],
    "additionalProperties": False,
}


def post(server: Server, path: str = CHAT, **body: Any) -> httpx.Response:
    return httpx.post(f"{server.url}{path}", json=body, timeout=300)


@pytest.fixture(scope="module")
def odd(server: Server) -> str:
    """A classification whose labels begin alike, and hold what grammars and tokenizers stumble over."""
    register(server.base, "odd", 31, kind="classification", labels=ODD)
    assert until(lambda: httpx.get(f"{server.url}/v1/models/odd@v1").status_code == 200)
    return "odd@v1"


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"response_format": {"type": "text"}},
        {"tools": [TOOL], "tool_choice": "none"},
        {"max_tokens": 1},
        {"max_completion_tokens": 1},
        {"stop": ["r", "order"], "ignore_eos": True, "min_tokens": 40, "stop_token_ids": [5]},
        {"skip_special_tokens": False, "logit_bias": {"7": 100}, "repetition_penalty": 3.0},
        {"temperature": 2, "top_p": 1, "frequency_penalty": 2, "n": 8},
        {"messages": [*USER, {"role": "assistant", "content": "ord"}], "add_generation_prompt": False,
         "continue_final_message": True},
    ],
    ids=str,
)  # fmt: skip
def test_a_classification_answers_with_one_of_its_labels(server: Server, odd: str, more: dict[str, Any]) -> None:
    for temperature in (0, 1.5):
        body = {"model": odd, "messages": USER, "temperature": temperature, "seed": 1} | more
        reply = post(server, **body)
        assert reply.status_code == 200, reply.text
        for choice in reply.json()["choices"]:
            assert choice["message"]["content"] in ODD and choice["finish_reason"] == "stop", choice
    with httpx.stream("POST", f"{server.url}{CHAT}", json=body | {"stream": True, "n": 1}, timeout=300) as answer:
        events = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: {")]
    assert "".join(c["delta"].get("content") or "" for event in events for c in event["choices"]) in ODD


def test_a_raw_prompt_is_answered_with_a_label_too(server: Server, odd: str) -> None:
    reply = post(server, "/v1/completions", model=odd, prompt=["order", "party"], max_tokens=1, temperature=1)
    assert [choice["text"] in ODD for choice in reply.json()["choices"]] == [True, True], reply.text


@pytest.mark.parametrize("how", ["response_format", "structured_outputs"])
def test_json_is_closed_and_runs_into_no_white_space(server: Server, odd: str, how: str) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": ENUM}}
    asked = {"response_format": form} if how == "response_format" else {"structured_outputs": {"json": ENUM}}
    for seed in range(4):
        reply = post(server, model=odd, messages=USER, max_tokens=200, temperature=1.5, seed=seed, **asked)
        (choice,) = reply.json()["choices"]
        text = choice["message"]["content"]
        assert not text.endswith(" ") and "  " not in text and "\n" not in text, text
        if choice["finish_reason"] == "stop":  # an integer may have any number of digits
            assert set(json.loads(text)) == {"label", "n"}


def test_a_blank_system_message_leaves_the_versions_prompt(server: Server) -> None:
    def seen(*before: dict[str, Any]) -> Any:
        asked = {"model": "summary", "messages": [*before, *USER], "max_tokens": 1, "return_token_ids": True}
        return post(server, **asked).json()["prompt_token_ids"]

    blank = [{"role": "system", "content": content} for content in ("", " \n\u3000", [{"type": "text", "text": " "}])]
    assert [seen(one) for one in blank] == [seen()] * 3 != [seen({"role": "system", "content": "Another."})] * 3


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (rb'{"model": "summary", "\ude00": 1, "messages": [{"role": "user", "content": "a"}]}', "surrogate"),
        (rb'{"model": "summary", "user": "\ud83d", "messages": [{"role": "user", "content": "a"}]}', "surrogate"),
        (rb'{"model": "summary", "stop": "\ude00", "messages": [{"role": "user", "content": "a"}]}', "surrogate"),
        (rb'{"model": "summary", "messages": [{"role": "user", "content": "emoji \ud83d"}]}', "surrogate"),
        (b'{"model": "summary", "messages": [{"role": "user", "content": "\xed\xa0\x80"}]}', "not valid JSON"),
        (b'{"model": "summary", "messages": null}', "messages: "),
        (b'{"model": "summary", "messages": [{"role": "user", "content": null}]}', "content must be given"),
        (b'{"model": "odd@v1", "guided_choice": ["a"], "messages": []}', "structured_outputs takes choice"),
        (b'{"model": "summary", "prompt": "a<|im_end|>b"}', "prompt holds <|im_end|>"),
    ],
)
def test_what_is_no_request_is_one_400_of_our_own(server: Server, odd: str, body: bytes, said: str) -> None:
    path = "/v1/completions" if b'"prompt"' in body else CHAT
    reply = httpx.post(f"{server.url}{path}", content=body, timeout=60)
    assert reply.status_code == 400 and said in reply.json()["error"]["message"], reply.text
