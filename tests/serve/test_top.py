"""What `factory top` shows of a server's state."""

from __future__ import annotations

from rich.console import Console

from serve import remote
from serve.top import view
from tests.fakes.adapters import promote
from tests.fakes.serving import Fake


def test_it_shows_tasks_versions_shares_and_engines(fake: Fake) -> None:
    promote("summary@v2")
    promote("summary@v3", share=0.1)
    state = remote.state()
    assert state is not None
    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(view(state))
    (row,) = [line for line in console.export_text(clear=False).splitlines() if "summary" in line]
    assert [cell.strip() for cell in row.strip("│").split("│")][:4] == ["summary", "v2", "v1", "v3 10%"]
    (engine,) = [line for line in console.export_text(clear=False).splitlines() if "ready" in line]
    assert "5 of 5" in engine
