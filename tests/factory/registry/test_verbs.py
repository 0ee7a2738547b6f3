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


def test_one_damaged_version_hides_no_other_and_is_no_obstacle(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither in the list nor to a promotion that replaces it, nor for a pull, which mends it."""
    first, second = make(1), make(2, gate={"decision": "PROMOTE", "why": "better"})
    other = make(3, task="chat")
    aliases.point(first)
    place = f"file:{tmp_path}/share/mail"
    assert main(["push", f"version={first.name}", f"to={place}"]) == 0
    (first.folder / "adapter_model.safetensors").unlink()
    (tmp_path / "home" / "registry" / "torn.json").write_text('{"task": "to')
    capsys.readouterr()
    assert main(["list", "--json"]) == 0
    printed = capsys.readouterr()
    found = {version["version"]: version["fault"] for version in json.loads(printed.out)["versions"]}
    assert found.keys() == {first.name, second.name, other.name}
    assert "adapter_model.safetensors is gone" in found.pop(first.name) and set(found.values()) == {None}
    assert "the registry of torn is damaged" in printed.err and "is gone" in printed.err
    assert main(["list"]) == 0 and "damaged" in capsys.readouterr().out
    assert main(["promote", f"version={second.name}", "force=the live one is damaged, see above"]) == 0
    assert main(["rollback", "task=mail"]) == 1 and aliases.resolve("mail") == second
    assert main(["pull", f"from={place}@v1"]) == 0
    assert "is mail@v1" in capsys.readouterr().out and main(["rollback", "task=mail"]) == 0
    assert aliases.resolve("mail") == first


def test_a_task_without_a_folder_can_be_taken_out_of_production(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    aliases.point(make(1))
    assert main(["retire", "task=mail", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"task": "mail", "generation": 3}
    assert main(["retire", "task=mail"]) == 2 and main(["retire", "task=mial"]) == 2
    assert "did you mean mail" in capsys.readouterr().err
    assert main(["rollback", "task=mail"]) == 0 and aliases.resolve("mail").task == "mail"


def test_what_is_advised_next_works(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, decision in enumerate(("PROMOTE", "REJECT"), 1):
        version = make(number, gate={"against": None, "decision": decision, "why": "so"})
        main(["push", f"version={version.name}", f"to=file:{tmp_path}/share/mail"])
        capsys.readouterr()
        assert main(["pull", f"from=file:{tmp_path}/share/mail@v{number}"]) == 0
        words = capsys.readouterr().out.splitlines()[-1].split()
        assert words[1] == {"PROMOTE": "promote", "REJECT": "show"}[decision]
        assert main(words[1:]) == 0
