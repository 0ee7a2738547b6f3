"""Where a run's records go beside metrics.jsonl: one table of experiment trackers, one run in it for each adapter.

A tracker never decides over a training: what it needs is asked before, and one that breaks on the way is left out from
then on. A run that goes on in another process goes on under the same name there.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from factory.errors import FactoryError, first_line
from factory.home import digest

PROJECT = "adapter-factory"

Facts = dict[str, Any]
Log = Callable[[dict[str, float], int], Any]  # the figures of a step, and which


class Tracking(NamedTuple):
    log: Log
    end: Callable[[], Any]


class Tracker(NamedTuple):
    """`package` is what it imports and pip calls it; `start(name, folder, facts)` begins or continues a run."""

    package: str
    start: Callable[[str, Path, Facts], Tracking]


def _wandb(name: str, folder: Path, facts: Facts) -> Tracking:
    import wandb

    run = wandb.init(
        project=PROJECT, name=name, id=folder.name, dir=str(folder), config=facts, resume="allow", reinit="create_new"
    )
    return Tracking(lambda values, step: run.log(values, step=step), run.finish)


def _trackio(name: str, folder: Path, facts: Facts) -> Tracking:
    import trackio

    run = trackio.init(project=PROJECT, name=folder.name, config=facts, resume="allow", embed=False)
    return Tracking(lambda values, step: run.log(values, step=step), run.finish)


def _tensorboard(name: str, folder: Path, facts: Facts) -> Tracking:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder / "tensorboard"))

    def log(values: dict[str, float], step: int) -> None:
        for key, value in values.items():
            writer.add_scalar(key, value, step)

    return Tracking(log, writer.close)


def _mlflow(name: str, folder: Path, facts: Facts) -> Tracking:
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    known = client.get_experiment_by_name(PROJECT)
    experiment = known.experiment_id if known else client.create_experiment(PROJECT)
    earlier = client.search_runs([experiment], f"tags.folder = '{folder.name}'", max_results=1)
    run = (earlier or [client.create_run(experiment, run_name=name, tags={"folder": folder.name})])[0].info.run_id
    for key, value in ({} if earlier else facts).items():
        client.log_param(run, key, value)

    def log(values: dict[str, float], step: int) -> None:
        for key, value in values.items():
            client.log_metric(run, key, value, step=step)

    return Tracking(log, lambda: client.set_terminated(run))


def _comet(name: str, folder: Path, facts: Facts) -> Tracking:
    import comet_ml

    experiment = comet_ml.start(
        project_name=PROJECT, experiment_key=digest(str(folder.resolve()))[:40], mode="get_or_create"
    )
    experiment.set_name(name)
    experiment.log_parameters(facts)
    return Tracking(lambda values, step: experiment.log_metrics(values, step=step), experiment.end)


TRACKERS = {
    "wandb": Tracker("wandb", _wandb),
    "trackio": Tracker("trackio", _trackio),
    "tensorboard": Tracker("tensorboard", _tensorboard),
    "mlflow": Tracker("mlflow", _mlflow),
    "comet": Tracker("comet_ml", _comet),
}


def missing(report_to: str) -> str:
    """The package that `train.report_to` needs and that is not here; empty if none is."""
    package = TRACKERS[report_to].package if report_to != "none" else ""
    return package if package and importlib.util.find_spec(package) is None else ""


class Reporter:
    """One adapter's records on their way to the tracker that its recipe names, or nowhere. `said` is why it stopped.

    Errors: FactoryError if the tracker cannot be started (no login, no server).
    """

    def __init__(self, report_to: str, name: str, folder: Path, facts: Facts) -> None:
        self.said = ""
        self._tracking: Tracking | None = None
        if report_to != "none":
            try:
                self._tracking = TRACKERS[report_to].start(name, folder, facts)
            except Exception as error:  # each has exceptions of its own
                raise FactoryError(
                    f"{name}: train.report_to={report_to} cannot be started: {first_line(error)}; see to it, or train "
                    "without it (train.report_to=none)"
                ) from error

    def log(self, record: dict[str, Any]) -> None:
        """Hand on what is measured in a record of metrics.jsonl."""
        values = {key: value for key, value in record.items() if key != "step"}
        self._guarded(lambda tracking: tracking.log(values, record["step"]))

    def end(self) -> None:
        self._guarded(lambda tracking: tracking.end())
        self._tracking = None

    def _guarded(self, use: Callable[[Tracking], Any]) -> None:
        try:
            if self._tracking is not None:
                use(self._tracking)
        except Exception as error:  # a server that is away for a minute must not cost a night's training
            self.said, self._tracking = f"the tracker stopped: {first_line(error)}", None
