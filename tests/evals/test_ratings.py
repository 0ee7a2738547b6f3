"""Assignments: blind, each done once, never two raters on one, nothing lost, nothing rewritten."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa

from evals import answers, oversight, ratings, slots, verdicts
from evals import rubric as rubrics
from evals import tables as t
from evals.ratings import Assignment, NoWork, Plan
from factory.data.rows import Row
from factory.errors import FactoryError, InputError

RUBRIC = rubrics.load("identity")
GOOD = {name: {"level": "good"} for name in RUBRIC.decided_by("people")}
QUIET = Plan(overlap=0, gold=0, repeats=0, qualified_only=False)


def rows(n: int) -> list[Row]:
    return [Row(({"role": "user", "content": f"question {i}"},)) for i in range(n)]


def filled(engine: sa.Engine, n: int, plan: Plan = QUIET, raters: tuple[str, ...] = ("ann", "bob")) -> str:
    outputs = answers.record(engine, "identity", "identity@v1", rows(n), [f"answer {i}" for i in range(n)])
    for rater in raters:
        ratings.add_rater(engine, rater)
    return ratings.open_batch(engine, "identity", RUBRIC, outputs, plan)


def take(engine: sa.Engine, batch: str, rater: str, now: float | None = None) -> Assignment:
    found = ratings.next_one(engine, batch, rater, now)
    assert isinstance(found, Assignment), found
    return found


def finish(engine: sa.Engine, batch: str, rater: str, grades: ratings.Grades = GOOD) -> Assignment:
    found = take(engine, batch, rater)
    ratings.submit(engine, found.id, rater, RUBRIC, grades, seconds=1)
    return found


def test_the_tables_are_what_the_migrations_make(database: sa.Engine) -> None:
    inspector = sa.inspect(database)
    for table in t.meta.tables.values():
        assert {c["name"] for c in inspector.get_columns(table.name)} == {c.name for c in table.columns}, table.name
    assert "migrations" in inspector.get_table_names()
    t.migrate(database)  # again: nothing to do


def test_a_database_from_the_future_is_refused(database: sa.Engine) -> None:
    with t.writing(database) as c:
        c.exec_driver_sql("INSERT INTO migrations VALUES (999, 'later', 0)")
    with pytest.raises(FactoryError, match="newer than this program"):
        t.migrate(database)


def test_a_database_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path}/no/such/folder.db", "nonsense"):
        with pytest.raises(FactoryError, match="cannot be used") as caught:
            t.open_database(url)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", ["UPDATE ratings SET seconds = 9", "DELETE FROM ratings"])
def test_ratings_are_append_only(database: sa.Engine, change: str) -> None:
    finish(database, filled(database, 1), "ann")
    with pytest.raises(sa.exc.IntegrityError, match="append-only"), t.writing(database) as c:
        c.exec_driver_sql(change)


def test_what_a_rater_sees_names_no_version(database: sa.Engine) -> None:
    shown = take(database, filled(database, 3), "ann").model_dump()
    assert set(shown) == {"id", "source", "output", "other", "draft"} and "v1" not in str(shown)


def test_equal_answers_of_two_versions_are_one_output(database: sa.Engine) -> None:
    one, two = (answers.record(database, "identity", v, rows(2), ["same", v]) for v in ("a@v1", "a@v2"))
    assert one[0] == two[0] and one[1] != two[1]
    assert sorted(answers.stored(database, "a@v2").values()) == ["a@v2", "same"]


def test_a_reload_shows_the_same_assignment_with_its_draft(database: sa.Engine) -> None:
    batch = filled(database, 5)
    first = take(database, batch, "ann")
    ratings.save_draft(database, first.id, "ann", {"loyalty": {"level": "good"}})
    again = take(database, batch, "ann")
    assert again.id == first.id and again.draft == {"loyalty": {"level": "good"}}


def test_all_raters_follow_one_seeded_random_order(tmp_path: Path) -> None:
    def order(name: str, rater: str) -> list[str]:
        engine = t.open_database(f"sqlite:///{tmp_path}/{name}.db")
        batch = filled(engine, 12, raters=(rater,))
        return [finish(engine, batch, rater).output for _ in range(12)]

    assert order("a", "ann") == order("b", "ann") == order("c", "bob") != [f"answer {i}" for i in range(12)]


def test_both_outputs_of_an_item_come_to_the_same_rater_one_after_the_other(database: sa.Engine) -> None:
    """And both get the same number of votes, whoever comes and goes."""
    both = [answers.record(database, "identity", v, rows(8), [f"{v} {i}" for i in range(8)]) for v in ("old", "new")]
    plan = QUIET.model_copy(update={"overlap": 0.5, "versions": ["new", "old"]})
    for rater in ("ann", "bob"):
        ratings.add_rater(database, rater)
    batch = ratings.open_batch(database, "identity", RUBRIC, [*both[0], *both[1]], plan)
    for turn in range(12):
        rater = ("ann", "bob")[turn % 2]
        assert finish(database, batch, rater).source == finish(database, batch, rater).source
    assert isinstance(ratings.next_one(database, batch, "ann"), NoWork)
    votes = Counter(s.output for s in verdicts.standing(database, RUBRIC.hash()))
    assert all(votes[one] == votes[two] for one, two in zip(*both, strict=True)) and votes.total() == 24


def test_what_one_person_cannot_judge_another_is_asked_on_both_sides(database: sa.Engine) -> None:
    batch = filled(database, 1)
    ratings.submit(database, take(database, batch, "ann").id, "ann", RUBRIC, {}, 1, abstain=True)
    assert isinstance(ratings.next_one(database, batch, "ann"), NoWork)
    assert finish(database, batch, "bob").source == "question 0"
    assert ratings.next_one(database, batch, "bob") == NoWork(why="all done")


def test_each_output_once_and_the_overlap_by_two_people(database: sa.Engine) -> None:
    batch = filled(database, 20, QUIET.model_copy(update={"overlap": 0.25}))
    seen: list[tuple[str, str]] = []
    while True:
        found = [(r, ratings.next_one(database, batch, r)) for r in ("ann", "bob")]
        if all(isinstance(a, NoWork) for _, a in found):
            break
        for rater, a in found:
            if isinstance(a, Assignment):
                ratings.submit(database, a.id, rater, RUBRIC, GOOD, 1)
                seen.append((rater, a.output))
    assert len(seen) == len(set(seen)) == 25
    assert Counter(Counter(output for _, output in seen).values()) == {1: 15, 2: 5}


def test_a_lease_that_ran_out_goes_to_somebody_else_and_the_late_rater_is_told(database: sa.Engine) -> None:
    batch = filled(database, 1)
    now = time.time()
    lost = take(database, batch, "ann", now)
    ratings.save_draft(database, lost.id, "ann", {"loyalty": {"level": "poor"}}, now)
    waiting = ratings.next_one(database, batch, "bob", now + 10)
    assert isinstance(waiting, NoWork) and waiting.why == "others are at it" and waiting.until == now + 1800
    taken = take(database, batch, "bob", now + 1801)
    assert taken.id == lost.id and taken.draft == {}, "the draft of another rater must not show"
    with pytest.raises(FactoryError, match="no longer yours"):
        ratings.submit(database, lost.id, "ann", RUBRIC, GOOD, 1)
    ratings.submit(database, taken.id, "bob", RUBRIC, GOOD, 1)
    assert ratings.next_one(database, batch, "ann") == NoWork(why="all done")


def test_nothing_to_do_says_why(database: sa.Engine) -> None:
    batch = filled(database, 1, QUIET.model_copy(update={"overlap": 1.0}))
    finish(database, batch, "ann")
    assert ratings.next_one(database, batch, "ann") == NoWork(why="you have seen the rest")
    assert ratings.next_one(database, "no such batch", "ann") == NoWork(why="no batch")
    strict = filled(database, 2, Plan())
    assert ratings.next_one(database, strict, "ann") == NoWork(why="not qualified")
    ratings.qualify(database, "ann", RUBRIC, True, {"right": 9})
    take(database, strict, "ann")
    ratings.qualify(database, "ann", RUBRIC, False, {"right": 2})
    assert ratings.next_one(database, strict, "ann") == NoWork(why="not qualified")


def test_a_changed_rubric_asks_for_a_new_qualification(database: sa.Engine) -> None:
    ratings.qualify(database, "ann", RUBRIC, True, {})
    changed = RUBRIC.model_copy(update={"guidelines": "Other."})
    assert ratings.qualified(database, "ann", RUBRIC.hash())
    assert not ratings.qualified(database, "ann", changed.hash())


@pytest.mark.parametrize(
    ("grades", "told"),
    [
        ({}, "truthfulness: no level"),
        ({**GOOD, "loyalty": {"level": "poor"}}, "loyalty: poor needs a reason"),
        ({**GOOD, "loyalty": {"level": "great"}}, "no level 'great'"),
    ],
)
def test_grades_must_be_whole(database: sa.Engine, grades: ratings.Grades, told: str) -> None:
    batch = filled(database, 1)
    with pytest.raises(InputError, match=told):
        ratings.submit(database, take(database, batch, "ann").id, "ann", RUBRIC, grades, 1)
    assert not verdicts.standing(database, RUBRIC.hash())


def test_undo_adds_a_line_and_brings_the_grades_back(database: sa.Engine) -> None:
    batch = filled(database, 2)
    first = finish(database, batch, "ann")
    second = take(database, batch, "ann")
    back = ratings.undo(database, batch, "ann")
    assert back and back.id == first.id and back.draft == GOOD
    assert verdicts.standing(database, RUBRIC.hash()) == []
    assert take(database, batch, "ann").id == first.id
    ratings.submit(database, first.id, "ann", RUBRIC, {**GOOD, "loyalty": {"level": "poor", "reason": "r"}}, 1)
    assert take(database, batch, "ann").id == second.id
    with t.reading(database) as c:
        assert [r.action for r in c.execute(sa.select(t.ratings).order_by(t.ratings.c.id))] == [
            "grade",
            "undo",
            "grade",
        ]
    [said] = verdicts.standing(database, RUBRIC.hash())
    assert said.grades["loyalty"]["level"] == "poor"
    assert ratings.undo(database, batch, "bob") is None


def test_votes_disputes_and_the_leads_last_word(database: sa.Engine) -> None:
    batch = filled(database, 1, QUIET.model_copy(update={"overlap": 1.0}))
    poor = {**GOOD, "composition": {"level": "poor", "reason": "breaks off"}}
    output = finish(database, batch, "ann")
    finish(database, batch, "bob", poor)
    [(key, verdict)] = verdicts.verdicts(database, RUBRIC).items()
    assert verdict.levels["composition"] == "average" and verdict.spread["composition"] == 2, "never the worse of two"
    assert verdicts.disputes(database, RUBRIC) == [key] == [answers.output_id(rows(1)[0].key(), output.output)]
    ratings.adjudicate(database, key, RUBRIC, "lea", {"composition": {"level": "good"}}, "no slip at all")
    assert verdicts.verdicts(database, RUBRIC)[key].levels["composition"] == "good"
    assert verdicts.disputes(database, RUBRIC) == []
    assert verdicts.agreement(database, RUBRIC)["composite"].n == 1


def test_abstaining_is_no_grade(database: sa.Engine) -> None:
    batch = filled(database, 1)
    ratings.submit(database, take(database, batch, "ann").id, "ann", RUBRIC, {}, 1, abstain=True)
    assert verdicts.verdicts(database, RUBRIC) == {}
    assert oversight.raters(database, RUBRIC)[0].abstained == 1


def test_gold_and_repeats_come_unseen_and_measure_the_rater(database: sa.Engine) -> None:
    known = [Row(({"role": "user", "content": f"gold {i}"},)) for i in range(10)]
    settled = answers.record(database, "identity", "identity@old", known, ["I am Nova"] * 10)
    gold = {output: {"loyalty": "good" if i % 2 else "poor"} for i, output in enumerate(settled)}
    plan = Plan(overlap=0, gold=0.15, repeats=0.15, qualified_only=False, gold_grades=gold)
    batch = filled(database, 60, plan)
    sources = []
    while isinstance(found := ratings.next_one(database, batch, "ann"), Assignment):
        ratings.submit(database, found.id, "ann", RUBRIC, GOOD, 1)
        sources.append(found.source)
    golden = sum(s.startswith("gold") for s in sources)
    twice = sum(n == 2 for n in Counter(sources).values())
    assert 4 <= golden <= 10 and 4 <= twice <= 18 and len(sources) == 60 + golden + twice
    [rater] = oversight.raters(database, RUBRIC)
    assert rater.consistency == 1 and rater.repeats == twice and rater.gold_n == golden
    assert rater.gold == pytest.approx(sum(s.startswith("gold") and int(s[5:]) % 2 for s in sources) / golden, abs=1e-4)
    assert len(verdicts.verdicts(database, RUBRIC)) == 60, "gold and repeats are no votes"


CROWD = """
import os, sys, time
from evals import ratings, rubric as rubrics, tables as t

rubric = rubrics.load("identity")
grades = {name: {"level": "good"} for name in rubric.decided_by("people")}
url, batch, *raters = sys.argv[1:]

def work(rater, ready, go):
    engine = t.open_database(url)
    found = ratings.next_one(engine, batch, rater)  # all at once
    os.write(ready, b".")
    os.read(go, 1)
    while True:
        if isinstance(found, ratings.Assignment):
            if rater.startswith("mortal"):
                os._exit(9)  # the browser goes away with a lease in hand
            try:
                ratings.save_draft(engine, found.id, rater, grades)
                ratings.submit(engine, found.id, rater, rubric, grades, 0.1)
            except ratings.FactoryError:
                pass  # too slow: the lease ran out and somebody else has it
        elif found.why == "all done":
            os._exit(0)
        else:
            time.sleep(0.05)
        found = ratings.next_one(engine, batch, rater)

(told, ready), (go, start) = os.pipe(), os.pipe()
children = []
for rater in raters:
    children.append(os.fork())
    if not children[-1]:
        try:
            work(rater, ready, go)
        finally:
            os._exit(1)
seen = 0
while seen < len(raters):
    seen += len(os.read(told, 64))
os.write(start, b"." * len(raters))
print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


def test_twenty_raters_at_once_some_dying(tmp_path: Path) -> None:
    """Every slot is done exactly once, the overlap is as planned, and no submitted rating is missing.

    Twenty processes begin together, each with an assignment in hand; five of them then die, and their leases run out.
    """
    url = f"sqlite:///{tmp_path}/ratings.db"
    engine = t.open_database(url)
    names = [f"{'mortal' if i % 4 == 0 else 'rater'}{i}" for i in range(20)]
    plan = Plan(overlap=0.25, gold=0, repeats=0, qualified_only=False, lease_seconds=2)
    batch = filled(engine, 60, plan, tuple(names))
    crowd = subprocess.run(
        [sys.executable, "-c", CROWD, url, batch, *names], capture_output=True, text=True, timeout=300, check=False
    )
    assert crowd.stdout.split() == ["9" if name.startswith("mortal") else "0" for name in names], crowd.stderr
    with t.reading(engine) as c:
        slots = c.execute(sa.select(t.assignments)).mappings().all()
        said = c.execute(sa.select(t.ratings)).mappings().all()
    assert len(slots) == 75 and all(s["done"] for s in slots)
    assert len(said) == 75 and Counter(r["assignment"] for r in said).most_common(1)[0][1] == 1
    by_output = Counter(s["output"] for s in slots)
    assert Counter(by_output.values()) == {1: 45, 2: 15}
    assert len({(s["output"], s["rater"]) for s in slots}) == 75, "nobody graded an output twice"
    assert {r["assignment"]: r["rater"] for r in said} == {s["id"]: s["rater"] for s in slots}


def test_on_postgres_a_slot_that_somebody_is_choosing_is_skipped() -> None:
    """The query by which slots are chosen, as PostgreSQL gets it."""
    from sqlalchemy.dialects import postgresql

    assert "FOR UPDATE SKIP LOCKED" in str(slots.FREE.compile(dialect=postgresql.dialect()))
