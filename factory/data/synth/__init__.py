"""Making rows with a teacher behind an OpenAI-compatible endpoint: `run` is the whole of it."""

from factory.data.synth.run import GENERATORS, lines, run

__all__ = ["GENERATORS", "lines", "run"]
