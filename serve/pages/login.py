"""Signing in and out: a plain form that needs no script, and the way there for who opens a page without a session."""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from serve.pages.auth import COOKIE, DAYS, Users
from serve.pages.markup import macros
from serve.pages.texts import of_browser, say

LONGEST = 4096  # bytes of the form
FORM = "application/x-www-form-urlencoded"


def sign_in(web: FastAPI, users: Users, title: str, lead: str) -> None:
    """The routes /login and /logout; `title` and `lead` are keys of the texts that the form shows."""

    def page(request: Request, trouble: str = "", status: int = 200, **values: Any) -> HTMLResponse:
        language = of_browser(request.headers.get("accept-language", ""))
        said = say(language, trouble, **values) if trouble else ""
        return HTMLResponse(macros("login", language).page(language, title, lead, said).strip(), status)

    @web.get("/login", include_in_schema=False)
    def form(request: Request) -> HTMLResponse:
        return page(request)

    @web.post("/login", include_in_schema=False)
    async def login(request: Request) -> Response:
        given, address = await _form(request), request.client.host if request.client else ""
        name, password = given.get("name", ""), given.get("password", "")
        if wait := users.blocked(name, address):
            return page(request, "r_login_wait", 429, seconds=round(wait + 0.5))
        found = await asyncio.to_thread(users.check, name, password, address) if len(password) <= 1000 else None
        if found is None:
            return page(request, "r_login_wrong", 401)
        answer = RedirectResponse("/", 303)
        secure = request.headers.get("x-forwarded-proto", request.url.scheme) == "https"
        cookie = users.sign_in(found)
        answer.set_cookie(COOKIE, cookie, DAYS * 86400, httponly=True, samesite="strict", secure=secure)
        return answer

    @web.post("/logout", include_in_schema=False)
    def logout(request: Request) -> Response:
        users.sign_out(request)
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(COOKIE)
        return answer


class ToSignIn:
    """ASGI middleware: a person without a session who opens a page is led to the sign-in, not to an error."""

    def __init__(self, app: Any, users: Users, pages: set[str]) -> None:
        self.app, self.users, self.pages = app, users, pages

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"].strip("/") in self.pages:
            who = self.users.of(Request(scope))
            if who is None and not self.users.proxy_header:
                return await RedirectResponse("/login")(scope, receive, send)
            if who is not None and not who.leads and "lead" in scope["path"]:
                return await RedirectResponse("/")(scope, receive, send)
        await self.app(scope, receive, send)


def name_of(users: Users, leads: bool = False) -> Callable[[Request], str | None]:
    """For Gradio: the name of who sent a request, or None, which is refused."""

    def name(request: Request) -> str | None:
        found = users.of(request)
        return found.name if found and (found.leads or not leads) else None

    return name


async def _form(request: Request) -> dict[str, str]:
    """A short form. Forms that carry files are not read at all."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise HTTPException(415, f"send {FORM}")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST:
            raise HTTPException(413, "too long")
    return dict(parse_qsl(body.decode(errors="replace"), max_num_fields=10, keep_blank_values=True))
