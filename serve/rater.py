"""`factory rate`: people grade answers, blind, one at a time; leads see how it goes and settle disputes.

Gradio frames the pages; what must be quick at every key (levels, highlighting, saving) is a small script that speaks
JSON with the routes here. Identity is the server's (`serve.pages.auth`), never what a page says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
from fastapi import FastAPI, Form, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from sqlalchemy.engine import Engine

from evals import tables
from factory.errors import FactoryError, InputError
from serve.pages import app, flow, lead
from serve.pages.auth import COOKIE, DAYS, User, Users
from serve.pages.flow import Rater
from serve.pages.login import login_page
from serve.pages.texts import of_browser, say, texts


@dataclass(frozen=True)
class Options:
    """`proxy_header`: the header in which a signing-in proxy on this machine names the user (empty: passwords)."""

    proxy_header: str = ""


def make(options: Options | None = None) -> FastAPI:
    """The web application over the ratings database."""
    web = app.make("rate")
    users = Users((options or Options()).proxy_header)
    engine = tables.open_database()

    def user(request: Request) -> User:
        if (found := users.of(request)) is None:
            raise HTTPException(401, "sign in first")
        return found

    def leading(request: Request) -> User:
        if not (found := user(request)).leads:
            raise HTTPException(403, "this is for leads")
        return found

    _sign_in(web, users)
    _steps(web, engine, user)
    lead.routes(web, engine, users, leading)
    app.mount(web, "/lead", lambda language: _frame(language, "lead"), "lead.js", auth_dependency=_name(users, True))
    app.mount(web, "", lambda language: _frame(language, "rater"), "rater.js", auth_dependency=_name(users))

    @web.exception_handler(FactoryError)
    def failed(request: Request, error: FactoryError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 400 if isinstance(error, InputError) else 409)

    web.add_middleware(_ToSignIn, users=users)
    return web


class _ToSignIn:
    """A person without a session who opens a page is led to the sign-in, not to an error."""

    pages = {"", "en", "zh", "lead", "en/lead", "zh/lead"}

    def __init__(self, app: Any, users: Users) -> None:
        self.app, self.users = app, users

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"].strip("/") in self.pages:
            who = self.users.of(Request(scope))
            if who is None and not self.users.proxy_header:
                return await RedirectResponse("/login")(scope, receive, send)
            if who is not None and not who.leads and "lead" in scope["path"]:
                return await RedirectResponse("/")(scope, receive, send)
        await self.app(scope, receive, send)


def run(options: Options, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM. A proxy's header is believed on the loopback only: nobody else is there."""
    if options.proxy_header and host not in ("127.0.0.1", "::1", "localhost"):
        raise InputError("proxy_header is for a proxy on this machine: leave host at 127.0.0.1")
    app.run(make(options), host, port, ready)


def _name(users: Users, leads: bool = False) -> Callable[[Request], str | None]:
    def name(request: Request) -> str | None:
        found = users.of(request)
        return found.name if found and (found.leads or not leads) else None

    return name


def _frame(language: str, root: str) -> gr.Blocks:
    """Gradio's frame; the script draws into the element named `root`."""
    with gr.Blocks(title=say(language, "r_title"), fill_width=True) as blocks:
        gr.HTML(f'<div id="{root}" class="page" lang="{language}"></div>', padding=False)
    return blocks


def _sign_in(web: FastAPI, users: Users) -> None:
    @web.get("/login", include_in_schema=False)
    def form(request: Request) -> HTMLResponse:
        return HTMLResponse(login_page(of_browser(request.headers.get("accept-language", ""))))

    @web.post("/login", include_in_schema=False)
    def login(request: Request, name: str = Form(""), password: str = Form("")) -> Response:
        language = of_browser(request.headers.get("accept-language", ""))
        if wait := users.blocked(name):
            return HTMLResponse(login_page(language, say(language, "r_login_wait", seconds=round(wait + 0.5))), 429)
        if len(password) > 1000 or (found := users.check(name, password)) is None:
            return HTMLResponse(login_page(language, say(language, "r_login_wrong")), 401)
        answer = RedirectResponse("/", 303)
        secure = request.headers.get("x-forwarded-proto", request.url.scheme) == "https"
        answer.set_cookie(COOKIE, users.cookie(found), DAYS * 86400, httponly=True, samesite="strict", secure=secure)
        return answer

    @web.post("/logout", include_in_schema=False)
    def logout() -> Response:
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(COOKIE)
        return answer


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
