"""`factory ask` over the running server: what a model wrote is shown, and run only if it is a query."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from factory.cli import main
from tests.conftest import Server

pytestmark = pytest.mark.slow


def test_it_asks_the_server_and_shows_what_was_refused(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The adapters here are random, so no query comes; that it is told, and that nothing breaks, is what counts."""
    file = tmp_path / "pets.db"
    db = sqlite3.connect(file)
    db.execute("CREATE TABLE pets (id INTEGER PRIMARY KEY, name TEXT)")
    db.commit()
    db.close()
    before = file.read_bytes()
    assert main(["ask", "task=identity", f"db={file}", "How many pets are there?", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["query"] is not None and said["refused"].startswith(("invalid: ", "refused: "))
    assert file.read_bytes() == before
    assert main(["ask", "task=identity", "db=nowhere.db", "How many pets are there?"]) == 2
    assert "no such database" in capsys.readouterr().err
