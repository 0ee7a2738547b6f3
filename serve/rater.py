"""`factory rate`: people grade answers, blind, one at a time; leads see how it goes and settle disputes.

Gradio frames the pages; what must be quick at every key (levels, highlighting, saving) is a small script that speaks
JSON with the routes here. Identity is the server's (`serve.pages.auth`), never what a page says.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import gradio as gr
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from sqlalchemy.engine import Engine

from evals import tables
from factory.errors import FactoryError, InputError
from serve.pages import app, flow, lead
from serve.pages.auth import User, Users
from serve.pages.flow import Rater
from serve.pages.login import ToSignIn, name_of, sign_in
from serve.pages.texts import say, texts

PAGES = {"", "en", "zh", "lead", "en/lead", "zh/lead"}


def make(proxy_header: str = "") -> FastAPI:
    """The web application over the ratings database. `proxy_header`: the header in which a signing-in proxy on this
    machine names the user (empty: passwords)."""
    web = app.make("rate")
    users = Users(proxy_header)
    engine = tables.open_database()

    def user(request: Request) -> User:
        if (found := users.of(request)) is None:
            raise HTTPException(401, "sign in first")
        return found

    def leading(request: Request) -> User:
        if not (found := user(request)).leads:
            raise HTTPException(403, "this is for leads")
        return found

    sign_in(web, users, "r_title", "r_login_lead")
    _steps(web, engine, user)
    lead.routes(web, engine, users, leading)
    app.mount(web, "/lead", lambda language: _frame(language, "lead"), "lead.js", auth_dependency=name_of(users, True))
    app.mount(web, "", lambda language: _frame(language, "rater"), "rater.js", auth_dependency=name_of(users))

    @web.exception_handler(FactoryError)
    def failed(request: Request, error: FactoryError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 400 if isinstance(error, InputError) else 409)

    web.add_middleware(ToSignIn, users=users, pages=PAGES)
    return web


def run(proxy_header: str, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM. A proxy's header is believed on the loopback only: nobody else is there."""
    if proxy_header and host not in app.LOOPBACK:
        raise InputError("proxy_header is for a proxy on this machine: leave host at 127.0.0.1")
    app.run(make(proxy_header), host, port, ready)


def _frame(language: str, root: str) -> gr.Blocks:
    """Gradio's frame; the script draws into the element named `root`."""
    blocks: gr.Blocks = gr.Blocks(title=say(language, "r_title"), fill_width=True)
    with blocks:
        gr.HTML(f'<div id="{root}" class="page" lang="{language}"></div>', padding=False)
    return blocks


def _steps(web: FastAPI, engine: Engine, user: Callable[[Request], User]) -> None:
    @web.get("/texts/{language}")
    def words(language: str) -> dict[str, str]:
        """What the rater's and the lead's page say. The demo's texts stay out: they speak of versions."""
        found = texts(language) if language in ("en", "zh") else {}
        return {key: text for key, text in found.items() if key[:2] in ("r_", "l_")}

    @web.get("/api/place")
    def place(request: Request, day: float = 0) -> dict[str, Any]:
        who = user(request)
        return {**flow.place(engine, Rater(who.name, day)), "user": who.name, "leads": who.leads}

    @web.post("/api/act")
    async def act(request: Request, day: float = 0) -> dict[str, Any]:
        who, step = user(request), await app.json_body(request)
        found = await asyncio.to_thread(flow.act, engine, Rater(who.name, day), step)
        return found if "saved" in found else {**found, "user": who.name, "leads": who.leads}
