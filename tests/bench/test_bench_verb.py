"""`factory bench`: a thin verb over what lies in the checkout."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from factory.cli import main

ROOT = Path(__file__).parents[2]


def test_a_part_ends_as_json_and_in_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path))
    assert main(["bench", "only=memory", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == json.loads((tmp_path / "bench.json").read_text())
    assert set(result) == {"memory"} and len(result["memory"]) == 12


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("only=memry", "no such part of the benchmark; did you mean memory?"),
        ("soak=long", "soak=long: minutes, as a number"),
        ("small=yes", "small=yes: must be true or false"),
        ("experiments=0", "must be a whole number above 0"),
        ("train.lr=1e-3", "train.lr: only the parts gain and ways have a task and a recipe"),
        ("part=grpo", "part=grpo: one of only=preference part=dpo,grpo,accuracy; only=gain part=grpo,rounds,dpo_norm"),
        ("seeds=0", "seeds=0: must be a whole number above 0"),
        ("peers=axolotl", "only llamafactory can be compared with"),
    ],
)
def test_mistakes_are_named_before_anything_is_measured(
    word: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *([] if "only" in word else ["only=memory"]), word]) == 2
    assert said in capsys.readouterr().err


def test_an_installed_package_says_that_it_needs_the_checkout(tmp_path: Path) -> None:
    """The packages as an installation has them, in a folder without the benches."""
    for package in ("factory", "evals", "serve"):
        shutil.copytree(ROOT / package, tmp_path / package)
    done = subprocess.run(
        [sys.executable, "-m", "factory.cli", "bench", "only=memory"],
        capture_output=True, text=True, cwd=tmp_path, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "factory: bench/parts.py is in the checkout, not in the installed package: run it there"
    )
