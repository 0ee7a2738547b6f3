"""Whether answers for grading are worth an engine: it is faster than this process, and takes its time to start."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Speed:
    """What answering costs on a kind of device: seconds until an engine is up, and how many of the tokens that answers
    may have (rows · max_tokens; most end before) this process and the engine get through in a second."""

    start: float
    here: float
    engine: float


# "cpu" is a guess for SmolLM2-135M over summaries on two cores in bf16, kept near the 2,000 rows that it replaces;
# `factory bench only=answers` measures it, which was not done yet. "cuda" was not measured on a
# GPU, it is worked out for qwen3-4b: vLLM loads, compiles and captures its graphs in a minute. Here 4 GB of keys and
# values (`ANSWERS` in shares.py) hold 64 rows of 450 tokens; a step launches some thousand kernels from Python, 40 ms;
# answers end half way on average: 64 / 0.04 · 2. The engine takes twice as many rows in half the time a step.
SPEEDS = {"cpu": Speed(start=30, here=900, engine=1300), "cuda": Speed(start=60, here=3200, engine=12_800)}


def pays(kind: str, rows: int, tokens: int, labels: bool = False) -> bool:
    """Whether an engine on a "cpu" or on "cuda", its start counted, gives so many answers of at most so many tokens
    sooner than this process. For labels on a CPU it never does: there this process was the faster one."""
    speed = SPEEDS[kind]
    gain = 0.0 if labels and kind == "cpu" else 1 / speed.here - 1 / speed.engine
    return rows * tokens * gain > speed.start
