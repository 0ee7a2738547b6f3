"""The command line's way: push a task, list it, pull it elsewhere, promote it by the decision that came with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from factory.cli import main
from factory.errors import GateRefused
from factory.registry import aliases
from factory.verbs.hub import listing, pull_, push_
from factory.verbs.registry import promote
from tests.factory.registry.conftest import Make, other_home
from tests.fakes.fake_hub import FakeHub

CARD = {"n": 50, "good": 0.8, "average": 0.1, "poor": 0.1, "rubric": "mail", "rubric_hash": "c" * 64, "rows": 50}


def test_from_one_machine_to_another(hub: FakeHub, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proven = make(1, scorecard=CARD, gate={"against": None, "decision": "PROMOTE", "why": "good +80.0%"})
    worse = make(2, scorecard=CARD, gate={"against": proven.name, "decision": "REJECT", "why": "worse"})
    aliases.point(proven)
    done = push_({"task": "mail", "to": "hub:team/mail"}, {}, True)
    assert done["aliases"] == {"prod": proven.sha[:12]} and [v["ordinal"] for v in done["versions"]] == [1]
    push_({"version": worse.name, "to": "hub:team/mail"}, {}, True)
    found = listing("hub:team", "", True)["versions"]
    assert [(v["ordinal"], v["aliases"], v["scorecard"]["good"]) for v in found] == [(1, ["prod"], 0.8), (2, [], 0.8)]

    other_home(tmp_path / "elsewhere", monkeypatch)
    assert pull_({"from": "hub:team/mail"}, {}, True)["version"] == proven.name
    assert promote({"version": proven.name}, {}, True)["version"] == proven.name
    pull_({"from": "hub:team/mail@v2"}, {}, True)
    with pytest.raises(GateRefused, match="REJECT"):
        promote({"version": worse.name}, {}, True)


def test_json_and_exit_codes(hub: FakeHub, make: Make, capfd: pytest.CaptureFixture[str]) -> None:
    version = make(1, scorecard=CARD)
    assert main(["push", f"version={version.name}", "to=hub:team/mail", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["versions"][0]["version"] == version.name
    assert main(["pull", "from=hub:team/nothing", "--json"]) == 1
    said = capfd.readouterr()
    *doing, problem = said.err.splitlines()
    assert not said.out and "no such repository" in problem and doing == ["factory pull from=hub:team/nothing"]
    assert main(["push", "to=hub:team/mail"]) == 2
