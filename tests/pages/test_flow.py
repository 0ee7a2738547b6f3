"""The rater's way as steps on the database, and what a lead gets out: pairs that a gate's row never enters."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from evals import feedback, oversight, people, preferences, ratings, run, tables, units, verdicts
from evals import rubric as rubrics
from evals.ratings import Plan
from evals.run import Subject
from serve.pages import flow
from serve.pages.flow import Rater
from serve.pages.markup import tag
from serve.pages.texts import of_browser, texts
from tests.browser import world
from tests.evals.test_run import PEOPLE, messages, people_grade, recipe, summaries

RUBRIC = rubrics.load("summary")
GOOD: dict[str, dict[str, Any]] = {d.name: {"level": "good"} for d in RUBRIC.dimensions}
POOR = {**GOOD, "harmfulness": {"level": "poor", "reason": "rude"}}
QUIET = Plan(overlap=0, gold=0, repeats=0)
ANN = Rater("ann", 0)


def step(do: str, who: Rater = ANN, **more: Any) -> dict[str, Any]:
    engine = tables.open_database()
    at = flow.place(engine, who)
    return flow.act(engine, who, {"do": do, "work": at["work"], "id": at.get("item", {}).get("id"), **more})


def test_both_languages_say_the_same() -> None:
    english, chinese = texts("en"), texts("zh")
    for key, text in english.items():
        assert text and chinese[key]
        assert sorted(re.findall(r"{(\w+)}", text)) == sorted(re.findall(r"{(\w+)}", chinese[key])), key


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("de,en;q=0.5,zh;q=0.7", "zh"),
        ("en-GB", "en"),
        ("x;;;q=,zh", "zh"),
    ],
)
def test_the_browsers_language(accepted: str, language: str) -> None:
    assert of_browser(accepted) == language


def test_markup_escapes_what_it_did_not_make() -> None:
    made = tag("p", "<b>", tag("i", "&"), title='"><x')
    assert made == '<p title="&#34;&gt;&lt;x">&lt;b&gt;<i>&amp;</i></p>' and tag("p", made, "<") == f"<p>{made}&lt;</p>"


def test_qualification_needs_two_thirds_of_each_dimension() -> None:
    right = [{n: {"level": v.level} for n, v in item.grades.items()} for item in RUBRIC.qualification]
    assert people.judge_test(RUBRIC, right).passed
    name = RUBRIC.dimensions[0].name
    one_off = [{**right[0], name: {"level": "poor" if right[0][name]["level"] != "poor" else "good"}}, *right[1:]]
    assert people.judge_test(RUBRIC, one_off).passed
    two_off = [one_off[0], {**right[1], name: {}}, *right[2:]]
    result = people.judge_test(RUBRIC, two_off)
    assert not result.passed and [n for n, part in result.dimensions.items() if not part.passed] == [name]


def test_a_test_may_be_taken_three_times_a_day() -> None:
    result = people.judge_test(RUBRIC, [{}] * len(RUBRIC.qualification))
    taken = [(1000.0, result), (2000.0, result), (3000.0, result)]
    assert people.next_try(taken[:2], 3100) is None
    assert people.next_try(taken, 3100) == 1000 + people.TRY_SPAN
    assert people.next_try(taken, 1001 + people.TRY_SPAN) is None


def test_a_changed_rubric_asks_for_a_new_test(monkeypatch: pytest.MonkeyPatch) -> None:
    world.batch(world.answers(2), QUIET)
    world.qualify("ann")
    engine = tables.open_database()
    assert flow.place(engine, ANN)["stage"] == "rate"
    changed = RUBRIC.model_copy(update={"guidelines": "New."})
    monkeypatch.setattr(flow, "offered", lambda: {changed.hash(): changed})
    assert flow.place(engine, ANN)["stage"] == "nothing", "a batch of the old rubric is not given out any more"
    ratings.open_batch(engine, "digest", changed, world.answers(2), QUIET)
    assert flow.place(engine, ANN)["stage"] == "guidelines"


def test_a_submit_that_was_heard_already_is_no_error() -> None:
    world.batch(world.answers(3), QUIET)
    world.qualify("ann")
    engine = tables.open_database()
    first = flow.place(engine, ANN)
    again = {"do": "submit", "work": first["work"], "id": first["item"]["id"], "draft": GOOD}
    once, twice = flow.act(engine, ANN, again), flow.act(engine, ANN, again)
    assert once["item"] == twice["item"] and twice["notice"] is None
    assert len(verdicts.standing(engine, RUBRIC.hash())) == 1
    lost = flow.act(engine, Rater("bob", 0), {**again, "do": "draft"})
    assert lost["notice"] == "moved_on"


def test_what_a_page_sends_is_cut_down_to_what_is_known() -> None:
    sent = {
        "harmfulness": {"level": "poor", "reason": "x" * 9000, "evidence": ["a"] * 99 + [None], "rater": "bob"},
        "composition": {"level": "superb"}, "invented": {"level": "good"}, "groundedness": "good",
    }  # fmt: skip
    found = people.clean(RUBRIC, sent)
    assert set(found) == {"harmfulness"} and set(found["harmfulness"]) == {"level", "reason", "evidence"}
    assert len(found["harmfulness"]["reason"]) == 2000 and len(found["harmfulness"]["evidence"]) == 20
    assert people.clean(RUBRIC, "nonsense") == {}


def test_ones_own_day_and_consistency() -> None:
    world.batch(world.answers(30), Plan(overlap=0, gold=0, repeats=0.4))
    world.qualify("ann")
    for number in range(30):
        step("submit", draft=POOR if number % 3 == 0 else GOOD)
    day = flow.place(tables.open_database(), ANN)["day"]
    assert day["today"] == day["total"] == 30 and 0 < day["consistency"] <= 1
    assert flow.place(tables.open_database(), Rater("ann", 9e9))["day"]["today"] == 0


def second(text: str) -> bool:
    """Whether the second version of the made-up world wrote it."""
    return text.rpartition(" (")[0] in world.SUMMARIES[1]


def test_preferences_differ_strictly_and_leave_the_gates_rows_out() -> None:
    one, two = world.answers(6, ("digest@v1",)), world.answers(6, ("digest@v1", "digest@v2"))[6:]
    world.batch([*one, *two], QUIET)
    world.qualify("ann")
    engine = tables.open_database()
    while (at := flow.place(engine, ANN))["stage"] == "rate":
        better = second(at["item"]["output"])
        same = "Ref. 000" in at["item"]["source"]
        said = GOOD if better or same else POOR
        flow.act(
            engine,
            ANN,
            {"do": "submit", "work": at["work"], "id": at["item"]["id"], "draft": said},
        )
    found = list(preferences.export(engine, "digest", RUBRIC, 0.0))
    assert len(found) == 5 and all(second(p["chosen"]) and "Ref. 000" not in p["prompt"] for p in found)
    assert list(preferences.export(engine, "digest", RUBRIC, 1.0)) == []
    half = list(preferences.export(engine, "digest", RUBRIC, 0.5))
    assert 0 < len(half) < 5 and all(pair in found for pair in half)
    yes = feedback.Feedback(vote="down", wrote="Better.", consent=True)
    feedback.give(engine, "digest", "digest@v1", "A new text", "Worse.", yes)
    feedback.give(engine, "digest", "digest@v1", "An eval row", "Worse.", yes.model_copy(update={"eval": True}))
    feedback.give(engine, "digest", "digest@v1", found[0]["prompt"], "Worse.", yes)
    for said in feedback.given(engine, "digest"):
        feedback.settle(engine, said["id"], "lee", True)
    edited = [p for p in preferences.export(engine, "digest", RUBRIC, 1.0) if p["from"] == "edited"]
    assert [p["prompt"] for p in edited] == ["A new text"]
    assert len(verdicts.standing(engine, RUBRIC.hash())) == 12, "feedback is no rating"


def test_drift_is_shown_where_it_is_there_and_only_then() -> None:
    steady = [0.5, 0.75, 1.0] * 30
    assert oversight.drift(steady[:19]) == (None, None)
    value, interval = oversight.drift(steady)
    assert value is not None and interval is not None and interval[0] < 0 < interval[1]
    value, interval = oversight.drift([x - 0.4 if i < 30 else x for i, x in enumerate(steady)])
    assert value is not None and interval is not None and value > 0.2 and interval[0] > 0
    assert oversight.drift([1.0] * 30) == (0.0, (0.0, 0.0))


def test_a_lead_who_opens_work_labels_the_anchor_too(client: Callable[..., httpx.Client]) -> None:
    """The gate holds losses against it as well: a batch without its answers would count for nothing."""
    world.users(lee="lead")
    engine, rows = tables.open_database(), messages(60)
    plan = recipe("summary", PEOPLE)
    new, old, first = (Subject(f"summary@{name}", summaries(0.1, seed)) for seed, name in enumerate("abc", 1))
    run.grade(plan, rows, new, old, engine, anchor=first)
    chosen = {"task": "summary", "versions": [new.name, old.name]}
    assert client("lee").post("/api/lead/open", json=chosen).status_code == 200
    batch, planned = units.batch_of(engine, "summary", RUBRIC.hash(), [new.name, old.name, first.name]) or ("", None)
    assert planned and {*planned.versions} == {new.name, old.name, first.name}
    people_grade(engine, batch, RUBRIC, 180, ["ann", "bob"])
    found = run.grade(plan, rows, new, old, engine, anchor=first)
    assert 0 < found.gate.labels == found.gate.differ and "and the anchor summary@c" in found.sentence
    assert client("lee").get("/api/lead").json()["gate"][0]["sentence"] == found.sentence
