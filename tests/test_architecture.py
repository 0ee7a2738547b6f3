"""The house rules that a reader relies on, checked on the source itself."""

from __future__ import annotations

import ast
import re
import resource
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(p for layer in ("factory", "evals", "serve") for p in (ROOT / layer).rglob("*.py"))
ALLOWED = {"factory": {"factory"}, "evals": {"evals", "factory"}, "serve": {"serve", "evals", "factory"}}
BESIDE = {"bench", "tests"}  # in the checkout only: what is installed imports neither


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
        wires = relative == Path("factory/cli.py") or relative.parts[1] in ("verbs", "pipeline")
        for module in imported(path):
            layer = module.split(".")[0]
            if layer in ALLOWED and layer not in ALLOWED[relative.parts[0]] and not wires:
                wrong.append(f"{relative} imports {module}")
            if layer in BESIDE:
                wrong.append(f"{relative} imports {module}")
            if module.startswith(("factory.cli", "factory.verbs", "factory.pipeline")) and not wires:
                wrong.append(f"{relative} imports {module}")
    assert not wrong


def test_no_two_modules_import_each_other_by_any_way_round() -> None:
    """Imports within functions, and those for types alone, count as well."""
    names = {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in SOURCES}
    graph: dict[str, set[str]] = {name: set() for name in names}
    for name, path in names.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                below = [f"{node.module}.{alias.name}" for alias in node.names]
                graph[name] |= {module if module in names else node.module for module in below}
    graph = {name: found & names.keys() for name, found in graph.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_no_python_among_adapters_and_rubrics() -> None:
    assert not [*(ROOT / "adapters").rglob("*.py"), *(ROOT / "rubrics").rglob("*.py")]


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(p.relative_to(ROOT))
        for p in SOURCES
        if p.read_text().strip() and not ast.get_docstring(ast.parse(p.read_text()))
    ]
    assert not silent


@pytest.mark.parametrize(
    ("words", "code", "heavy"),
    [(["--help"], 0, ["torch", "pydantic", "rich"]), (["train", "task=sumary"], 2, ["torch", "transformers"])],
)
def test_help_and_mistakes_are_quick_and_load_nothing_heavy(words: list[str], code: int, heavy: list[str]) -> None:
    """The bar is 0.5 s; it is held against the time on the processor, which a loaded machine does not change much."""
    script = f"import sys; from factory.cli import main; print(main({words}), [m for m in {heavy} if m in sys.modules])"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stdout.endswith(f"{code} []\n"), done.stderr
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < (0.5 if words == ["--help"] else 2)


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_requirements_are_pinned(name: str) -> None:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    loose = [
        line for line in lines if line and not line.startswith("#") and not re.fullmatch(r"[\w.\-]+==[\w.+!]+", line)
    ]
    assert not loose
