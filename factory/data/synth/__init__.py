"""Making rows with a teacher behind an OpenAI-compatible endpoint: `run.run` is the whole of it."""
