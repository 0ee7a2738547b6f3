"""Many adapters trained at once over one 4-bit base, each as if alone. METHODS in the files:

schedule  which rows at which step, which learning rate     rows       one padding-free row of many tasks
lora      the base once, each adapter on its part           attention  each sequence by itself
head      the loss on learned tokens only                   memory     how long a row may be
run       one adapter's state, checkpoints, stopping        engine     the loop
sweep     variants of one task, the losers stopped early    board      progress in the terminal
"""

from factory.train.fused.engine import ALL, train_many
from factory.train.fused.run import Failed, Job

__all__ = ["ALL", "Failed", "Job", "train_many"]
