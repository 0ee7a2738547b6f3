"""What the factory adds to vLLM's API server: routes for adapters, and one that ends a request and tells its cost.

vLLM has such routes itself, but only behind `VLLM_ALLOW_RUNTIME_LORA_UPDATING`, which lets any client load any path;
its unloading leaves the adapter in the engine. These routes lie under `/v1/`, so vLLM's key guards them, and the whole
server listens on a private socket that only the gateway knows. They load a name once and never in place: a name stands
for one content-addressed version for ever, so prefix-cache blocks, which vLLM keys by name and path, stay right.
"""

import hmac
import os
from argparse import Namespace
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

NAME = "adapter_factory"


class Adapter(BaseModel):
    """An adapter's (or request's) name in the engine, and the folder it lies in (only for loading)."""

    name: str
    path: str = ""


router = APIRouter(prefix="/v1/factory")


@router.get("/adapters")
async def adapters(request: Request) -> JSONResponse:
    """The names that can be asked for, and which of them the engine holds in memory now."""
    known = request.app.state.openai_serving_models.lora_requests
    held = set(await request.app.state.engine_client.list_loras())
    return JSONResponse({"adapters": {name: lora.lora_int_id in held for name, lora in known.items()}})


@router.post("/load")
async def load(adapter: Adapter, request: Request) -> JSONResponse:
    """Load an adapter; one that is loaded already stays as it is. 422 with vLLM's reason if it refuses."""
    from vllm.entrypoints.serve.engine.protocol import ErrorResponse
    from vllm.entrypoints.serve.lora.protocol import LoadLoRAAdapterRequest

    models = request.app.state.openai_serving_models
    if adapter.name in models.lora_requests:
        return JSONResponse({"loaded": adapter.name, "new": False})
    answer = await models.load_lora_adapter(LoadLoRAAdapterRequest(lora_name=adapter.name, lora_path=adapter.path))
    if isinstance(answer, ErrorResponse):
        return JSONResponse({"error": answer.error.message}, 422)
    return JSONResponse({"loaded": adapter.name, "new": True})


@router.post("/unload")
async def unload(adapter: Adapter, request: Request) -> JSONResponse:
    """Forget the name and free the engine's memory. Unknown names are fine: the wish is fulfilled already."""
    lora = request.app.state.openai_serving_models.lora_requests.pop(adapter.name, None)
    if lora is not None:
        await request.app.state.engine_client.remove_lora(lora.lora_int_id)
    return JSONResponse({"unloaded": adapter.name, "was": lora is not None})


@router.post("/end")
async def end(asked: Adapter, request: Request) -> JSONResponse:
    """End what is unfinished of the request with the `X-Request-Id` name, and tell the tokens that it read and wrote,
    those of the longest answer, and how many answers there were. Nothing is written between the two."""
    engine = request.app.state.engine_client
    mine = [s for s in engine.output_processor.request_states.values() if asked.name in s.external_req_id]
    written = [state.detokenizer.num_output_tokens() for state in mine]
    prompts = {state.external_req_id: state.prompt_len for state in mine}
    used = {"prompt": sum(prompts.values()), "completion": sum(written), "longest": max(written, default=0)}
    await engine.abort(list(prompts))
    return JSONResponse({**used, "answers": len(mine)})


class RequireKey:
    """ASGI middleware: no path without the key. vLLM itself leaves all paths open that do not begin with /v1."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.wanted = f"Bearer {os.environ['VLLM_API_KEY']}".encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
            if not hmac.compare_digest(given, self.wanted):
                await JSONResponse({"error": "Unauthorized"}, 401)(scope, receive, send)
                return
        await self.app(scope, receive, send)


class Plugin:
    """The entry point of the group `vllm.endpoint_plugins`; vLLM takes it only if `VLLM_PLUGINS` names it."""

    name = NAME
    required_tasks = ("generate",)

    def attach_router(self, app: FastAPI) -> None:
        app.include_router(router)

    async def init_state(self, engine_client: Any, state: Any, args: Namespace) -> None:
        """The routes find all they need in the server's own state."""
