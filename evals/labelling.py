"""Which items people label next: the one batch of a comparison, opened in random order or by the judge's uncertainty.

Two ways in: `factory grade … label=` with the rows of the gate, and the lead's page with the answers that are stored.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy.engine import Engine

from evals import ratings, units, verdicts
from evals.ratings import Plan
from evals.rubric import Rubric
from factory.errors import FactoryError


def open_for_people(
    engine: Engine,
    task: str,
    rubric: Rubric,
    versions: Sequence[str],
    sides: Mapping[str, Sequence[str]],
    weights: Mapping[str, float] | None = None,
    plan: Plan | None = None,
) -> str:
    """Open the batch over `sides` (item to the outputs of `versions`) and return its id; one that is open stands.

    Items that all versions answer alike are left out. Outputs that a lead has settled, and that are none of these, are
    mixed in as gold. Errors: FactoryError where nothing differs.
    """
    if opened := units.batch_of(engine, task, rubric.hash(), versions):
        return opened[0]
    outputs = units.differing(sides)
    if not outputs:
        raise FactoryError("these versions answer everything alike: there is nothing to grade")
    settled = {o: v.levels for o, v in verdicts.verdicts(engine, rubric).items() if v.adjudicated}
    gold = {o: levels for o, levels in settled.items() if o not in {*outputs}}
    more = {"versions": [*versions], "weights": dict(weights or {}), "gold_grades": gold}
    return ratings.open_batch(engine, task, rubric, outputs, (plan or Plan()).model_copy(update=more))
