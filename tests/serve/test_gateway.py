"""The public API: what callers get, what they are refused and how, on a server over a fake engine."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import openai
import pytest

from factory.base.build import Base
from factory.errors import InputError
from serve import remote
from serve.server import Options
from tests.fakes.serving import Fake, fake_server
from tests.serve.conftest import LABELS
from tests.serve.hostile import CHAT, attack
from tests.serve.load import until

USER = [{"role": "user", "content": "x"}]
ASKED = b'"messages": [{"role": "user", "content": "x"}]'


def chat(fake: Fake, **changes: Any) -> httpx.Response:
    body = {"model": "summary", "messages": USER} | changes
    return httpx.post(f"{fake.url}{CHAT}", json=body, timeout=30)


def test_a_version_brings_its_prompt_and_its_defaults(calm: Fake) -> None:
    answer = chat(calm).json()
    assert answer["model"] == "summary"
    assert answer["usage"]["completion_tokens"] == 16  # the version's own max_tokens
    seen = answer["choices"][0]["message"]["seen"]
    assert seen == [{"role": "system", "content": "You do the task summary."}, *USER]
    own = [{"role": "system", "content": "mine"}, *USER]
    assert chat(calm, messages=own).json()["choices"][0]["message"]["seen"] == own
    assert chat(calm, model="identity").json()["choices"][0]["message"]["seen"] == USER  # it has no prompt
    assert chat(calm, max_tokens=3).json()["usage"]["completion_tokens"] == 3
    assert chat(calm, model="tiny").json()["choices"][0]["message"]["seen"] == USER  # the bare base


def test_a_classification_answers_with_a_label(calm: Fake) -> None:
    assert chat(calm, model="classification").json()["choices"][0]["message"]["content"] == "billing"
    tool = {"type": "function", "function": {"name": "note"}}
    for more in (
        {"response_format": {"type": "text"}},
        {"tools": [tool], "tool_choice": "none"},
        {"max_tokens": 1},
        {"max_completion_tokens": 1},
        {"stop": "b", "ignore_eos": True, "min_tokens": 40, "stop_token_ids": [1]},
    ):
        message = chat(calm, model="classification", **more).json()["choices"][0]["message"]
        assert message["content"] == "billing"
        assert message["asked"]["structured_outputs"] == {"choice": LABELS}
        limit = message["asked"].get("max_completion_tokens") or message["asked"]["max_tokens"]
        assert limit >= len("delivery") + 1 and "stop" not in message["asked"] and "min_tokens" not in message["asked"]
    other = chat(calm, model="classification", structured_outputs={"choice": ["mine"]}).json()
    assert other["choices"][0]["message"]["content"] == "mine"


def test_a_blank_system_message_does_not_displace_the_prompt(calm: Fake) -> None:
    for blank in ("", " \n", [{"type": "text", "text": "  "}]):
        seen = chat(calm, messages=[{"role": "system", "content": blank}, *USER]).json()["choices"][0]["message"][
            "seen"
        ]
        assert seen == [{"role": "system", "content": "You do the task summary."}, *USER]


def test_names_and_headers(calm: Fake) -> None:
    live = chat(calm).headers["x-adapter-version"]
    assert chat(calm, model="summary@prod").headers["x-adapter-version"] == live
    assert chat(calm, model="summary@v1").headers["x-adapter-version"] == live
    assert chat(calm, model=live).json()["model"] == live
    assert chat(calm, model="summary@v2").headers["x-adapter-version"] != live
    reply = httpx.post(
        f"{calm.url}{CHAT}", json={"model": "summary", "messages": USER}, headers={"x-request-id": "abc-1"}
    )
    assert reply.headers["x-request-id"] == "abc-1"
    names = [model["id"] for model in httpx.get(f"{calm.url}/v1/models").json()["data"]]
    assert {"tiny", "summary", "summary@v3", "identity", "classification"} <= set(names)
    card = httpx.get(f"{calm.url}/v1/models/summary").json()
    assert card["root"] == live and card["object"] == "model"


def test_streams_tell_the_usage_only_to_those_who_ask(calm: Fake) -> None:
    client = openai.OpenAI(base_url=f"{calm.url}/v1", api_key="none", max_retries=0)
    silent = list(client.chat.completions.create(model="summary", messages=USER, stream=True))  # type: ignore[call-overload]
    assert {chunk.model for chunk in silent} == {"summary"} and not any(chunk.usage for chunk in silent)
    asked = list(
        client.chat.completions.create(  # type: ignore[call-overload]
            model="summary", messages=USER, stream=True, stream_options={"include_usage": True}
        )
    )
    assert asked[-1].usage.completion_tokens == 16 and asked[-1].choices == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{oops", 400, "invalid_json"),
        (b"", 400, "invalid_json"),
        (b"[1]", 400, "invalid_json"),
        (b"\xff\xfe", 400, "invalid_json"),
        (b"[" * 100_000, 400, "invalid_json"),
        (b'{"model": NaN}', 400, "invalid_json"),
        (b'{"messages": [{"role": "user", "content": "x"}]}', 400, "missing_model"),
        (b'{"model": 3, "messages": [{"role": "user", "content": "x"}]}', 400, "missing_model"),
        (b'{"model": "nope", %s}' % ASKED, 404, "model_not_found"),
        (b'{"model": "summary@v99", %s}' % ASKED, 404, "model_not_found"),
        (b'{"model": "summary@canary", %s}' % ASKED, 404, "model_not_found"),
        (b'{"model": "../../etc/passwd", %s}' % ASKED, 404, "model_not_found"),
        (b'{"model": "/etc/passwd", %s}' % ASKED, 404, "model_not_found"),
        (b'{"model": "summary\\u0000", %s}' % ASKED, 404, "model_not_found"),
        (b'{"model": "summary@@v1", %s}' % ASKED, 404, "model_not_found"),
        (b'{"model": "summary", %s, "nope": 1}' % ASKED, 400, "unknown_field"),
        (
            b'{"model": "summary", %s, "kv_transfer_params": {}}' % ASKED,
            400,
            "unknown_field",
        ),
        (b'{"model": "summary", "messages": "x"}', 400, "invalid_type"),
        (b'{"model": "summary", "messages": ["x"]}', 400, "invalid_type"),
        (b'{"model": "summary", "messages": null}', 400, "invalid_type"),
        (b'{"model": "summary"}', 400, "missing_field"),
        (b'{"model": "summary", "messages": [{"role": "user", "content": null}]}', 400, "invalid_value"),
        (b'{"model": "summary", "messages": [{"role": "user"}]}', 400, "invalid_value"),
        (b'{"model": "summary", %s, "n": "16000"}' % ASKED, 400, "invalid_type"),
        (b'{"model": "summary", %s, "n": 1.6e4}' % ASKED, 400, "invalid_type"),
        (b'{"model": "summary", %s, "n": true}' % ASKED, 400, "invalid_type"),
        (b'{"model": "summary", %s, "max_tokens": "9"}' % ASKED, 400, "invalid_type"),
        (b'{"model": "summary", %s, "temperature": 1e999}' % ASKED, 400, "invalid_value"),
        (b'{"model": "summary", %s, "logit_bias": {"x": 1}}' % ASKED, 400, "invalid_value"),
        (b'{"model": "summary", %s, "\\ud800": 1}' % ASKED, 400, "invalid_json"),
        (b'{"model": "summary", %s, "user": "\\ud800"}' % ASKED, 400, "invalid_json"),
        (b'{"model": "summary", %s, "stop": "\\udc00x"}' % ASKED, 400, "invalid_json"),
        (b'{"model": "summary", %s, "structured_outputs": {"choice": null}}' % ASKED, 400, "invalid_type"),
        (b'{"model": "summary", "messages": [{"role": "nobody", "content": "x"}]}', 400, "invalid_role"),
        (b'{"model": "summary", %s, "stream": "yes"}' % ASKED, 400, "invalid_type"),
        (b'{"model": "summary", %s, "n": 1000000}' % ASKED, 400, "too_many"),
        (
            b'{"model": "summary", %s, "structured_outputs": "json"}' % ASKED,
            400,
            "invalid_type",
        ),
        (
            b'{"model": "summary", %s, "tools": [{"type": "function"}]}' % ASKED,
            400,
            "no_tool",
        ),
        (
            b'{"model": "summary", %s, "structured_outputs": {"regex": "((a+)+)+"}}' % ASKED,
            400,
            "unknown_field",
        ),
        (
            b'{"model": "summary", %s, "response_format": {"x": [{"maxLength": 1e6}]}}' % ASKED,
            400,
            "too_many",
        ),
        pytest.param(
            b'{"model": "summary", %s, "structured_outputs": {"json": "%s"}}' % (ASKED, b"x" * 40000),
            *(400, "too_large"),
            id="a long schema",
        ),
        (b'{"model": "summary", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]}', 400, "text_only"),
    ],
)
def test_wrong_requests_get_openais_errors(calm: Fake, body: bytes, status: int, code: str) -> None:
    reply = httpx.post(f"{calm.url}{CHAT}", content=body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("how", ["response_format.json_schema.schema", "structured_outputs.json"])
@pytest.mark.parametrize(
    ("part", "why"),
    [
        ({"type": "string", "pattern": "^[a-z]+$", "maxLength": 3}, "beside a pattern the engine ignores"),
        ({"type": "string", "format": "date", "minLength": 3}, "beside the format date the engine ignores"),
        ({"allOf": [{"type": "string"}, {"enum": ["a"]}]}, "the engine ignores all 2 parts of allOf"),
    ],
    ids=str,
)
def test_a_schema_that_would_not_be_held_is_refused_with_its_path(
    calm: Fake, how: str, part: dict[str, Any], why: str
) -> None:
    def ask(schema: dict[str, Any]) -> httpx.Response:
        if how.startswith("structured"):
            return chat(calm, structured_outputs={"json": schema})
        return chat(calm, response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})

    reply = ask({"type": "object", "properties": {"n": {"type": "array", "items": part}}})
    error = reply.json()["error"]
    assert reply.status_code == 400 and error["message"].startswith(f"{how}.properties.n.items: {why}")
    assert (error["param"], error["code"]) == (how.partition(".")[0], "schema_not_held")
    assert ask({"type": "object", "properties": {"n": {"const": part}}}).status_code == 200


def test_200_hostile_requests_are_refused_with_the_right_code(calm: Fake) -> None:
    attack(calm.url, 200, seed=7)
    assert chat(calm).status_code == 200
    assert (remote.state() or {})["leases"] == 0


def test_only_the_paths_of_the_api_can_be_reached(calm: Fake) -> None:
    for path in (
        "/",
        "/docs",
        "/v1/load_lora_adapter",
        "/adapters",
        "/invocations",
        "/v1/factory/load",
    ):
        assert httpx.post(calm.url + path, json={}).status_code == 404
    assert httpx.get(f"{calm.url}{CHAT}").status_code == 405
    assert httpx.post(f"{calm.url}/health").status_code == 405


def test_a_body_too_large_is_refused(calm: Fake) -> None:
    assert httpx.post(f"{calm.url}{CHAT}", content=b" " * (5 * 2**20)).status_code == 413


def test_without_keys_a_web_page_is_not_served(calm: Fake) -> None:
    body = {"model": "summary", "messages": USER}
    for headers in ({"origin": "https://evil.example"}, {"host": "evil.example:8000"}):
        reply = httpx.post(f"{calm.url}{CHAT}", json=body, headers=headers)
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, "not_local")
    assert httpx.post(f"{calm.url}{CHAT}", json=body, headers={"origin": calm.url}).status_code == 200


def test_a_caller_that_hangs_up_gives_everything_back(calm: Fake) -> None:
    async def hang_up() -> None:
        async with aiohttp.ClientSession() as session:
            body = {"model": "summary", "messages": USER, "stream": True, "max_tokens": 5000}
            async with session.post(f"{calm.url}{CHAT}", json=body) as reply:
                await reply.content.readline()
                assert (remote.state() or {})["leases"] == 1

    asyncio.run(hang_up())
    assert until(lambda: (remote.state() or {})["leases"] == 0)
    assert (remote.state() or {})["engines"][0]["running"] == 0


def test_what_comes_too_slowly_or_never_ends_is_cut_off(
    place: Path, made_up: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Headers or a body that trickle, and headers without end; a client has a second here, else 10 and 30."""
    monkeypatch.setenv("FAKE_PATIENCE", "1")
    with fake_server(place) as running:
        host, port = running.url.removeprefix("http://").split(":")

        def closed(*parts: bytes) -> bytes:
            """What the server says before it closes the connection."""
            with socket.create_connection((host, int(port)), timeout=60) as connection:
                said = b""
                try:
                    for part in parts:
                        connection.sendall(part)
                    while data := connection.recv(1000):
                        said += data
                except (ConnectionResetError, BrokenPipeError):  # it closed while more was on its way
                    pass
                return said

        assert closed(b"GET /health HTTP/1.1\r\nX: ") == b""
        assert closed(b"GET /health HTTP/1.1\r\n", *[b"X: " + b"y" * 4000 + b"\r\n"] * 100) == b""
        slow = closed(b"POST /v1/completions HTTP/1.1\r\ncontent-length: 9\r\nconnection: close\r\n\r\n{")
        assert slow.startswith(b"HTTP/1.1 408 ") and json.loads(slow.partition(b"\r\n\r\n")[2])["error"]["code"]
        assert httpx.get(f"{running.url}/health").status_code == 200


def test_metrics_have_bounded_labels(fake: Fake) -> None:
    for number in range(5):
        chat(fake, model=f"made-up-{number}")
    chat(fake)
    text = httpx.get(f"{fake.url}/metrics").text
    assert "made-up" not in text
    assert 'factory_requests_total{status="404",task="unknown",version=""} 5.0' in text
    assert 'vllm:tokens_total{engine="tiny-0"' in text
    assert 'factory_engines_ready{base="tiny"} 1.0' in text
    assert 'factory_resident_adapters{engine="tiny-0"} 3.0' in text


def test_logs_hold_no_texts(calm: Fake) -> None:
    asked = chat(calm, messages=[{"role": "user", "content": "a secret"}]).headers["x-request-id"]
    (log,) = calm.home.rglob("access.jsonl")
    assert until(lambda: asked in log.read_text())
    line = next(line for line in map(json.loads, log.read_text().splitlines()) if line["request"] == asked)
    assert line["task"] == "summary" and line["status"] == 200 and line["completion"] == 16
    assert "a secret" not in log.read_text()


def test_two_servers_do_not_share_a_home(calm: Fake) -> None:
    with pytest.raises(RuntimeError, match="runs over this factory already"), fake_server(calm.home):
        pass


def test_a_port_in_use_is_an_error_that_says_what_to_do(place: Path, made_up: Base, tmp_path: Path) -> None:
    from serve.server import serve

    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    with pytest.raises(InputError, match=f"port {port} is in use"):
        serve(Options(port=port), lambda text: None)
    with pytest.raises(InputError, match="without keys"):
        serve(Options(host="0.0.0.0", port=0), lambda text: None)
    taken.close()
