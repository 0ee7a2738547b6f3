"""FakeGateway: an OpenAI-compatible server for the tests of the pages. It names the version that a model means.

It follows the registry on disk as the real gateway does, so that promotions show. Texts set what happens: "slow" waits
before the first word, "cut" breaks off in the middle, "unknown" meets a server that does not have the version.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from factory.errors import FactoryError
from factory.registry import aliases
from tests.fakes import pages

TOKEN = "fake-admin-token"
BASE = "tiny"


def fake_gateway(known: Mapping[str, str]) -> FastAPI:
    """Texts in `known` get that answer from every version; others are said back.

    Serves /v1/models, /v1/chat/completions (streamed), /admin/promote, /admin/rollback.
    """
    app = FastAPI()

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": BASE, "object": "model"}]}

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        body = await request.json()
        model, said = body["model"], body["messages"][-1]["content"]
        try:
            found = "nobody" if said.startswith("unknown") else model
            version = f"{model}@base" if model == BASE else aliases.resolve(found).name
        except FactoryError as error:
            return JSONResponse({"error": {"message": str(error), "type": "invalid_request_error"}}, 404)
        words = f"[{version}] {' '.join(said.split()[:40])}".split(" ")
        if said in known:
            words = (" ".join(said.split()[:18]) if model == BASE else known[said]).split(" ")

        async def stream() -> AsyncIterator[str]:
            if said.startswith("slow"):
                await asyncio.sleep(2)
            for number, word in enumerate(words):
                if said.startswith("cut") and number == 2:
                    yield _event({"error": {"message": "the engine stopped while answering"}})
                    return
                await asyncio.sleep(0.005)
                yield _event({"choices": [{"index": 0, "delta": {"content": word if not number else f" {word}"}}]})
            usage = {"prompt_tokens": 5, "completion_tokens": len(words)}
            yield _event({"choices": [], "usage": usage})
            yield "data: [DONE]\n\n"

        return StreamingResponse(stream(), media_type="text/event-stream", headers={"x-adapter-version": version})

    @app.post("/admin/{what}")
    async def admin(what: str, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return JSONResponse({"error": {"message": "give a valid admin token"}}, 401)
        order = await request.json()
        if what == "promote":
            aliases.point(aliases.resolve(order["version"]))
        else:
            aliases.rollback(order["task"])
        return JSONResponse({"done": True})

    return app


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"


@contextlib.contextmanager
def running(known: Mapping[str, str] | None = None) -> Iterator[str]:
    """Serve the fake on a free port; gives its address."""
    with pages.running(fake_gateway(known or {})) as url:
        yield url
