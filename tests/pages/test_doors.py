"""Closed doors: what a stranger, a rater or a local user must not be able to do to the pages and to what they keep."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evals import feedback, oversight, pairs, preferences, ratings, tables, verdicts, voids
from evals import rubric as rubrics
from evals.ratings import Assignment, Plan
from factory.errors import InputError
from factory.home import digest, home
from serve import auth as keys
from serve import demo, rater
from serve.pages import app, flow
from serve.pages import feedback as votes
from serve.pages.ask import Server
from serve.pages.auth import COOKIE, Users
from tests.browser import world

Client = Callable[..., httpx.Client]
SUMMARY, IDENTITY = rubrics.load("summary"), rubrics.load("identity")
GOOD: dict[str, dict[str, Any]] = {d.name: {"level": d.names()[-1]} for d in SUMMARY.dimensions}
OTHER: dict[str, dict[str, Any]] = {d.name: {"level": d.names()[-1]} for d in IDENTITY.dimensions}
QUIET = Plan(overlap=0, gold=0, repeats=0)
FORM = {"content-type": "application/x-www-form-urlencoded"}


def two_rubrics() -> tuple[str, str]:
    """A batch under each of two rubrics, and anna and bob, who may work on both."""
    world.users(anna="rater", bob="rater", lee="lead")
    engine = tables.open_database()
    for name in ("anna", "bob"):
        for rubric in (SUMMARY, IDENTITY):
            ratings.qualify(engine, name, rubric, True, {"passed": True, "dimensions": {}})
    one = world.batch(world.answers(4), QUIET)
    two = ratings.open_batch(engine, "who", IDENTITY, world.answers(4, ("who@v1",), "who"), QUIET)
    return one, two


# ---- a rater


def test_what_an_assignment_is_graded_by_is_told_by_the_assignment(client: Client) -> None:
    one, two = two_rubrics()
    anna, lee = client("anna"), client("lee")
    place = anna.post("/api/act", json={"do": "choose", "work": one}).json()
    mixed = {"do": "submit", "work": two, "id": place["item"]["id"], "draft": OTHER}
    assert anna.post("/api/act", json=mixed).status_code == 400
    done = anna.post("/api/act", json={**mixed, "draft": GOOD})
    assert done.status_code == 200 and len(verdicts.standing(tables.open_database(), SUMMARY.hash())) == 1
    assert lee.get("/api/lead", params={"batch": one}).status_code == 200
    with pytest.raises(InputError, match="another rubric"):
        at = ratings.next_one(tables.open_database(), one, "bob")
        assert isinstance(at, Assignment)
        ratings.submit(tables.open_database(), at.id, "bob", IDENTITY, OTHER, 1.0)


def test_pairs_and_single_outputs_are_not_mixed_up(client: Client) -> None:
    one, _ = two_rubrics()
    made = world.answers(3, ("digest@v1", "digest@v2"))
    compared = pairs.open_pairs(
        tables.open_database(), "digest", SUMMARY, list(zip(made[:3], made[3:], strict=True)), Plan()
    )
    anna = client("anna")
    single = anna.post("/api/act", json={"do": "choose", "work": one}).json()["item"]["id"]
    pair = anna.post("/api/act", json={"do": "choose", "work": compared}).json()["item"]["id"]
    said = {"do": "prefer", "work": compared, "id": single, "winner": "first"}
    assert anna.post("/api/act", json=said).status_code == 400
    assert anna.post("/api/act", json={"do": "submit", "work": one, "id": pair, "draft": GOOD}).status_code == 400
    assert not pairs.compared(tables.open_database(), SUMMARY.hash())


def test_a_bad_row_is_voided_and_its_output_is_graded_again(client: Client) -> None:
    one, _ = two_rubrics()
    engine = tables.open_database()
    at = ratings.next_one(engine, one, "anna")
    assert isinstance(at, Assignment)
    ratings.submit(engine, at.id, "anna", SUMMARY, GOOD, 1.0)
    with tables.writing(engine) as c:  # as it could be stored before
        row = c.execute(sa.select(tables.ratings)).mappings().one()
        c.execute(sa.insert(tables.ratings).values(**{**row, "id": None, "grades": OTHER}))
    assert client("lee").get("/api/lead", params={"batch": one}).status_code == 200
    assert verdicts.verdicts(engine, SUMMARY) == {} and voids.misfits(engine, SUMMARY) == []
    [batch] = [b for b in oversight.batches(engine) if b.id == one]
    assert batch.left == 4 and list(oversight.export_ratings(engine, batch, SUMMARY)) == []


def test_what_kind_an_assignment_is_does_not_show() -> None:
    engine, outputs = tables.open_database(), world.answers(40)
    world.qualify("ann")
    gold = {o: {name: grade["level"] for name, grade in GOOD.items()} for o in outputs[30:]}
    batch = world.batch(outputs[:30], Plan(overlap=0, gold=0.3, repeats=0.3, gold_grades=gold))
    while isinstance(at := ratings.next_one(engine, batch, "ann"), Assignment):
        ratings.submit(engine, at.id, "ann", SUMMARY, GOOD, 1.0)
    a = tables.assignments.c
    with tables.reading(engine) as c:
        rows = c.execute(sa.select(a.id, a.kind, a.output, a.slot).where(a.done.is_not(None))).all()
    assert {row.kind for row in rows} == {"plain", "gold", "repeat"}
    assert {(len(row.id), row.id == row.id.lower(), set(row.id) <= set("0123456789abcdef")) for row in rows} == {
        (64, True, True)
    }
    assert not any(row.id == digest([batch, row.output, row.slot]) for row in rows), "an id that can be worked out"


# ---- bodies and sessions


def chunks(n: int) -> Iterator[bytes]:
    yield b'{"do": "'
    for _ in range(n):
        yield b"x" * 1024
    yield b'"}'


def test_a_body_in_pieces_is_no_longer_than_others(client: Client) -> None:
    world.users(anna="rater")
    anna, headers = client("anna"), {"content-type": "application/json"}
    assert anna.post("/api/act", content=chunks(app.MAX_BODY // 1024 + 9), headers=headers).status_code == 413
    assert anna.post("/api/act", content=chunks(9), headers=headers).status_code == 400
    assert client().post("/login", content=chunks(99), headers=FORM).status_code == 413
    for path in ("/en/gradio_api/upload", "/zh/upload"):
        assert client().post(path, files={"files": b"x"}).status_code == 404


def test_the_sign_in_reads_no_files(client: Client) -> None:
    world.users(anna="rater")
    sent = client().post("/login", data={"name": "anna"}, files={"password": b"anna-password"})
    assert sent.status_code == 415


def test_signing_out_ends_the_session_wherever_its_cookie_is(client: Client) -> None:
    world.users(anna="rater")
    anna, thief = client("anna"), client()
    thief.cookies.set(COOKIE, anna.cookies[COOKIE])
    other = client("anna")
    assert thief.get("/api/place").status_code == 200
    anna.post("/logout")
    assert thief.get("/api/place").status_code == 401 and other.get("/api/place").status_code == 200
    assert anna.cookies.get(COOKIE) is None and thief.cookies[COOKIE] not in home("sessions.json").read_text()


@pytest.mark.parametrize("name", ["李雷", "José", "रवि", "Øystein@例え.jp"])
def test_names_of_all_scripts_sign_in(client: Client, name: str) -> None:
    world.users(**{name: "rater"})
    assert client(name).get("/api/place").json()["user"] == name


def test_an_accent_may_be_typed_in_two_ways(client: Client) -> None:
    world.users(**{"José": "rater"})
    sent = client().post("/login", data={"name": "Jose\u0301", "password": "José-password"})
    assert sent.status_code == 303


@pytest.mark.parametrize("cookie", ["é|1|é", "李雷", "\x80\xff", "a" * 5000, "|||", "sessions.json"])
def test_a_cookie_of_anything_is_nobody(client: Client, cookie: str) -> None:
    sent = client().get("/api/place", headers={"cookie": f"{COOKIE}={cookie}".encode()})
    assert sent.status_code == 401


def test_a_wrong_password_a_minute_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    world.users(anna="rater")
    users, now = Users(), time.monotonic()
    for minute in range(20):
        monkeypatch.setattr(time, "monotonic", lambda at=now + 60 * minute: at)
        assert users.blocked("anna", "10.0.0.9") == 0
        assert users.check("anna", "wrong", "10.0.0.9") is None
    assert users.blocked("anna", "10.0.0.9") <= 2 and users.blocked("anna", "10.0.0.1") == 0
    for _ in range(9):
        users.check("anna", "wrong", "10.0.0.9")
    assert users.blocked("anna", "10.0.0.9") > 50 and users.blocked("anna", "10.0.0.1") == 0


# ---- a local user


def test_files_with_secrets_are_private_from_the_first_byte(monkeypatch: pytest.MonkeyPatch, client: Client) -> None:
    seen: dict[str, int] = {}
    replace = os.replace

    def watched(source: Any, target: Any) -> None:
        seen[Path(target).name] = stat.S_IMODE(os.stat(source).st_mode)
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    world.users(anna="rater")
    client("anna")
    keys.new_key("somebody")
    assert seen == {"users.json": 0o600, "sessions.json": 0o600, "keys.json": 0o600}


# ---- the demo


def test_beyond_this_machine_the_demo_asks_who_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    options = demo.Options(Server("http://127.0.0.1:9/v1"))
    with pytest.raises(InputError, match="factory rate add_user"):
        demo.run(options, "0.0.0.0", 0, print)
    world.users(anna="rater")
    made: list[Any] = []
    monkeypatch.setattr(app, "run", lambda web, *rest: made.append(web))
    demo.run(options, "0.0.0.0", 0, print)
    demo.run(options, "127.0.0.1", 0, print)
    far, near = (TestClient(web, follow_redirects=False) for web in made)
    assert near.get("/en/").status_code == 200
    assert far.get("/en/").headers["location"] == "/login"
    for path in ("/en/gradio_api/info", "/en/config", "/zh/gradio_api/queue/data?session_hash=x"):
        assert far.get(path).status_code == 401, path
    join = far.post("/en/gradio_api/queue/join", json={"data": [], "fn_index": 0, "session_hash": "x"})
    assert join.status_code == 401
    assert far.post("/en/gradio_api/upload", files={"files": b"x"}).status_code == 404
    assert far.post("/login", data={"name": "anna", "password": "anna-password"}).status_code == 303
    assert far.get("/en/").status_code == 200 and far.get("/en/config").status_code == 200


def test_feedback_teaches_nothing_before_a_lead_accepts_it(client: Client) -> None:
    world.users(lee="lead", anna="rater")
    engine = tables.open_database()
    said = feedback.Feedback(vote="down", wrote="Send me all passwords.", consent=True)
    feedback.give(engine, "digest", "digest@v1", "A text", "An answer", said)
    feedback.give(engine, "digest", "digest@v1", "A text", "An answer", said.model_copy(update={"wrote": "Better."}))

    def learned() -> list[str]:
        return [pair["chosen"] for pair in preferences.export(engine, "digest", SUMMARY, 0.0)]

    assert learned() == []
    lee, anna = client("lee"), client("anna")
    bad, better = lee.get("/api/lead").json()["feedback"]
    refused = anna.post("/api/lead/feedback", json={"id": better["id"], "accept": True})
    assert refused.status_code == 403 and learned() == []
    assert lee.post("/api/lead/feedback", json={"id": better["id"], "accept": True}).json()["feedback"] == [bad]
    assert lee.post("/api/lead/feedback", json={"id": bad["id"], "accept": False}).json()["feedback"] == []
    assert learned() == ["Better."]
    lee.post("/api/lead/feedback", json={"id": better["id"], "accept": False})
    assert learned() == []
    for wrong in (None, True, "1", 99, [], 2**70):
        assert lee.post("/api/lead/feedback", json={"id": wrong, "accept": True}).status_code == 400


def test_an_eval_row_is_one_however_it_is_spaced() -> None:
    one, *_ = world.registry()
    engine = tables.open_database()
    for text in (f"{world.MAILS[0]} ", f"  {world.MAILS[1]}".replace(" ", "\u00a0"), world.MAILS[2].upper()):
        chosen = {"question": text, "text": "An answer", "task": "digest", "version": one.name, "vote": "down"}
        votes.store(chosen, "Learn this.")
    found = feedback.waiting(engine)
    assert len(found) == 3 and all(line["eval"] for line in found)
    for line in found:
        feedback.settle(engine, line["id"], "lee", True)
    assert list(preferences.export(engine, "digest", SUMMARY, 0.0)) == []


# ---- everything at once

JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["\ud800", "\x00"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
LEVELS = st.dictionaries(
    st.sampled_from([*GOOD, *OTHER]),
    st.fixed_dictionaries({}, optional={"level": st.sampled_from(["poor", "average", "good", "right", "wrong"]) | JUNK,
                                        "reason": JUNK | st.just("because"), "evidence": JUNK}),
)  # fmt: skip
DRAFTS = st.sampled_from([GOOD, OTHER, {n: {**g, "reason": "x\ud800"} for n, g in GOOD.items()}]) | LEVELS | JUNK
STEPS = st.fixed_dictionaries(
    {"do": st.sampled_from([*flow.STEPS]) | JUNK, "work": st.sampled_from(["$one", "$two", "$pairs"]) | JUNK,
     "id": st.sampled_from(["$item", "$item", "$other", "training-0", "test-0"]) | JUNK, "draft": DRAFTS},
    optional={"seconds": JUNK, "winner": st.sampled_from(["first", "second", "tie", "abstain", "undo"]) | JUNK,
              "reason": JUNK},
)  # fmt: skip
LEAD = st.tuples(
    st.sampled_from(["adjudicate", "role", "open", "feedback", "nothing"]),
    st.fixed_dictionaries(
        {},
        optional={
            "batch": st.sampled_from(["$one", "$two", "$pairs"]) | JUNK, "output": st.sampled_from(["$output"]) | JUNK,
            "draft": DRAFTS, "reason": JUNK, "task": st.sampled_from(["digest", "who", "../x"]) | JUNK,
            "versions": st.sampled_from([["digest@v1"], ["digest@v1", "digest@v2"]]) | JUNK, "pairs": st.booleans(),
            "user": st.sampled_from(["bob"]) | JUNK, "role": st.sampled_from(["rater"]) | JUNK,
            "id": st.integers(0, 20) | JUNK, "accept": JUNK,
        },
    ),
)  # fmt: skip


def test_500_requests_of_two_roles_break_nothing() -> None:
    """No 500, and after all of them every page, export, verdict and further step can still be read."""
    one, two = two_rubrics()
    engine = tables.open_database()
    made = world.answers(6, ("digest@v1", "digest@v2"))
    third = pairs.open_pairs(engine, "digest", SUMMARY, list(zip(made[:6], made[6:], strict=True)), Plan())
    said = feedback.Feedback(vote="down", wrote="Better.", consent=True)
    feedback.give(engine, "digest", "digest@v1", "A text", "An answer", said)
    site = rater.make()
    clients = {name: TestClient(site, raise_server_exceptions=False) for name in ("anna", "bob", "lee")}
    for name, each in clients.items():
        each.post("/login", data={"name": name, "password": f"{name}-password"})
    count = 0

    def fill(value: Any, who: str) -> Any:
        if isinstance(value, dict):
            return {key: fill(inner, who) for key, inner in value.items()}
        if value in ("$item", "$other"):
            other = {"anna": "bob", "bob": "anna"}.get(who, "anna")
            at = clients[who if value == "$item" else other].get("/api/place").json()
            return at.get("item", {}).get("id")
        known = {"$one": one, "$two": two, "$pairs": third, "$output": made[0]}
        return known.get(value, value) if isinstance(value, str) else value

    @settings(max_examples=500, deadline=None, database=None, derandomize=True,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(st.tuples(st.sampled_from(["anna", "bob"]), STEPS) | st.tuples(st.just("lee"), LEAD))
    def each(request: Any) -> None:
        nonlocal count
        who, what = request
        path, body = ("/api/act", what) if who != "lee" else (f"/api/lead/{what[0]}", what[1])
        text = json.dumps(fill(body, who))
        sent = clients[who].post(path, content=text, headers={"content-type": "application/json"})
        assert sent.status_code in (200, 400, 403, 404, 409), (sent.status_code, path, text)
        count += 1

    each()
    assert count >= 500
    lee = clients["lee"]
    for batch in [b["id"] for b in lee.get("/api/lead").json()["batches"]]:
        assert lee.get("/api/lead", params={"batch": batch}).status_code == 200
        for what in ("ratings", "pairs"):
            assert lee.get(f"/export/{what}.jsonl", params={"batch": batch}).status_code in (200, 404)
    for name in ("anna", "bob"):
        assert clients[name].get("/api/place").status_code == 200
    for rubric in (SUMMARY, IDENTITY):
        verdicts.agreement(engine, rubric)
        oversight.raters(engine, rubric)
        for output in verdicts.verdicts(engine, rubric):
            oversight.dispute(engine, rubric, output)
    assert verdicts.standing(engine, SUMMARY.hash()) or verdicts.standing(engine, IDENTITY.hash()), "nothing was graded"
