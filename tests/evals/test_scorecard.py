"""Rubrics load strictly, and grades become shares that say how well they are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals import rubric as rubrics
from evals.checks import named
from evals.grades import Grade
from evals.scorecard import Graded, composite, grade_answers, scorecard, shares
from factory.data.rows import Row
from factory.errors import InputError


def labelled(label: str, **meta: object) -> Row:
    return Row(({"role": "user", "content": f"text about {label}"},), {"label": label, **meta})


@pytest.mark.parametrize("name", rubrics.names())
def test_every_shipped_rubric_loads_and_its_own_checks_agree_with_its_examples(name: str) -> None:
    """The example of a dimension's best level must be without a fault for the checks that feed it."""
    rubric = rubrics.load(name)
    for dimension in rubric.dimensions:
        best = dimension.levels[-1].example
        row = Row(({"role": "user", "content": best.source or rubric.sample_source},))
        found = [g for c in dimension.checks if (g := named(c)(row, best.output, rubric.limits))]
        assert all(g.level == "good" for g in found), (dimension.name, found)


def test_all_errors_of_a_rubric_come_at_once_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        """title: Bad
sample_source: x
gidelines: typo
dimensions:
  - name: a
    question: q
    graders: [judge, robots]
    checks: [lenght]
    levels:
      - {name: poor, anchor: x, example: {output: o, reason: r}}
      - {name: poor, anchor: x, example: {output: o, reason: r}}
examples:
  - source: s
    output: o
    grades: {b: {level: poor, reason: r}, a: {level: great, reason: r}}
"""
    )
    with pytest.raises(InputError) as caught:
        rubrics.read(path)
    found = {(p.line, p.key): p.message for p in caught.value.problems}
    assert "did you mean guidelines" in found[3, "gidelines"]
    assert found[0, "guidelines"] == "is missing"
    assert (7, "dimensions.0.graders.1") in found
    assert "did you mean length" in found[8, "dimensions.0.checks.0"]
    assert "given twice" in found[11, "dimensions.0.levels.1.name"]
    assert "no dimension 'b'" in found[15, "examples.0.grades.b"]
    assert "no level 'great'" in found[15, "examples.0.grades.a.level"]


def test_an_unknown_rubric_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean summary"):
        rubrics.load("sumary")


def test_the_hash_follows_the_content() -> None:
    rubric = rubrics.load("summary")
    assert rubric.hash() == rubrics.load("summary").hash()
    assert rubric.hash() != rubric.model_copy(update={"guidelines": "Other."}).hash()


def test_composition() -> None:
    rubric = rubrics.load("summary")
    assert rubric.compose({"a": "good", "b": "good"}) == "good"
    assert rubric.compose({"a": "good", "b": "average"}) == "average"
    assert rubric.compose({"a": "good", "b": "poor"}) == "poor"
    most = rubric.model_copy(update={"composition": rubrics.Composition(poor="most", good="most")})
    assert most.compose({"a": "good", "b": "good", "c": "poor"}) == "good"
    assert most.compose({"a": "poor", "b": "good", "c": "poor"}) == "poor"


def test_what_was_not_measured_is_absent() -> None:
    rubric = rubrics.load("summary")
    good, poor = Grade("good"), Grade("poor", "why")
    measured = ["composition", "groundedness"]
    assert composite(rubric, {}, measured) is None
    assert composite(rubric, {"composition": good}, measured) is None
    assert composite(rubric, {"composition": poor}, measured) is None, "else the poor ones alone would count"
    assert composite(rubric, {"composition": good, "groundedness": good}, measured) == "good"
    card = scorecard(rubric, [Graded(labelled("x"), "o", {})])
    assert (card.n, card.rows, card.good) == (0, 1, None) and "good" not in card.to_json()
    assert card.not_measured == [d.name for d in rubric.dimensions]


def test_a_classification_card() -> None:
    rows = [labelled(x, kind="k1" if x == "a" else "k2") for x in "aabbc"]
    card = grade_answers(rubrics.load("classification"), rows, ["a", "b", "b", "b", "?"])
    assert (card.n, card.good, card.average, card.poor) == (5, 0.6, 0.0, 0.4)
    assert card.labels is not None
    assert card.labels["confusion"] == {"a": {"a": 1, "b": 1}, "b": {"b": 2}, "c": {"(no label)": 1}}
    assert card.labels["accuracy"] == 0.6 and card.labels["macro_f1"] == pytest.approx(
        (2 / 3 + 4 / 5 + 0) / 3, abs=1e-4
    )
    assert card.strata["kind"]["k1"].good == 0.5
    assert [w.output for w in card.worst] == ["b", "?"]
    assert card.worst[0].faults["label"]["why"] == "the label is a"


def test_wilson_intervals_match_the_published_formula() -> None:
    """Wilson (1927): centre (p + z²/2n) / (1 + z²/n), half-width z sqrt(p(1-p)/n + z²/4n²) / (1 + z²/n)."""
    n, k, z = 40, 30, 1.959964
    p = k / n
    centre, half = (p + z * z / 2 / n), z * (p * (1 - p) / n + z * z / 4 / n / n) ** 0.5
    low, high = ((centre + s * half) / (1 + z * z / n) for s in (-1, 1))
    assert shares(["good"] * k + ["poor"] * (n - k)).intervals["good"] == pytest.approx((low, high), abs=1e-4)


def test_the_worst_level_of_several_checks_counts() -> None:
    row = Row(({"role": "user", "content": "The sync with Lena moves to Friday."},))
    card = grade_answers(rubrics.load("summary"), [row], ["The sync with Maya moves to Monday at 9:00."])
    fault = card.worst[0].faults["groundedness"]
    assert fault["level"] == "poor" and set(fault["evidence"]) == {"9:00", "Monday", "Maya"}
