"""Who one is comes from the server's side alone; passwords are never kept; what is for leads is refused to raters."""

from __future__ import annotations

import stat
from collections.abc import Callable

import httpx
import pytest

from factory.errors import InputError
from factory.home import home
from serve import rater
from serve.pages.auth import COOKIE, Users
from tests.browser import world

Client = Callable[..., httpx.Client]


def test_passwords_are_hashed_in_a_private_file() -> None:
    world.users(anna="rater")
    path = home("users.json")
    assert "anna-password" not in path.read_text() and stat.S_IMODE(path.stat().st_mode) == 0o600
    users = Users()
    assert users.check("anna", "anna-password") is not None
    assert users.check("anna", "wrong") is None and users.blocked("anna") > 0
    assert users.check("nobody", "anna-password") is None


@pytest.mark.parametrize(
    ("name", "password", "role"),
    [("", "long enough", "rater"), ("a b", "long enough", "rater"), ("a|b", "long enough", "rater"),
     ("anna", "short", "rater"), ("anna", "long enough", "boss")],
)  # fmt: skip
def test_users_that_will_not_do(name: str, password: str, role: str) -> None:
    with pytest.raises(InputError):
        Users().add(name, password, role)


def test_without_a_session_nothing_is_shown(client: Client) -> None:
    world.users(anna="rater")
    nobody = client()
    assert nobody.get("/").headers["location"] == "/login"
    assert nobody.get("/en/").headers["location"] == "/login"
    assert nobody.get("/api/place").status_code == 401
    assert nobody.post("/api/act", json={"do": "begin"}).status_code == 401
    assert nobody.get("/api/lead").status_code == 401
    assert nobody.get("/en/gradio_api/info").status_code == 401
    wrong = nobody.post("/login", data={"name": "anna", "password": "wrong"}, headers={"accept-language": "zh"})
    assert wrong.status_code == 401 and "错误" in wrong.text
    assert nobody.post("/login", data={"name": "anna", "password": "anna-password"}).status_code == 429


def test_a_forged_cookie_is_nobody_and_a_new_password_ends_sessions(client: Client) -> None:
    world.users(anna="rater", lee="lead")
    anna = client("anna")
    cookie = anna.cookies[COOKIE]
    assert anna.get("/api/place").json()["user"] == "anna"
    forged = client()
    forged.cookies.set(COOKIE, cookie.swapcase())
    assert forged.get("/api/place").status_code == 401
    Users().add("anna", "another password", "rater")
    assert anna.get("/api/place").status_code == 401


def test_what_is_for_leads_is_refused_to_raters(client: Client) -> None:
    world.users(anna="rater", lee="lead")
    anna, lee = client("anna"), client("lee")
    for path in ("/api/lead", "/export/ratings.jsonl?batch=x", "/api/lead/dispute?batch=x&output=y"):
        assert anna.get(path).status_code == 403
    assert anna.post("/api/lead/role", json={"user": "anna", "role": "lead"}).status_code == 403
    assert anna.get("/lead").headers["location"] == "/"
    assert lee.get("/api/lead").status_code == 200
    assert lee.post("/api/lead/role", json={"user": "lee", "role": "rater"}).status_code == 400
    assert lee.get("/export/ratings.jsonl?batch=x").status_code == 404


def test_only_json_moves_anything(client: Client) -> None:
    world.users(anna="rater")
    anna = client("anna")
    form = anna.post("/api/act", content='{"do": "begin"}', headers={"content-type": "text/plain"})
    assert form.status_code == 415
    for body in ("[]", "nonsense", '"x"', '{"do": "drop"}', '{"do": "draft", "draft": 3}', "{}"):
        sent = anna.post("/api/act", content=body, headers={"content-type": "application/json"})
        assert sent.status_code == 400, body
    headers = anna.get("/api/place").headers
    assert "default-src 'self'" in headers["content-security-policy"] and headers["cache-control"] == "no-store"


def test_a_proxys_header_is_believed_only_when_it_was_asked_for(client: Client) -> None:
    world.users(lee="lead")
    assert client().get("/api/place", headers={"x-user": "lee"}).status_code == 401
    from fastapi.testclient import TestClient

    behind = TestClient(rater.make("x-user"))
    assert behind.get("/api/place", headers={"x-user": "lee"}).json()["leads"] is True
    assert behind.get("/api/place", headers={"x-user": "new@example.org"}).json()["leads"] is False
    assert behind.get("/api/place").status_code == 401
    with pytest.raises(InputError, match="on this machine"):
        rater.run("x-user", "0.0.0.0", 0, print)
