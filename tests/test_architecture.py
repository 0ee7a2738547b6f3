"""The house rules that a reader relies on, checked on the source itself."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(p for layer in ("factory", "evals", "serve") for p in (ROOT / layer).rglob("*.py"))
ALLOWED = {"factory": {"factory"}, "evals": {"evals", "factory"}, "serve": {"serve", "evals", "factory"}}


def imported(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module)
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def test_imports_run_one_way() -> None:
    """serve → evals → factory; only the command line and its verbs wire all three, and nobody imports those."""
    assert len(SOURCES) > 20
    wrong = []
    for path in SOURCES:
        relative = path.relative_to(ROOT)
        wires = relative == Path("factory/cli.py") or relative.parts[:2] == ("factory", "verbs")
        for module in imported(path):
            layer = module.split(".")[0]
            if layer in ALLOWED and layer not in ALLOWED[relative.parts[0]] and not wires:
                wrong.append(f"{relative} imports {module}")
            if module.startswith(("factory.cli", "factory.verbs")) and not wires:
                wrong.append(f"{relative} imports {module}")
    assert not wrong


def test_no_python_among_adapters_and_rubrics() -> None:
    assert not [*(ROOT / "adapters").rglob("*.py"), *(ROOT / "rubrics").rglob("*.py")]


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(p.relative_to(ROOT))
        for p in SOURCES
        if p.read_text().strip() and not ast.get_docstring(ast.parse(p.read_text()))
    ]
    assert not silent


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    heavy = ("torch", "pydantic", "rich")
    code = (
        f"import sys; from factory.cli import main; main(['--help']); print([m for m in {heavy} if m in sys.modules])"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and done.stdout.endswith("[]\n")
    assert time.perf_counter() - started < 5  # the bar is 0.5 s; a loaded machine must not fail the test


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_requirements_are_pinned(name: str) -> None:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    loose = [
        line for line in lines if line and not line.startswith("#") and not re.fullmatch(r"[\w.\-]+==[\w.+!]+", line)
    ]
    assert not loose
