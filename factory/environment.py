"""What a process that computes is given in its environment, where the user has not said otherwise."""

from __future__ import annotations

DEFAULTS = {
    # How often an idle OpenMP thread looks for work before it sleeps. On two cores training is a sixth faster with 5000
    # than with 1000 where nothing else runs, and a third slower beside a busy process; if threads spin on, as they do
    # by default, such a process slows it tenfold.
    "GOMP_SPINCOUNT": "5000",
    "TOKENIZERS_PARALLELISM": "false",
}
