"""`factory train … devices=N` where all devices train together, each with a part of the base and of every row.

So it is for one task, and for a base that is too large for one GPU. `accelerate launch` would set RANK and start the
same processes; here they are started as those of `fan` are, and end with the command. It was run with two processes on
a CPU, on no GPU.
"""

import json
import pickle
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

from factory import probe
from factory.base.build import Base, load_model, load_tokenizer
from factory.base.loaded import Loaded, forget
from factory.errors import FactoryError
from factory.terminal import progress_bar
from factory.train.fused import Failed, Job, progress, train_many
from factory.train.trained import Trained
from factory.verbs.fan import PART, Device, Lost, Worker, decoded, encoded


def over(on: Sequence[Device]) -> Callable[[Loaded, Sequence[Job]], list[Trained | Failed]]:
    """A `fit` (`factory.pipeline.train`) that trains jobs of one base over all these devices, and in no other place.

    FactoryError if one of the processes is lost: the others cannot go on without it, and the same command goes on from
    the last checkpoints.
    """
    return lambda base, jobs: _train(base.base, jobs, on)


def _train(base: Base, jobs: Sequence[Job], on: Sequence[Device]) -> list[Trained | Failed]:
    forget()  # the base that this process may hold
    worker = Worker(PART.format("divided"))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(len(on)) as pool:
        Path(folder, "work").write_bytes(pickle.dumps((base, jobs)))
        spec = {"size": len(on), "folder": folder}
        parts = [pool.submit(worker, [json.dumps(spec | {"rank": n})], device) for n, device in enumerate(on)]
        try:
            for part in as_completed(parts):
                if isinstance(lost := part.result(), Lost):
                    tasks = ", ".join(job.name for job in jobs)
                    raise FactoryError(f"{tasks}: {lost.why}; the same command goes on where it stopped")
        finally:
            worker.stop()
        found: Any = parts[0].result()
    return [decoded(job.name, found[job.name]) for job in jobs]


def child(asked: dict[str, Any]) -> dict[str, Any]:
    """One of the processes: what came of each task. The first has the runs."""
    import torch

    from factory.train.fused.group import divide, join

    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    folder = Path(asked["folder"])
    group = join(asked["rank"], asked["size"], folder / "meeting", device)
    base, jobs = pickle.loads((folder / "work").read_bytes())
    if group.rank:
        jobs = [_follower(job, folder / str(group.rank) / job.run.name) for job in jobs]
    group.most(0)  # until all have copied the runs as they are, nobody writes
    model = divide(load_model(base, device="cpu"), group, device)
    with progress_bar() as bar:
        shown: dict[str, Any] = {} if group.rank else {"progress": progress.lines(bar)}
        results = train_many(jobs, base, model, group=group, **shown)
    tokenizer = load_tokenizer(base)
    made = {job.name: _probed(result, job, model, tokenizer) for job, result in zip(jobs, results, strict=True)}
    return {name: encoded(result) for name, result in made.items()}


def _follower(job: Job, run: Path) -> Job:
    """The same job with its run in a folder of this process's own, so that one process alone writes the real one."""
    if job.run.is_dir():
        shutil.copytree(job.run, run)
    return replace(job, run=run, follows=True)


def _probed(result: Trained | Failed, job: Job, model: Any, tokenizer: Any) -> Trained | Failed:
    """The result with its probe, for which all processes go through their parts of the base together."""
    from factory.train.fused.layers import Layers
    from factory.train.fused.lora import Adapter

    if isinstance(result, Failed):
        return result
    adapter = Adapter(model, job.recipe.lora, 0)
    adapter.load(result.adapter)
    with Layers(model).answering(adapter):
        return replace(result, probe=probe.of_model(model, tokenizer, job.recipe.system_prompt()))
