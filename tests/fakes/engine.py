"""An engine that behaves towards the gateway as vLLM does, and answers in no time with what nobody can mix up.

Run as `python -m tests.fakes.engine --uds=… --served-model-name=…`. The answer of model `m` to any question: the words
`m:0 m:1 m:2 …`, one a token, `FAKE_TOKEN_SECONDS` apart. It keeps in mind which adapters were loaded, reads their files
when it loads them, and ends with its parent.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from serve.boot import die_with_parent

PAUSE = float(os.environ.get("FAKE_TOKEN_SECONDS", "0.002"))
loaded: dict[str, str] = {}
running: dict[str, list[int]] = {}  # by X-Request-Id: tokens written so far
# A task so called is one whose adapter does that; the last one when the engine was restarted.
DOES_NOTHING, SPOILS_THE_BASE, FORGETS = "does-nothing", "spoils", "forgets"
base, restarted = "", False


async def health(request: Request) -> Response:
    return Response()


async def metrics(request: Request) -> Response:
    return PlainTextResponse(
        '# HELP vllm:tokens Tokens.\n# TYPE vllm:tokens counter\nvllm:tokens_total{model_name="x"} 7\n'
    )


async def adapters(request: Request) -> Response:
    return JSONResponse({"adapters": dict.fromkeys(loaded, True)})


async def load(request: Request) -> Response:
    adapter = await request.json()
    if adapter["name"].startswith(os.environ.get("FAKE_REFUSES", "\0")):
        return JSONResponse({"error": "no memory is left"}, 422)
    try:
        (Path(adapter["path"]) / "adapter_config.json").read_text()
    except OSError as error:
        return JSONResponse({"error": str(error)}, 422)
    loaded[adapter["name"]] = adapter["path"]
    return JSONResponse({"loaded": adapter["name"], "new": True})


async def end(request: Request) -> Response:
    written = running.pop((await request.json())["name"], [])
    used = {"prompt": 5 * bool(written), "completion": sum(written), "longest": sum(written), "answers": len(written)}
    return JSONResponse(used)


async def unload(request: Request) -> Response:
    loaded.pop((await request.json())["name"], None)
    return JSONResponse({"unloaded": True})


async def generate(request: Request) -> Response:
    asked = await request.json()
    model = asked["model"]
    if model != base and model not in loaded:
        return _error(404, f"The model `{model}` does not exist.")
    for name, least, most in (("temperature", 0, 2), ("max_tokens", 1, 10_000), ("max_completion_tokens", 1, 10_000)):
        value = asked.get(name)
        if value is not None and not (isinstance(value, int | float) and least <= value <= most):
            return _error(400, f"{name} must be a number from {least} to {most}")
    structure = asked.get("structured_outputs") or {}
    if not isinstance(structure, dict):
        return _error(400, "structured_outputs must be an object")
    written = running.setdefault(request.headers.get("x-request-id", ""), [0])
    length = asked.get("max_completion_tokens") or asked.get("max_tokens") or 8
    words = [structure["choice"][0]] if structure.get("choice") else [f"{model}:{i} " for i in range(int(length))]
    usage = {"prompt_tokens": 5, "completion_tokens": len(words), "total_tokens": 5 + len(words)}
    frame = {"id": "x", "object": "chat.completion", "created": int(time.time()), "model": model}
    if not asked.get("stream"):
        try:
            for _ in words:
                await asyncio.sleep(PAUSE)
                written[0] += 1
                if await request.is_disconnected():
                    return Response()
        finally:
            running.pop(request.headers.get("x-request-id", ""), None)
        message = {"role": "assistant", "content": "".join(words), "seen": asked.get("messages"), "asked": asked}
        seed = asked.get("seed") if asked.get("temperature") else None
        if seed is not None:  # drawn: said is how, and what has an odd seed is cut off
            message["content"] = f"drawn at {asked['temperature']} with {seed}"
        cut = seed is not None and seed % 2
        choices = [{"index": 0, "message": message, "finish_reason": "length" if cut else "stop"}]
        scored = _scores(model) if "prompt_logprobs" in asked else None
        return _json({**frame, "choices": choices, "usage": usage, "prompt_logprobs": scored})
    return StreamingResponse(_events(frame, words, usage, written), media_type="text/event-stream")


def _scores(model: str) -> list[dict[str, dict[str, float]] | None]:
    """As vLLM gives them: of each token of the prompt but the first. An adapter's are its own."""
    none = model == base or model.startswith(DOES_NOTHING) or (restarted and model.startswith(FORGETS))
    own = 0.0 if none else 1 + zlib.crc32(model.encode()) % 1000 / 100
    spoilt = 1.0 if model == base and any(name.startswith(SPOILS_THE_BASE) for name in loaded) else 0.0
    return [None, *({"7": {"logprob": -1.0 - own - spoilt}} for _ in range(4))]


async def _events(frame: dict[str, Any], words: list[str], usage: dict[str, int], written: list[int]) -> Any:
    for word in words:
        await asyncio.sleep(PAUSE)
        written[0] += 1
        choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
        yield _event({**frame, "choices": [choice]})
    yield _event({**frame, "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}]})
    yield _event({**frame, "choices": [], "usage": usage})
    await asyncio.sleep(PAUSE)  # so that it comes by itself
    yield "data: [DONE]\n\n"


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, separators=(',', ':'))}\n\n"


def _json(value: dict[str, Any]) -> Response:
    return Response(json.dumps(value, separators=(",", ":")), media_type="application/json")


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": {"message": message, "type": "x", "param": None, "code": status}}, status)


def main() -> None:
    global base, restarted
    die_with_parent()
    restarted = Path("started").exists()  # each engine has a working directory of its own
    Path("started").touch()
    options = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:] if "=" in word)
    base = options["served-model-name"]
    routes = [
        Route("/health", health),
        Route("/metrics", metrics),
        Route("/v1/factory/adapters", adapters),
        Route("/v1/factory/load", load, methods=["POST"]),
        Route("/v1/factory/end", end, methods=["POST"]),
        Route("/v1/factory/unload", unload, methods=["POST"]),
        Route("/v1/chat/completions", generate, methods=["POST"]),
        Route("/v1/completions", generate, methods=["POST"]),
    ]
    app = Starlette(routes=routes)
    where: dict[str, Any] = {"uds": options.get("uds")}
    if "port" in options:
        where = {"host": options["host"], "port": int(options["port"])}
    uvicorn.run(app, **where, log_level="warning", http="httptools", timeout_keep_alive=120)


if __name__ == "__main__":
    main()
