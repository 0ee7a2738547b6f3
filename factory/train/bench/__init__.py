"""Training measured against what people use today, in whole processes, interleaved, with repeats.

compare     the comparison and its figures            rows     the tasks that are trained
plain_trl   the script a user would write             ours     the factory's engine in a process of its own
growth      cost by adapters, rank and length         gpu      the same on random models of real shapes
peers       LLaMA-Factory in a throw-away environment
"""

from factory.train.bench.compare import plot, run, table

__all__ = ["plot", "run", "table"]
