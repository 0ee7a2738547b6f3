"""The judges of one grading run: tested on known truth, asked, their votes joined, and compared with people.

A judge whose kappa with the known truth of a dimension is below the floor, or unknown, is not heard on that dimension.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from pydantic import BaseModel
from sqlalchemy.engine import Engine

from evals import estimate
from evals import judge as judging
from evals.agreement import Agreement, cohen, confusion, fleiss
from evals.calibration import Calibration, calibrate
from evals.estimate import Estimate
from evals.grades import Grade, Grades
from evals.judge import Tally, Texts, Triples
from evals.judges import Member
from evals.rubric import Rubric

SCORE = {"poor": 0.0, "average": 0.5, "good": 1.0}
Watch = Callable[[str, Tally], None]


class Judging(BaseModel):
    """What the judges did, and how far they can be trusted. `refused` dimensions were below the floor: not used."""

    name: str
    trials: dict[str, Calibration] = {}
    refused: dict[str, list[str]] = {}
    abstentions: float | None = None
    why: dict[str, int] = {}
    calls: int = 0
    reused: int = 0
    cost: float | None = None
    seconds: float = 0.0
    jury_agreement: dict[str, float] = {}
    against_people: dict[str, Agreement] = {}
    confusion: dict[str, list[list[int]]] = {}
    flip_rate: float | None = None
    preferred: dict[str, int] | None = None
    length_effect: Estimate | None = None

    def add(self, tally: Tally) -> None:
        self.calls, self.reused = self.calls + tally.calls, self.reused + tally.reused
        self.seconds = round(self.seconds + tally.seconds, 2)
        if tally.cost is not None:
            self.cost = (self.cost or 0) + tally.cost
        for reason, n in tally.why.items():
            self.why[reason] = self.why.get(reason, 0) + n


def ask_jury(
    jury: Sequence[Member], rubric: Rubric, pairs: Texts, engine: Engine, floor: float, watch: Watch
) -> tuple[dict[str, dict[str, Grade]], Judging]:
    """The jury's grades of `pairs` (output id to source and output), on the dimensions where it holds the floor."""
    how = Judging(name=", ".join(m.name for m in jury))
    heard, asked, abstained = [], 0, 0
    for m in jury:
        tested = calibrate(m, rubric, engine, partial(watch, f"testing {m.name}"))
        how.trials[m.name], how.refused[m.name] = tested, tested.refused(floor)
        said, tally = judging.grade(m, rubric, pairs, engine, partial(watch, f"{m.name} grades"))
        heard.append({o: {d: g for d, g in found.items() if d not in how.refused[m.name]} for o, found in said.items()})
        asked, abstained = asked + tally.total, abstained + tally.abstained
        how.add(tally)
    how.abstentions = round(abstained / asked, 4) if asked else None
    how.jury_agreement = _jury_agreement(rubric, heard) if len(jury) > 1 else {}
    return judging.vote(rubric, heard), how


def known_errors(how: Judging) -> dict[str, list[list[int]]]:
    """The confusions of the judges with known truth, added up, on the dimensions where they are heard."""
    found: dict[str, list[list[int]]] = {}
    for name, tested in how.trials.items():
        for dimension, table in tested.confusion.items():
            if dimension not in how.refused[name]:
                before = np.array(found.get(dimension, 0))
                found[dimension] = (before + np.array(table)).tolist()
    return found


def compare_with_people(how: Judging, rubric: Rubric, people: Grades, judged: Grades, pairs: Texts) -> None:
    """Judge against people on the outputs that both graded, and whether the judge likes them long."""
    for d in rubric.dimensions:
        if both := [o for o in people if d.name in people[o] and d.name in judged.get(o, {})]:
            truth, said = ([d.names().index(who[o][d.name].level) for o in both] for who in (people, judged))
            how.against_people[d.name] = cohen(truth, said, len(d.levels), "linear")
            how.confusion[d.name] = confusion(truth, said, len(d.levels))
    common = [(o, d) for o in people for d in judged.get(o, {}) if d in people[o]]
    liked, trusted = ([SCORE[rubric.dimension(d).band(who[o][d].level)] for o, d in common] for who in (judged, people))
    how.length_effect = estimate.length_effect(liked, trusted, [len(pairs[o][1].split()) for o, _ in common])


def prefer(how: Judging, member: Member, rubric: Rubric, triples: Triples, engine: Engine, watch: Watch) -> None:
    """Which of two answers a judge prefers, asked in both orders: (source, candidate's, production's) by row."""
    compares = partial(watch, f"{member.name} compares")
    winners, how.flip_rate, tally = judging.pairwise(member, rubric, triples, engine, compares)
    names = {"a": "candidate", "b": "production", "tie": "tie"}
    how.preferred = {name: sum(w == letter for w in winners.values()) for letter, name in names.items()}
    how.add(tally)


def _jury_agreement(rubric: Rubric, heard: Sequence[Grades]) -> dict[str, float]:
    """Fleiss' kappa of the judges per dimension, over the outputs that all of them graded."""
    found = {}
    for d in rubric.dimensions:
        said = [[m[o][d.name].level for m in heard] for o in heard[0] if all(d.name in m.get(o, {}) for m in heard)]
        kappa = fleiss([[levels.count(name) for name in d.names()] for levels in said])
        if kappa is not None:
            found[d.name] = round(kappa, 4)
    return found
