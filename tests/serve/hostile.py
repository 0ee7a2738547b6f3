"""Requests that no honest client sends: junk in every field, bytes that are no JSON, paths and methods that are not."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Sequence
from typing import Any

import httpx

CHAT = "/v1/chat/completions"
KEYS = """
    logit_bias logprobs max_completion_tokens max_tokens messages min_tokens model n parallel_tool_calls prompt
    response_format seed stop stop_token_ids stream stream_options structured_outputs temperature tool_choice tools
    top_k top_logprobs top_p user
""".split()
PATHS = [CHAT, "/v1/completions", CHAT, "/v1/models", "/../../etc/passwd", "/adapters", "/v1/load_lora_adapter"]
JUNK = [None, True, -1, 0, 3, 1e308, 2**70, "", "\u0000", "summary", "auto", "../" * 50, "💥" * 100, [], {}, [[]]]


def attack(url: str, count: int, seed: int) -> None:
    """Send `count` requests: each is answered, or refused as the client's fault and in OpenAI's shape."""
    dice = random.Random(seed)
    with httpx.Client(base_url=url, timeout=120) as client:
        for number in range(count):
            method = dice.choice(["POST", "POST", "POST", "GET", "DELETE", "PUT"])
            body = bytes(dice.randrange(256) for _ in range(200)) if number % 10 == 0 else bad(dice, number)
            headers = {"".join(dice.choices(string.ascii_letters, k=8)): "x" * dice.randint(0, 2000)}
            reply = client.request(method, dice.choice(PATHS), content=body, headers=headers)
            assert reply.status_code in (200, 400, 404, 405), (body, reply.text)
            if reply.status_code >= 400:
                assert set(reply.json()["error"]) == {"message", "type", "param", "code"}, reply.text


def bad(dice: random.Random, number: int, models: Sequence[str] = ("summary", "summary@v2", "tiny")) -> bytes:
    """A body. Half of them are sound but for one or two fields, so that they get as far as the engine."""
    body: dict[str, Any] = {key: _junk(dice) for key in dice.sample(KEYS, dice.randint(0, 6))}
    if number % 2:
        body = {key: body[key] for key in list(body)[:2]}
        body = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 2, **body}
        body["model"] = dice.choice(models)
    return json.dumps(body).encode()


def _junk(dice: random.Random, depth: int = 0) -> Any:
    if depth < 3 and dice.random() < 0.4:
        inner = [_junk(dice, depth + 1) for _ in range(3)]
        return inner if dice.random() < 0.5 else dict(zip(("role", "content", "type"), inner, strict=True))
    return dice.choice(JUNK)
