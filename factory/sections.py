"""What a recipe says of a version once it is trained: when it may go to production, and what its card tells."""

from typing import Literal

from pydantic import Field

from factory.strict import Strict


class Gate(Strict):
    """When a version may go to production: a plan, hashed and logged with every gate run. Shares are 0 to 1.

    `evidence`: with `checks` the rubric's deterministic checks on every row decide; with `people` people's grades do,
    made tighter by the judge's. The candidate must be worse than production by less than the margins, and keep the
    floors by itself. `share` is the part of the eval rows that the gate uses, chosen by their hash; the rest is free
    for tuning prompts and judges. In no stratum (a key of the rows) may it be worse beyond the margin for sure.
    """

    evidence: Literal["checks", "people"] = "checks"
    share: float = Field(1.0, gt=0, le=1)
    margin_good: float = Field(0.10, gt=0, lt=1)
    margin_poor: float = Field(0.05, gt=0, lt=1)
    min_good: float = Field(0.5, ge=0, le=1)
    max_poor: float = Field(0.25, ge=0, le=1)
    strata: list[str] = []
    confidence: float = Field(0.95, gt=0.5, lt=1)
    min_labels: int = Field(40, ge=40, description="below 40 the bounds cannot be trusted")
    judge: str = Field("", description="a name in the table of judges; empty: no judge")
    min_judge: float = Field(0.6, ge=0, le=1, description="the judge's kappa with known truth, per dimension")
    max_abstentions: float = Field(0.02, ge=0, le=1)
    min_alpha: float = Field(0.4, ge=-1, le=1, description="agreement of people on the composite")
    min_overlap: int = Field(10, ge=0, description="outputs graded by two people before agreement is known")
    max_missing: float = Field(0.05, ge=0, le=0.5, description="pairs that people could not judge; counted at worst")
    labels: int = Field(0, ge=0, description="pairs at most that people label; 0: all that differ")


class Card(Strict):
    """What the card on the Hub says beyond the numbers. `datasets` are ids on the Hub; no licence means the base's."""

    license: str = Field("", description="SPDX name in lower case, as the Hub spells it")
    language: list[str] = ["en"]
    datasets: list[str] = []
    data_license: str = ""
    not_for: str = Field("", description="what it must not be used for, beyond what holds for every adapter")
