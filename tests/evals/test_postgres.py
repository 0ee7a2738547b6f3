"""The ratings on a real PostgreSQL: every test that tells how assignments are handed out, once more on it.

Debian's `postgresql` brings the server (`apt-get install postgresql`), pip the driver (`psycopg` or `pg8000`); without
one of them this file is skipped and says which.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from evals import ratings
from evals import tables as t
from evals.ratings import Assignment
from tests.evals import test_ratings as sqlite

DRIVERS = [name for name in ("psycopg", "pg8000") if importlib.util.find_spec(name)]
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of this module's own on a unix socket; gives its address without the database's name."""
    if not PROGRAMS:
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    if not DRIVERS:
        pytest.skip("no driver for PostgreSQL here: pip install pg8000")
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
def database(server: str, request: pytest.FixtureRequest) -> Iterator[sa.Engine]:
    """A database of the test's own."""
    name = f"t{abs(hash(request.node.name))}"
    where = f"unix_sock={server}/.s.PGSQL.5432" if DRIVERS[0] == "pg8000" else f"host={server}"
    url = f"postgresql+{DRIVERS[0]}://postgres@/{{}}?{where}"
    admin = sa.create_engine(url.format("postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as c:
        c.exec_driver_sql(f"CREATE DATABASE {name}")
    admin.dispose()
    engine = t.open_database(url.format(name))
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
    import threading

    batch = sqlite.filled(database, 1)
    slot = sqlite.take(database, batch, "ann", now=0)
    found: list[object] = []
    with t.writing(database) as c:
        assert c.execute(ratings.free_slots(batch, "bob", 10_000)).scalar() == slot.id
        ann = threading.Thread(target=lambda: found.append(ratings.next_one(database, batch, "ann", 10_000)))
        ann.start()
        ann.join(0.5)
        took = {"rater": "bob", "opened": 10_000, "leased_until": 20_000}
        c.execute(sa.update(t.assignments).where(t.assignments.c.id == slot.id).values(**took))
    ann.join(10)
    assert not isinstance(found[0], Assignment), found
    with t.reading(database) as c:
        assert c.execute(sa.select(t.assignments.c.rater)).scalar() == "bob"
