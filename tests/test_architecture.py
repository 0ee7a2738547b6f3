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


def modules() -> dict[str, Path]:
    paths = [*SOURCES, *(ROOT / "bench").rglob("*.py")]
    return {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in paths}


def imported(path: Path) -> set[str]:
    """What a file imports, by whole names: also within functions, and for types alone."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(path: Path) -> str:
    """The folder directly below a package, or the package itself; the command line lives with its verbs."""
    parts = path.relative_to(ROOT).parts
    if parts == ("factory", "cli.py"):
        return "factory/verbs"
    return "/".join(parts[:2] if len(parts) > 2 and parts[0] != "bench" else parts[:1])


def drawn() -> dict[str, set[str]]:
    """The table in docs/architecture.md: each room, and the rooms that it may import."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| `([\w/]+)` \|[^|]*\| ([^|]*) \|$", page.split("## Rooms")[1].split("## ")[0], re.M)
    every = {name for name, _ in rows}
    return {
        name: every - set(re.findall(r"`([\w/]+)`", may))
        if may.startswith("all but")
        else set(re.findall(r"`([\w/]+)`", may))
        for name, may in rows
    }


def test_the_rooms_are_those_of_the_page() -> None:
    assert drawn().keys() == {room(path) for path in modules().values() if path.read_text().strip()}
    assert len((ROOT / "docs" / "architecture.md").read_text().splitlines()) <= 100, "two screens"


def test_no_room_imports_one_that_the_page_does_not_name() -> None:
    """serve → evals → factory; only the verbs wire all three, and nobody imports those, or what is not installed."""
    known, may = modules(), drawn()
    wrong = set()
    for path in known.values():
        here = room(path)
        for name in imported(path) & known.keys() | {n for n in imported(path) if n.split(".")[0] == "tests"}:
            there = room(known[name]) if name in known else "tests"
            if there not in may.get(here, set()) | {here} and known.get(name, path).read_text().strip():
                wrong.add(f"{path.relative_to(ROOT)} ({here}) imports {name} ({there})")
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


def test_python_of_a_task_is_its_checks_and_what_makes_its_rows_alone() -> None:
    """`check.py`, which a rubric names, and `make.py`, which is run by hand; rubrics are data."""
    own = [*(ROOT / "adapters").rglob("*.py"), *(ROOT / "rubrics").rglob("*.py")]
    assert {(path.parents[1].name, path.name) for path in own} <= {("adapters", "check.py"), ("adapters", "make.py")}


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(p.relative_to(ROOT))
        for p in SOURCES
        if p.read_text().strip() and not ast.get_docstring(ast.parse(p.read_text()))
    ]
    assert not silent


def test_files_and_functions_stay_small() -> None:
    """A file fits in one's head, a function on a screen."""
    found = set()
    for path in modules().values():
        name, source = str(path.relative_to(ROOT)), path.read_text()
        found |= {name} if len(source.splitlines()) > 300 else set()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
                found |= {f"{name} {node.name}"} if node.end_lineno - node.lineno >= 60 else set()
    assert not found


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
