"""Checkpoints written beside the training, one at a time, and so seldom that they cost little of its time."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from factory.train.fused.run import Run

SECONDS = 30.0  # what a kill may cost of any run at least
COST = 0.05  # of the time goes into checkpoints at most: heavy ones come less often


class Saver:
    """Each run is saved every `seconds`, or as often as COST allows; 0 means whenever nothing else is being written.

    A copy is taken between two optimizer steps, run by run, so that one copy at most is in memory; a thread writes it.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.cost = seconds, 0.0
        self._saved: dict[str, float] = {}
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._writing: tuple[Run, Future[None]] | None = None

    def offer(self, runs: Sequence[Run]) -> None:
        """Begin to save the run that has waited longest, if that is due and nothing is being written. OSError of the
        write before, if it failed."""
        if not runs or (self._writing and not self._writing[1].done()):
            return
        self.settle()
        began = time.monotonic()
        run = min(runs, key=lambda run: self._saved.setdefault(run.job.name, began))
        if began - self._saved[run.job.name] < self.interval(len(runs)):
            return
        self._saved[run.job.name] = began
        write = run.snapshot()
        self._writing = run, self._thread.submit(self._write, write, time.monotonic() - began)

    def interval(self, runs: int) -> float:
        """Seconds between two checkpoints of one of so many runs, from what the last one took."""
        return max(self.seconds, runs * self.cost / COST) if self.seconds else 0.0

    def settle(self, run: Run | None = None) -> None:
        """Wait until what is being written (of this run) is on the disk."""
        if self._writing and run in (None, self._writing[0]):
            writing, self._writing = self._writing, None
            writing[1].result()

    def close(self) -> None:
        self._thread.shutdown()

    def _write(self, write: Callable[[], None], copied: float) -> None:
        began = time.monotonic()
        write()
        self.cost = copied + time.monotonic() - began
