"""What "good" means for a task: `rubrics/<name>.yaml`, the one file behind the checks, the judge's prompt, the rater's
page, the qualification test and the gate.

A dimension's levels stand from worst to best. Whatever they are called, the worst counts as *poor*, the best as *good*
and all between as *average* when dimensions are composed: any poor makes the whole poor, all good make it good (the
rule that Apple published for its summaries, arXiv 2407.21075); a rubric may relax either with `most`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from evals.checks import named as check_named
from evals.grades import Band, Limits
from factory.errors import InputError, Problem
from factory.home import digest, project, shown
from factory.strict import Key, Layer, Strict, check, dotted, nearest, read_yaml

Grader = Literal["checks", "judge", "people"]


class Sample(Strict):
    """An output at some level and why it is there; `source` where it is not the rubric's `sample_source`."""

    output: str
    reason: str
    source: str = ""


class Level(Strict):
    name: str
    anchor: str
    example: Sample


class Dimension(Strict):
    """One question asked of an output. `graders` may decide it; `checks` are the deterministic ones that feed it."""

    name: str = Field(pattern=r"^[a-z][a-z_]*$")
    question: str
    graders: list[Grader] = Field(min_length=1)
    checks: list[str] = []
    veto: bool = Field(default=False, description="one output that people call worst here rejects a version")
    levels: list[Level] = Field(min_length=2)

    def names(self) -> list[str]:
        """The levels' names, worst to best."""
        return [level.name for level in self.levels]

    def band(self, level: str) -> Band:
        """Which of poor, average, good the level counts as."""
        if level == self.levels[0].name:
            return "poor"
        if level == self.levels[-1].name:
            return "good"
        self.names().index(level)
        return "average"

    def level(self, band: Band) -> str:
        """The level that a check's verdict stands for: a dimension of two levels has no average, so it is the worst."""
        names = self.names()
        if band == "good":
            return names[-1]
        return names[0] if band == "poor" else names[(len(names) - 1) // 2]


class GoldGrade(Strict):
    """The right level of one dimension of an item, with the reason and the words that show it."""

    level: str
    reason: str
    evidence: list[str] = []


class Item(Strict):
    """A source and an output with the right grades: to teach a judge or a rater, or to test one."""

    source: str
    output: str
    grades: dict[str, GoldGrade]


class Composition(Strict):
    """How many dimensions must be poor for the whole to be poor, and good for it to be good."""

    poor: Literal["any", "most"] = "any"
    good: Literal["all", "most"] = "all"


class Rubric(Strict):
    """A rubric, complete. `source` and `output` are what the two texts are called in front of people and judges."""

    name: str
    title: str
    source: str = "message"
    output: str = "answer"
    guidelines: str
    limits: Limits = Limits()
    composition: Composition = Composition()
    dimensions: list[Dimension] = Field(min_length=1)
    sample_source: str
    examples: list[Item] = Field(default=[], description="few-shot for judges, training with feedback for people")
    qualification: list[Item] = Field(default=[], description="the test a rater or a judge must pass")

    def dimension(self, name: str) -> Dimension:
        return next(d for d in self.dimensions if d.name == name)

    def compose(self, bands: Mapping[str, Band]) -> Band:
        """The composite of the dimensions that were measured."""
        poor, good, n = (*(sum(b == band for b in bands.values()) for band in ("poor", "good")), len(bands))
        if poor and (self.composition.poor == "any" or poor * 2 > n):
            return "poor"
        return "good" if good == n or (self.composition.good == "most" and good * 2 > n) else "average"

    def decided_by(self, grader: Grader) -> list[str]:
        """The dimensions that this kind of grader may decide."""
        return [d.name for d in self.dimensions if grader in d.graders and (grader != "checks" or d.checks)]

    def hash(self) -> str:
        """sha256 over everything in the rubric and the files of its own checks; it stands on every grade."""
        whole = self.model_dump(mode="json")
        for dimension in whole["dimensions"]:
            dimension["compact"] = None  # a field of earlier releases: what people graded then stays valid
        files = {name.partition(":")[0] for d in self.dimensions for name in d.checks if ":" in name}
        own = [(project() / file).read_text(encoding="utf-8") for file in sorted(files)]
        return digest([whole, *own] if own else whole)


def names() -> list[str]:
    return sorted(path.stem for path in (project() / "rubrics").glob("*.yaml"))


def load(name: str) -> Rubric:
    """`rubrics/<name>.yaml`. Errors: all of them at once, with file and line."""
    path = project() / "rubrics" / f"{name}.yaml"
    if not path.is_file():
        raise InputError(Problem(f"no rubric {name!r}{nearest(name, names())}"))
    return read(path)


def read(path: Path) -> Rubric:
    layer = read_yaml(path)
    layer.values.setdefault("name", path.stem)
    problems = list(_crossed(layer, shown(path)))
    try:
        found = check(Rubric, layer, shown(path))
    except InputError as error:
        problems = [*error.problems, *problems]
    if problems:
        raise InputError(*sorted(set(problems), key=lambda p: (p.file, p.line)))
    return found


def _crossed(layer: Layer, file: str) -> Iterator[Problem]:
    """What no single field can see: names to be known or distinct. Works on raw values, which may be anything."""

    def problem(key: Key, message: str) -> Problem:
        place = layer.place(key, file)
        return Problem(message, *place, dotted(key))

    def entries(value: Any) -> list[dict[str, Any]]:
        return [v if isinstance(v, dict) else {} for v in value] if isinstance(value, list) else []

    known: dict[str, list[str]] = {}
    for i, dimension in enumerate(entries(layer.values.get("dimensions"))):
        name, levels = str(dimension.get("name", i)), [str(v.get("name")) for v in entries(dimension.get("levels"))]
        if name in known:
            yield problem(("dimensions", i, "name"), f"the dimension {name!r} is given twice")
        known[name] = levels
        for j, level in enumerate(levels):
            if level in levels[:j]:
                yield problem(("dimensions", i, "levels", j, "name"), f"the level {level!r} is given twice")
        checks = dimension.get("checks") or []
        for j, check_name in enumerate(checks if isinstance(checks, list) else []):
            try:
                check_named(str(check_name))
            except InputError as error:
                yield problem(("dimensions", i, "checks", j), str(error))
        graders = dimension.get("graders") or []
        if checks and "checks" not in graders:
            yield problem(
                ("dimensions", i, "checks"), "checks feed this dimension, but `checks` is not among its graders"
            )
        if graders == ["checks"] and not checks:
            yield problem(("dimensions", i, "graders"), "only checks may decide this dimension, but none feeds it")
    for part in ("examples", "qualification"):
        for i, item in enumerate(entries(layer.values.get(part))):
            grades = item.get("grades") if isinstance(item.get("grades"), dict) else {}
            assert grades is not None
            for name, verdict in grades.items():
                key: Key = (part, i, "grades", str(name))
                level = str(verdict.get("level")) if isinstance(verdict, dict) else ""
                if name not in known:
                    yield problem(key, f"no dimension {name!r}{nearest(str(name), known)}")
                elif level not in known[name]:
                    yield problem((*key, "level"), f"no level {level!r}{nearest(level, known[name])}")
            for name in known:
                if grades and name not in grades:
                    yield problem((part, i, "grades"), f"the dimension {name!r} has no grade")
