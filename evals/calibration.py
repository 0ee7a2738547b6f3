"""A judge is tested before its grades are used: on outputs with known faults, one kappa per dimension.

The known truth is the rows of `rubrics/<rubric>.known.jsonl` (for summaries: faults planted into good ones) and the
rubric's qualification items. The replies are kept like all others: a judge is tested once for a rubric.

    {"dimension": "groundedness", "level": "poor", "source": "... Thursday ...", "output": "Moved to Friday."}
"""

import json
from dataclasses import dataclass

from pydantic import BaseModel
from sqlalchemy.engine import Engine

from evals import judge as judging
from evals.agreement import Agreement, cohen, confusion
from evals.judges import Member
from evals.prompt import ask
from evals.rubric import Rubric
from factory.errors import InputError, Problem
from factory.home import project, shown

MOST = 120  # known items asked per dimension; half of it of a judge that costs money
FEWEST = 20  # known items of a dimension without which a judge is not heard on it
FEWEST_OF_A_LEVEL = 5  # and of a level; two levels at least must have so many


@dataclass(frozen=True)
class Known:
    """A source and an output of which the right level on one dimension is known."""

    dimension: str
    source: str
    output: str
    level: str


class Calibration(BaseModel):
    """How a judge did, per dimension: kappa with the truth and the confusion (truth in rows, worst level first).

    `floor` of a judge is held against the lower bound of kappa's 95 % interval.
    """

    kappa: dict[str, Agreement]
    confusion: dict[str, list[list[int]]]
    abstained: int
    asked: int
    cost: float | None = None

    def refused(self, floor: float) -> list[str]:
        """The dimensions on which the judge is not above the floor for sure, or too little is known."""
        return [
            name
            for name, kappa in self.kappa.items()
            if kappa.n < FEWEST
            or sum(sum(row) >= FEWEST_OF_A_LEVEL for row in self.confusion[name]) < 2
            or kappa.low is None
            or kappa.low < floor
        ]


def known(rubric: Rubric) -> list[Known]:
    """All items of known truth for a rubric. Errors: the first line that is none, with its file."""
    found = [
        Known(name, item.source, item.output, gold.level)
        for item in rubric.qualification
        for name, gold in item.grades.items()
    ]
    path = project() / "rubrics" / f"{rubric.name}.known.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            item = Known(row["dimension"], row["source"], row["output"], row["level"])
            rubric.dimension(item.dimension).names().index(item.level)
        except (ValueError, KeyError, TypeError, StopIteration) as error:
            told = f"no item of known truth (dimension, level, source, output): {error!r}"
            raise InputError(Problem(told, shown(path), number)) from None
        found.append(item)
    return found


def calibrate(
    member: Member, rubric: Rubric, engine: Engine, progress: judging.Progress = lambda tally: None
) -> Calibration:
    """Ask the judge about items of known truth. An abstention counts against it: as the level farthest from the truth.

    Else a judge could pass on the two items that it is sure of.
    """
    most = MOST // 2 if member.judge.price else MOST
    every = known(rubric)
    judged = [d.name for d in rubric.dimensions if "judge" in d.graders]
    items = [k for name in judged for k in [one for one in every if one.dimension == name][-most:]]
    asked_of = [ask(rubric, rubric.dimension(k.dimension), k.source, k.output) for k in items]
    questions = [judging.Question((str(i),), asked) for i, asked in enumerate(asked_of)]
    replies, tally = judging.ask_all(member, rubric, questions, engine, progress)
    kappa, tables = {}, {}
    for d in rubric.dimensions:
        asked = [(i, k) for i, k in enumerate(items) if k.dimension == d.name]
        if not asked:
            continue
        truth = [d.names().index(k.level) for _, k in asked]
        top = len(d.levels) - 1
        said = [
            d.names().index(replies[(str(i),)].level) if (str(i),) in replies else (0 if t > top / 2 else top)
            for (i, _), t in zip(asked, truth, strict=True)
        ]
        kappa[d.name] = cohen(truth, said, len(d.levels))
        tables[d.name] = confusion(truth, said, len(d.levels))
    return Calibration(kappa=kappa, confusion=tables, abstained=tally.abstained, asked=tally.total, cost=tally.cost)
