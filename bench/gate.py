"""`factory bench only=gate`: how often simulated teams let a candidate pass that is worse by just the margin.

Every experiment is one line in the home, so that a run that was stopped goes on where it was. Another state of `evals`
or of the teams starts anew.
"""

import json
import multiprocessing
import statistics
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from bench.teams import BETTER, EQUAL, PLAN, SCENARIOS, Scenario, chain, experiment, look, world
from evals import estimate
from factory.home import digest, home

Job = tuple[str, int, float]  # scenario, seed, by how much the candidate is better
Found = tuple[str, int]  # the decision, the pairs that were labelled
CHAIN = "chain of ten"


def run(
    experiments: int = 1000, processes: int = 2, progress: Callable[[str], None] = print
) -> dict[str, dict[str, Any]]:
    """`gate`: every scenario with candidates that are worse by just the margin, equal, and better by 3 points.

    Shares are 0 to 1. `power` is the share of candidates better by 3 points that are promoted, `labels` the pairs this
    took on average. Of candidates that are not worse a tenth as many are made, and as many chains. `gate_compared` has
    the share of equal ones that are promoted, and both shares by one look at all pairs; `gate_chain` how often
    production ends more than the margin below the anchor after ten candidates that are each 4 points worse.
    """
    some = max(1, experiments // 10)
    sets = {name: [(-s.margin, experiments), (0.0, some), (BETTER, some)] for name, s in SCENARIOS.items()} | {
        CHAIN: [(0.0, some)]
    }
    jobs = [
        (name, i * 1_000_000 + k, better)
        for name, wanted in sets.items()
        for i, (better, n) in enumerate(wanted)
        for k in range(n)
    ]
    done = _all(jobs, processes)
    gate, compared = {}, {}
    for name, s in SCENARIOS.items():
        worse, equal, better = ([next(done) for _ in range(n)] for _, n in sets[name])
        gate[name] = {
            "experiments": experiments,
            "false_promote": _share(worse, "PROMOTE"),
            "false_reject": _share(equal, "REJECT"),
            "power": _share(better, "PROMOTE"),
            "labels": round(statistics.fmean(labels for _, labels in better), 1),
        }
        compared[name] = {"equal": _share(equal, "PROMOTE"), "fixed": fixed(s, BETTER), "fixed_equal": fixed(s, 0.0)}
        progress(f"{name}: {gate[name]} {compared[name]}")
    ends = {"experiments": some, "below_margin": _share([*done], "BELOW")}
    progress(f"{CHAIN}: {ends}")
    return {"gate": gate, "gate_compared": compared, "gate_chain": ends}


def fixed(s: Scenario, better: float, repeats: int = 2000) -> float:
    """How often the same pairs, all labelled and looked at once, would promote by t bounds at 95 %: no gate can do more
    without a judge. What raters' errors hide is known here."""
    rng = np.random.default_rng(1)
    truth = np.stack([(w := world(rng, s, [better])).levels[~w.equal] for _ in range(repeats)])
    looked, held = look(rng, truth, s.error), []
    for true, said in (((truth == 2).all(-1), (looked == 2).all(-1)), ((truth == 0).any(-1), (looked == 0).any(-1))):
        part = (1 - EQUAL) / (said[true].mean() - said[~true].mean())
        held.append([part * b for b in estimate.bounds(said[..., 0].astype(float) - said[..., 1])[2:]])
    (low, _), (_, high) = held
    return round(float(np.mean((low > -s.plan.margin_good) & (high < s.plan.margin_poor))), 4)


def _all(jobs: Sequence[Job], processes: int) -> Iterator[Found]:
    """What came of each job, in their order; those that are kept are not done again."""
    files = [*sorted(Path(estimate.__file__).parent.glob("*.py")), Path(__file__), Path(__file__).with_name("teams.py")]
    code = digest([path.read_text(encoding="utf-8") for path in files])
    path, known = home("bench", f"gate-{code[:12]}.jsonl"), dict[Job, Found]()
    path.parent.mkdir(parents=True, exist_ok=True)
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        name, seed, better, decision, labels = json.loads(line)
        known[name, seed, better] = decision, labels
    new = [job for job in jobs if job not in known]
    with (
        path.open("a", encoding="utf-8", buffering=1) as file,
        ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool,
    ):
        coming = zip(new, pool.map(_one, new, chunksize=5), strict=True)
        for job in jobs:
            if job not in known:
                _, known[job] = next(coming)
                file.write(json.dumps([*job, *known[job]]) + "\n")
            yield known[job]


def _one(job: Job) -> Found:
    name, seed, better = job
    if name == CHAIN:
        return "BELOW" if chain(seed) < -PLAN.margin_good else "KEPT", 0
    return experiment(name, seed, [better])


def _share(found: Sequence[Found], decision: str) -> float:
    return round(sum(d == decision for d, _ in found) / len(found), 4)
