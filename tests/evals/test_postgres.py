"""The ratings on a real PostgreSQL: every test that tells how assignments are handed out, once more on it, and what
only it can get wrong. Debian's `postgresql` brings the server (`apt-get install postgresql`); without it this file is
skipped and says so.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from evals import answers, ratings, slots
from evals import tables as t
from evals.ratings import Assignment
from tests.evals import test_ratings as sqlite
from tests.evals import test_whole_hashes as hashes

pytest.importorskip("pg8000", reason="the driver that requirements/ pins is not here: make")
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of this module's own on a unix socket; gives its folder."""
    if not PROGRAMS:
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    root = os.geteuid() == 0  # PostgreSQL refuses to run as root
    if root and "postgres" not in {user.pw_name for user in pwd.getpwall()}:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    as_user = ["runuser", "-u", "postgres", "--"] if root else []
    folder = Path(
        subprocess.check_output([*as_user, "mktemp", "-d", "/tmp/factory-postgres-XXXXXX"], text=True).strip()
    )
    programs = PROGRAMS[-1].parent
    subprocess.run(
        [*as_user, programs / "initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8"],
        capture_output=True,
        check=True,
    )
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    control = [*as_user, programs / "pg_ctl", "-D", folder / "data", "-w"]
    subprocess.run([*control, "-l", folder / "log", "-o", options, "start"], capture_output=True, check=True)
    yield str(folder)
    subprocess.run([*control, "-m", "immediate", "stop"], capture_output=True, check=True)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def empty(server: str, request: pytest.FixtureRequest) -> str:
    """The URL of a new database of the test's own."""
    name = f"t{abs(hash(request.node.name))}"
    url = f"postgresql+pg8000://postgres@/{{}}?unix_sock={server}/.s.PGSQL.5432"
    admin = sa.create_engine(url.format("postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as c:
        c.exec_driver_sql(f"CREATE DATABASE {name}")
    admin.dispose()
    return url.format(name)


@pytest.fixture
def database(empty: str) -> Iterator[sa.Engine]:
    engine = t.open_database(empty)
    yield engine
    engine.dispose()


test_tables = sqlite.test_the_tables_are_what_the_migrations_make
test_blind = sqlite.test_what_a_rater_sees_names_no_version
test_reload = sqlite.test_a_reload_shows_the_same_assignment_with_its_draft
test_leases = sqlite.test_a_lease_that_ran_out_goes_to_somebody_else_and_the_late_rater_is_told
test_reasons = sqlite.test_nothing_to_do_says_why
test_undo = sqlite.test_undo_adds_a_line_and_brings_the_grades_back
test_last_word = sqlite.test_votes_disputes_and_the_leads_last_word


@pytest.mark.parametrize("change", ["UPDATE ratings SET seconds = 9", "DELETE FROM ratings"])
def test_append_only(database: sa.Engine, change: str) -> None:
    sqlite.finish(database, sqlite.filled(database, 1), "ann")
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), t.writing(database) as c:
        c.exec_driver_sql(change)


def test_an_expired_slot_that_somebody_takes_over_is_not_renewed(database: sa.Engine) -> None:
    """Ann comes back just while Bob's transaction takes the slot over: it is Bob's, and Ann's lease is not renewed."""
    batch = sqlite.filled(database, 1)
    slot = sqlite.take(database, batch, "ann", now=0)
    found: list[object] = []
    with t.writing(database) as c:
        assert c.execute(slots.FREE, {"in_batch": batch, "by": "bob", "now": 10_000}).scalar() == slot.id
        ann = threading.Thread(target=lambda: found.append(ratings.next_one(database, batch, "ann", 10_000)))
        ann.start()
        ann.join(0.5)
        took = {"rater": "bob", "opened": 10_000, "leased_until": 20_000}
        c.execute(sa.update(t.assignments).where(t.assignments.c.id == slot.id).values(**took))
    ann.join(10)
    assert not isinstance(found[0], Assignment), found
    with t.reading(database) as c:
        assert c.execute(sa.select(t.assignments.c.rater)).scalar() == "bob"


def test_short_names_become_whole_hashes(empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(t, "default_url", lambda: empty)
    hashes.test_what_was_stored_under_short_names_is_found_under_whole_ones(monkeypatch)


def test_several_programs_may_open_an_empty_database_at_once(empty: str) -> None:
    faults: list[Exception] = []

    def open_() -> None:
        try:
            t.open_database(empty).dispose()
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=open_) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults, faults[0]


def test_many_raters_at_once_get_each_their_own(database: sa.Engine) -> None:
    """Items with two outputs, which one rater gets together: what two transactions lock in turn must not be a knot."""
    raters = [f"rater{number}" for number in range(8)]
    rows = sqlite.rows(24)
    made = [answers.record(database, "identity", f"identity@v{v}", rows, [f"answer {v}"] * 24) for v in (1, 2)]
    for rater in raters:
        ratings.add_rater(database, rater)
    batch = ratings.open_batch(database, "identity", sqlite.RUBRIC, [o for each in made for o in each], sqlite.QUIET)
    faults: list[Exception] = []

    def work(rater: str) -> None:
        try:
            while isinstance(found := ratings.next_one(database, batch, rater), Assignment):
                ratings.submit(database, found.id, rater, sqlite.RUBRIC, sqlite.GOOD, seconds=1)
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(rater,)) for rater in raters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults, faults[0]
    a = t.assignments.c
    with t.reading(database) as c:
        done = c.execute(sa.select(a.output, a.done)).all()
    assert len(done) == len({row.output for row in done}) and all(row.done for row in done)
