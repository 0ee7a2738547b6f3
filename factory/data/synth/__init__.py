"""Making rows with a teacher behind an OpenAI-compatible endpoint: `run` is the whole of it."""

from factory.data.synth.run import GENERATORS, run

__all__ = ["GENERATORS", "run"]
