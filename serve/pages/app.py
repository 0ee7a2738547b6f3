"""The web application around the pages: headers, static files, one Gradio app per language, and a server that stops.

Nothing is loaded from elsewhere: the Content-Security-Policy allows this address alone, and Gradio's analytics are off.
"""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders

from factory import stopping
from factory.listening import address, listen
from serve.pages.texts import LANGUAGES, of_browser

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["GRADIO_DEFAULT_CONCURRENCY_LIMIT"] = "64"  # Gradio's own is 1: one slow answer would hold up everybody
MAX_BODY = 2**19  # bytes of one step of a page
LOOPBACK = ("127.0.0.1", "::1", "localhost")
STATIC = Path(__file__).with_name("static")
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; frame-ancestors 'none'; form-action 'self'; base-uri 'self'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}


class Doors:
    """ASGI middleware: no body is longer than MAX_BODY, however it is sent, and no file is taken in. It adds HEADERS;
    files that never change (Gradio's assets) may be cached."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        had = 0

        async def bounded() -> Any:
            nonlocal had
            message = await receive()
            had += len(message.get("body", b""))
            if had > MAX_BODY:
                raise HTTPException(413, "too long")
            return message

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                cached = {"cache-control"} if "/assets/" in scope["path"] else set()
                MutableHeaders(scope=message).update({k: v for k, v in HEADERS.items() if k not in cached})
            await send(message)

        if scope["path"].rstrip("/").endswith(("/upload", "/process_recording")):
            return await Response("no files here\n", 404)(scope, receive, with_headers)
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > MAX_BODY:
            return await Response("too long\n", 413)(scope, receive, with_headers)
        await self.app(scope, bounded, with_headers)


def make(title: str) -> FastAPI:
    """An application with headers, static files under /static, and `/` leading to the browser's language."""
    app = FastAPI(title=title, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Doors)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")

    @app.get("/favicon.ico", include_in_schema=False)
    def favicon() -> RedirectResponse:
        return RedirectResponse("/static/icon.svg")

    return app


def mount(app: FastAPI, path: str, build: Callable[[str], Any], script: str = "", **options: Any) -> None:
    """Mount `build(language)`, a `gr.Blocks`, at `/en<path>` and `/zh<path>`, and lead `<path>` to the right one."""
    import gradio as gr

    head = '<link rel="stylesheet" href="/static/style.css"><link rel="icon" href="/static/icon.svg">'
    if script:
        head += f'<link rel="stylesheet" href="/static/rate.css"><script src="/static/{script}" type="module"></script>'
    for language in LANGUAGES:
        gr.mount_gradio_app(
            app,
            build(language),
            f"/{language}{path}",
            theme=_theme(),
            # Gradio puts this in once the body is there, and gives the document the browser's language, not the page's.
            head=f"{head}<script>document.body.lang = '{language}'</script>",
            footer_links=[],
            run_history=False,  # else the browser keeps every question
            ssr_mode=False,
            show_error=False,
            **options,
        )

    @app.get(path or "/", include_in_schema=False)
    def choose(request: Request) -> RedirectResponse:
        language = of_browser(request.headers.get("accept-language", ""))
        return RedirectResponse(f"/{language}{path}/", headers={"vary": "accept-language"})


def _theme() -> Any:
    """Gradio's plainest theme, dressed in the variables of `style.css`; one set of rules for light and dark."""
    import gradio as gr

    theme = gr.themes.Base(
        primary_hue="indigo",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
    dressed = {
        "--paper": ("body_background_fill", "input_background_fill", "background_fill_secondary"),
        "--card": ("block_background_fill", "background_fill_primary", "button_secondary_background_fill"),
        "--ink": ("body_text_color", "button_secondary_text_color", "checkbox_label_text_color"),
        "--soft": ("body_text_color_subdued", "block_label_text_color", "block_title_text_color"),
        "--line": ("border_color_primary", "block_border_color", "input_border_color", "button_secondary_border_color"),
        "--accent": ("button_primary_background_fill", "link_text_color"),
        "--accent-soft": ("color_accent_soft", "button_secondary_background_fill_hover"),
    }
    chosen = {name: f"var({color})" for color, names in dressed.items() for name in names}
    chosen |= {f"{name}_dark": color for name, color in chosen.items()}
    chosen |= {"button_primary_text_color": "var(--card)", "button_primary_text_color_dark": "var(--card)"}
    return theme.set(**chosen, color_accent="var(--accent)", input_border_width="1px")


async def json_body(request: Request) -> dict[str, Any]:
    """The JSON object that a page sent. Only JSON: a form of another site cannot send it with the user's cookie."""
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise HTTPException(415, "send JSON")
    try:
        found = await request.json()
        # What is kept must be readable for ever: no half of a character, no zero byte, no number that is none.
        text = json.dumps(found, ensure_ascii=False, allow_nan=False).encode().decode()
    except (ValueError, RecursionError):
        raise HTTPException(400, "this is no JSON") from None
    if "\\u0000" in text.replace("\\\\", ""):
        raise HTTPException(400, "no zero bytes, please")
    if not isinstance(found, dict):
        raise HTTPException(400, "send an object")
    return found


def run(app: FastAPI, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM; `ready` is told the address."""
    listener = listen(host, port)
    server = stopping.unheard(uvicorn.Server(config(app)))

    async def until_cancelled() -> None:
        ready(address(listener))
        serving = asyncio.create_task(server.serve([listener]))
        try:
            await asyncio.shield(serving)
        finally:
            server.should_exit = True
            await serving

    with contextlib.suppress(stopping.Stopped):
        stopping.run(until_cancelled())


def _quiet_end(record: logging.LogRecord) -> bool:
    """Pages hold a connection open for Gradio's events: ending them when the server stops is no fault."""
    ended = record.exc_info is not None and isinstance(record.exc_info[1], asyncio.CancelledError)
    return not ended and "graceful shutdown exceeded" not in record.getMessage()


def config(app: FastAPI) -> uvicorn.Config:
    """How uvicorn serves the pages."""
    logging.getLogger("uvicorn.error").addFilter(_quiet_end)
    return uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=1)
