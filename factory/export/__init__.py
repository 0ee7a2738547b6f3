"""Versions in other forms, for those who do not serve LoRAs: merged into the base, as GGUF, or quantised with GPTQ."""
