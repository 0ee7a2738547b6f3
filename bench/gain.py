"""`factory bench only=gain`: what learning from rewards adds to supervised learning, on rows that nothing learned from.

From one supervised start each way goes on by itself and is held against the start, on the same eval rows, with a 95 %
interval of the difference. The ways, `part=`, `seeds=` and `task=` are told in `docs/stages.md`. Without a task one is
made that so small a base can learn from rewards: of four words, say the one that is an animal (a fruit, a tool, …);
SEEN rows start it. What was trained stays in the home's `gain/`; parts or seeds may be measured there side by side.
"""

import contextlib
import json
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

import yaml

from bench.measure import own_home
from bench.parts import INNER
from evals import rubric as rubrics
from evals.estimate import mcnemar, paired
from evals.scorecard import by_checks, composite, grade_answers
from factory import recipe as recipes
from factory.base.build import prepare
from factory.errors import FactoryError
from factory.home import home, project, shown, write_file
from factory.pipeline.data import dataset
from factory.pipeline.train import Registered, register
from factory.train import curves
from factory.train.fused import Failed
from serve.answers import of_version

TASK = "pick"
WAYS = INNER["gain"]
ROWS, SEEN, HELD = 640, 48, 400  # of the made task: questions, those that supervised learning sees, eval rows
BATCH = 8  # questions a step
PROMPT = "Answer with one word."
POINTS = 8  # of a curve, as it is printed
KINDS = {
    "animal": "dog cat horse cow sheep goat lion tiger bear wolf fox rabbit mouse duck",
    "fruit": "apple pear plum cherry grape lemon papaya peach banana mango melon fig guava apricot",
    "tool": "hammer saw drill wrench pliers screwdriver axe shovel rake chisel pincers spade ladder crowbar",
    "country": "Norway France Spain Italy Japan China Brazil Egypt Kenya India Canada Chile Peru Poland",
    "colour": "red blue green yellow purple brown black white grey pink violet crimson turquoise beige",
    "piece of clothing": "shirt coat hat scarf glove sock shoe skirt dress jacket belt sweater trousers boot",
    "part of the body": "arm leg knee elbow nose ear mouth finger toe shoulder neck chin ankle wrist",
    "instrument": "piano violin flute drum guitar trumpet harp cello oboe clarinet banjo tuba viola trombone",
    "vehicle": "car bus train truck bicycle ship tram taxi van boat motorcycle airplane ferry tractor",
    "profession": "doctor nurse teacher baker lawyer farmer plumber judge pilot butcher tailor waiter actor painter",
}
CHECK = '''from bench.exact import exact
from evals.grades import Grade


def right(row, output, limits):
    """The one word that is asked for, and nothing else."""
    return Grade("good") if exact(output, row.answer) else Grade("poor", "another word", [output[:40]])
'''
RUBRIC = """title: The one that fits
source: question
output: word
guidelines: Right is the one word that is asked for.
sample_source: "Which one is a fruit: hammer, plum, Norway, green?"
dimensions:
  - name: word
    question: Is it the right word?
    graders: [checks]
    checks: [adapters/pick/check.py:right]
    levels:
      - {name: poor, anchor: Another word., example: {output: hammer, reason: It is a tool.}}
      - {name: good, anchor: The right word., example: {output: plum, reason: It is a fruit.}}
"""
RECIPE: dict[str, Any] = {
    "kind": "general",
    "data": {"near": 0, "replay": {"share": 0}},
    "train": {"epochs": 3, "batch": 8, "lr": 1e-3, "evals": 2, "patience": 0},
    "decoding": {"max_tokens": 8},
}


def run(
    steps: int = 40,
    task: str = "",
    changes: Mapping[str, str] | None = None,
    progress: Callable[[str], None] = lambda line: None,
    *,
    seeds: int = 1,
    part: str = "",
) -> dict[str, Any]:
    """Measure; returns the `gain` part of the benchmark's JSON. `changes` are of the task's recipe."""
    name, changes, place = task or TASK, dict(changes or {}), home("gain")
    with contextlib.nullcontext() if task else made(place / "project"):
        recipe = recipes.load(name, changes)
        base, first = prepare(recipe.base), recipe.train.seed
        with own_home(base, place):
            found = {
                str(seed): _measured(name, {**changes, "train.seed": str(seed)}, steps, part, progress)
                for seed in range(first, first + seeds)
            }
    return {"task": name, "base": base.label, "steps": steps, "median": _median([*found.values()]), "seeds": found}


def _measured(
    task: str, changes: dict[str, str], steps: int, part: str, progress: Callable[[str], None]
) -> dict[str, Any]:
    asked = len(dataset(recipes.load(task, changes)).train)
    start = "sft" if "train.epochs" in changes else "{sft: {epochs: 0.25}}"
    if task == TASK:
        start = "{sft: {data: few.jsonl}}"
    share = (steps - 0.5) / -(-asked // BATCH)  # of an epoch, which is rounded up to a whole step
    again = f"{{generate: {{questions: {BATCH * steps // 2}}}}}, {{sft: {{epochs: 1, lr: 5e-4}}}}"
    stages = (
        f"{{grpo: {{batch: {BATCH}, epochs: {share:.6f}}}}}",
        f"{{rounds: {{n: 2, of: [{again}]}}}}",
        f"{{generate: {{group: 6, questions: {BATCH * steps}}}}}, {{dpo_norm: {{lr: 2.5e-4}}}}",
    )
    ways = dict(zip(WAYS, stages, strict=True))
    found: dict[str, Any] = {}
    for way in [part] if part else WAYS[:2]:
        first, last = trained(task, changes, f"[{start}, {ways[way]}]")
        found |= {"questions": asked, "supervised": _share(first), way: _share(last) | compared(first, last)}
        if way == "grpo":
            found[way] |= curve(last.trained.run)
            progress(f"curves: {shown(last.trained.run / 'curves.png')}")
        told = found[way]
        progress(
            f"seed {changes['train.seed']}, {way}: {found['supervised']['good']:.1%} to {told['good']:.1%} good, "
            f"{100 * told['gain']:+.1f} points ({100 * told['low']:.1f} to {100 * told['high']:.1f})"
        )
    return found


def _median(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of the seeds: how many answers are good, and how many more than the start's."""
    told: dict[str, Any] = {"supervised": median(one["supervised"]["good"] for one in found)}
    for way in WAYS:
        if way in found[0]:
            told[way] = {key: median(one[way][key] for one in found) for key in ("good", "gain")}
    return told


def compared(before: Registered, after: Registered) -> dict[str, Any]:
    """How much more often a version is good than another, with a two-sided 95 % interval (Tango) and McNemar's p."""
    rubric, rows = rubrics.load(after.recipe.rubric), after.rows

    def right(made: Registered) -> list[bool]:
        graded = by_checks(rubric, rows, of_version(made.version)(rows))
        return [composite(rubric, one.grades, one.grades.keys()) == "good" for one in graded]

    was, now = right(before), right(after)
    better = sum(b and not a for a, b in zip(was, now, strict=True))
    worse = sum(a and not b for a, b in zip(was, now, strict=True))
    gain = paired(better, worse, len(rows), 0.975)
    told = {"gain": gain.value, "low": gain.low, "high": gain.high, "p": float(f"{mcnemar(better, worse):.1g}")}
    return told | {"better": better, "worse": worse, "n": len(rows)}


def curve(run: Path) -> dict[str, str]:
    """The course of a run in a few points: means of as many equal parts of its steps; the gold reward at each eval."""
    records = curves.read(run)
    steps = [record for record in records if "reward" in record]
    size = max(1, -(-len(steps) // POINTS))
    parts = [steps[at : at + size] for at in range(0, len(steps), size)]
    said = {
        key: " ".join(f"{mean(record[key] for record in part):.3g}" for part in parts)
        for key in ("reward", "length", "kl", "mismatch")
    }
    golds = " ".join(f"{record['gold']:.3g}" for record in records if "gold" in record)
    return {**said, "gold": golds}


def good(made: Registered) -> float | None:
    """The share of its answers to the eval rows that are good by the checks; nothing else is graded here."""
    return grade_answers(rubrics.load(made.recipe.rubric), made.rows, of_version(made.version)(made.rows)).good


def _share(made: Registered) -> dict[str, Any]:
    return {"good": good(made), "seconds": round(made.trained.seconds, 1)}


def trained(task: str, changes: Mapping[str, str], stages: str) -> tuple[Registered, Registered]:
    """The first and the last version of a recipe with these stages."""
    made = []
    for one in register([recipes.load(task, {**changes, "stages": stages})]):
        if isinstance(one, Failed):
            raise FactoryError(f"{one.name}: {one.why}")
        made.append(one)
    return made[0], made[-1]


@contextlib.contextmanager
def made(place: Path) -> Iterator[None]:
    """Within, we are in a project that has the made task alone. Its files are written whole: others may read them."""
    before, ours, folder = Path.cwd(), project(), place / "adapters" / TASK
    rows = questions(ROWS + HELD)
    parts = {"train": rows[:ROWS], "few": rows[:SEEN], "eval": rows[ROWS:]}
    files = [ours / "adapters" / "defaults.yaml", ours / "adapters" / "general.jsonl", *(ours / "rubrics").glob("*.*")]
    content = {place / file.relative_to(ours): file.read_text() for file in files}
    content |= {place / "rubrics" / f"{TASK}.yaml": RUBRIC, folder / "check.py": CHECK, folder / "prompt.md": PROMPT}
    content |= {folder / "recipe.yaml": yaml.safe_dump(RECIPE)}
    content |= {folder / f"{key}.jsonl": "".join(json.dumps(row) + "\n" for row in part) for key, part in parts.items()}
    for path, text in content.items():
        write_file(path, text)
    os.chdir(place)
    try:
        yield
    finally:
        os.chdir(before)


def questions(count: int) -> list[dict[str, str]]:
    """So many of the made task, none twice, the same every time."""
    draw, found = random.Random(0), dict[str, str]()
    while len(found) < count:
        kinds = draw.sample([*KINDS], 4)
        words = [draw.choice(KINDS[kind].split()) for kind in kinds]
        right, kind = words[0], kinds[0]
        draw.shuffle(words)
        a = "an" if kind[0] in "aeiou" else "a"
        found[f"Which one is {a} {kind}: {', '.join(words)}?"] = right
    return [{"prompt": asked, "completion": right} for asked, right in found.items()]
