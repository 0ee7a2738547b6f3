"""The pages for readers: no dead link, and every command in them is one that there is."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from factory.cli import parse, usage
from factory.recipe import Recipe
from factory.verbs.table import VERBS

ROOT = Path(__file__).parents[1]
FILES = subprocess.run(["git", "ls-files", "*.md"], capture_output=True, text=True, cwd=ROOT).stdout.split()
PAGES = [ROOT / name for name in FILES if Path(name).name == "README.md" or name.startswith("docs/")]
PAGES = [page for page in PAGES if "starters" not in page.parts]
BLOCK = re.compile(r"^```(?:sh)?\n(.*?)^```", re.M | re.S)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def commands(page: Path) -> list[str]:
    """All that starts with `factory` or `make`: lines in blocks of a shell or indented, without what is behind a #, and
    what stands in a sentence whole, without a place to fill in."""
    text = page.read_text()
    lines = [line for block in BLOCK.findall(text) for line in block.splitlines()]
    lines += [line.strip() for line in text.splitlines() if line.startswith("    factory ")]
    lines += [c for c in re.findall(r"`((?:factory|make) [^`\n]+)`", text) if not re.search(r"…|[A-Z]{2,}|<|VERB", c)]
    return [re.split(r"\s+#|\s{3,}| \| | &(?= |$)", line)[0] for line in lines if re.match(r"(factory|make) ", line)]


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for link in LINK.findall(re.sub(r"```.*?```", "", page.read_text(), flags=re.S)):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert not dead


@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_there_with_their_keys(page: Path) -> None:
    """As `factory` itself reads them: the verb, its keys, those that it needs; keys of a recipe by their first part."""
    targets = re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.M)
    for command in commands(page):
        name, *words = shlex.split(command)
        if name == "make":
            assert set(words) <= set(targets), command
            continue
        words = [word for word in words if word != "--json"]
        if "--help" in words or len(words) == 1:  # a verb by its name alone
            assert words[0] in VERBS or words[0] == "--help", command
            continue
        _, _, _, changes = parse(words)
        assert {key.split(".")[0] for key in changes} <= Recipe.model_fields.keys(), command


def test_the_reference_of_the_commands_is_what_they_say_themselves() -> None:
    spec = importlib.util.spec_from_file_location("docs_commands", ROOT / "docs" / "commands.py")
    assert spec and spec.loader
    spec.loader.exec_module(hook := importlib.util.module_from_spec(spec))
    page, other = (SimpleNamespace(file=SimpleNamespace(src_uri=name)) for name in ("commands.md", "bases.md"))
    made = hook.on_page_markdown("# Commands", page=page, config={}, files=[])
    assert all(f"## {name}\n\n```\n{usage(name)}\n```" in made for name in VERBS)
    assert hook.on_page_markdown("text", page=other, config={}, files=[]) == "text"


def test_the_site_has_every_page() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    listed = {page for entry in site["nav"] for page in entry.values()}
    assert listed == {page.name for page in (ROOT / "docs").glob("*.md")}
