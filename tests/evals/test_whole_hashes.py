"""What a decision or an answer is stored under is the whole hash: 48 bits of it can be made to fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from evals import answers, decisions, migrations, tables
from evals.gate import Verdict
from factory.data.rows import Row
from factory.errors import GateRefused
from factory.home import home
from tests.browser import world
from tests.evals.test_tables import first_release

ROW = Row(({"role": "user", "content": "A message"},))
PASSED = Verdict(decision="PROMOTE", why="good", labels=1, plan={}, plan_hash="p")


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FACTORY_RATINGS", raising=False)
    yield


def test_a_version_that_shares_48_bits_is_another_one() -> None:
    made = world.version("digest", 1, None, "Be brief.")
    twin = f"digest@{made.sha[:12]}{made.sha[:11:-1]}"
    engine = tables.open_database()
    decisions.log(engine, "digest", made.name, "", "rows", "r", PASSED)
    answers.record(engine, "digest", made.name, [ROW], ["Answer"])
    assert decisions.allow(engine, made.name, "") and answers.stored(engine, made.name)
    assert answers.stored(engine, twin) == {} and len(made.name) == len("digest@") + 64
    with pytest.raises(GateRefused, match=f"{made.short} was never graded"):
        decisions.allow(engine, twin, "")


def test_what_was_stored_under_short_names_is_found_under_whole_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = world.version("digest", 1, None, "Be brief."), world.version("digest", 2, None, "Be brief.")
    every = migrations.MIGRATIONS
    monkeypatch.setattr(migrations, "MIGRATIONS", every[:2])
    engine = first_release(home("ratings.db"))
    tables.migrate(engine)
    decisions.log(engine, "digest", two.short, one.short, "rows", "r", PASSED)
    decisions.log(engine, "digest", "digest@aaaaaaaaaaaa", "", "rows", "r", PASSED)
    answers.record(engine, "digest", one.short, [ROW], ["Answer"])
    answers.record(engine, "digest", "tiny@base", [ROW], ["Base"])
    monkeypatch.setattr(migrations, "MIGRATIONS", every)
    tables.migrate(engine)
    assert decisions.allow(engine, two.name, one.name)
    assert [*answers.stored(engine, one.name).values()] == ["Answer"] and answers.stored(engine, "tiny@base")
    assert decisions.latest(engine, "digest@aaaaaaaaaaaa"), "what is not in the store stays as it was"
    with pytest.raises(sa.exc.DatabaseError, match="append-only"), tables.writing(engine) as c:
        c.execute(sa.update(tables.gate_runs).values(decision="PROMOTE"))
