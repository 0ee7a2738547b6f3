"""What a process that computes is given in its environment, where the user has not said otherwise."""

import atexit
import gc
import logging
import os

DEFAULTS = {
    # How often an idle OpenMP thread looks for work before it sleeps. On two cores training is a sixth faster with 5000
    # than with 1000 where nothing else runs, and a third slower beside a busy process; if threads spin on, as they do
    # by default, such a process slows it tenfold.
    "GOMP_SPINCOUNT": "5000",
    "TOKENIZERS_PARALLELISM": "false",
    # oneDNN keeps a kernel for each shape it met, 1,024 of them, and rows are of unlike shape: with 128 a training and
    # 176 answers hold 250 MB less and take the same time.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128",
    # Rows are of unlike length, and CUDA's memory would fall into pieces between them. Not run on a GPU yet.
    "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
}
ALLOCATOR = ("PYTORCH_CUDA_ALLOC_CONF",)  # what vLLM is not given: parts of it refuse such memory


def settle() -> None:
    """What every process of ours begins with. At its end Python would look for circles among all objects once more:
    more than a second of the processor where torch was imported, and ten on a busy machine."""
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
    os.environ.update(DEFAULTS | os.environ)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns about an optional kernel when imported
