"""2,000 requests made from our own OpenAPI description: each is answered or refused as the caller's fault."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import httpx

from serve import remote
from tests.fakes.serving import Fake

JUNK: list[Any] = [None, True, -1, 0, 1.6e4, "16000", 1e308, 2**70, "", "\u0000", "💥", "../" * 9, [], {}, [[]], [None]]
MODELS = ["summary", "summary@v2", "classification", "identity", "tiny", "nobody"]
COUNT = 2000


def make(schema: dict[str, Any], parts: dict[str, Any], dice: random.Random, name: str = "", depth: int = 0) -> Any:
    """A value that the JSON schema allows, short and with few tokens to write."""
    if "$ref" in schema:
        return make(parts[schema["$ref"].rpartition("/")[2]], parts, dice, name, depth)
    if "anyOf" in schema:
        return make(dice.choice(schema["anyOf"]), parts, dice, name, depth)
    if "enum" in schema or "const" in schema:
        return dice.choice(schema.get("enum") or [schema["const"]])
    kind = schema.get("type")
    if kind == "object":
        properties = schema.get("properties", {})
        names = [n for n in properties if n in schema.get("required", ()) or dice.random() < 0.25 / (depth + 1)]
        return {n: make(properties[n], parts, dice, n, depth + 1) for n in names}
    if kind == "array":
        least, most = schema.get("minItems", 0), min(schema.get("maxItems", 3), 3)
        return [
            make(schema["items"], parts, dice, name, depth + 1) for _ in range(dice.randint(least, max(least, most)))
        ]
    if kind in ("integer", "number"):
        low, high = schema.get("minimum", schema.get("exclusiveMinimum", 0)), schema.get("maximum", 9)
        top = min(high, 9)
        return dice.randint(int(low), int(top)) if kind == "integer" else dice.uniform(float(low), float(top))
    if kind == "boolean":
        return dice.random() < 0.5
    if kind == "string":
        return dice.choice(MODELS) if name == "model" else dice.choice(["Hello", "7", "ü", "x y", "אב"])
    return None if kind == "null" else dice.choice(JUNK)


def spoil(value: Any, dice: random.Random) -> Any:
    """The same with junk, a surprise or a gap at one place."""
    found: list[tuple[Any, Any]] = []

    def walk(at: Any) -> None:
        for key in list(at) if isinstance(at, dict) else range(len(at)) if isinstance(at, list) else ():
            found.append((at, key))
            walk(at[key])

    walk(value := copy.deepcopy(value))
    if not found:
        return value
    at, key = dice.choice(found)
    if isinstance(at, dict) and dice.random() < 0.2:
        at[dice.choice(["nope", "guided_choice", "n", "stop"])] = dice.choice(JUNK)
    elif isinstance(at, dict) and dice.random() < 0.1:
        del at[key]
    else:
        at[key] = dice.choice(JUNK)
    return value


def test_2000_requests_made_from_our_own_description(calm: Fake) -> None:
    dice, answered, refused = random.Random(20), 0, 0
    with httpx.Client(base_url=calm.url, timeout=60) as client:
        described = client.get("/openapi.json").json()
        parts = described["components"]["schemas"]
        posts = [path for path, item in described["paths"].items() if "post" in item]
        assert posts == ["/v1/chat/completions", "/v1/completions"]
        for _ in range(COUNT):
            path = dice.choice(posts)
            body = described["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
            request = make(body, parts, dice)
            if dice.random() < 0.5:
                request = spoil(request, dice)
            reply = client.post(path, content=json.dumps(request))
            assert reply.status_code in (200, 400, 404), (request, reply.text)
            if reply.status_code == 200:
                answered += 1
            else:
                refused += 1
                assert set(reply.json()["error"]) == {"message", "type", "param", "code"}, reply.text
                assert reply.json()["error"]["code"] != "internal"
    assert answered > COUNT / 10 and refused > COUNT / 10, (answered, refused)
    assert (remote.state() or {})["leases"] == 0
