"""Many adapters trained at once over one 4-bit base, each as if alone:

engine     who joins, steps, is done                    run        one adapter's state, checkpoints, stopping
passes     forward and backward, as memory allows       group      one base and its rows over several devices
packing    one padding-free row of many tasks, a task's system prompt in it once
attention  each sequence by itself, behind its prompt   layers     the base once, each adapter on its segment
lora       one adapter's weights                        head       log-probabilities of supervised tokens only
saving     checkpoints, beside the training             dropout    what an adapter's inputs leave out
forward    a row to its log-probs                       precision  the base in bf16 or fp32
memory     how long a row may be                        progress   lines in the terminal
sweep      variants of one task, some stopped early        below      layers under all adapters, read once
remade     what is computed again instead of kept       replaced   modules that compute otherwise for a while
"""

from factory.train.fused.engine import ALL, train_many
from factory.train.fused.run import Failed, Job

__all__ = ["ALL", "Failed", "Job", "train_many"]
