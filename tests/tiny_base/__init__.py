"""The tests' own base: a Qwen2 of three million parameters that lies here, so that tests are quick and offline."""

from __future__ import annotations

from pathlib import Path

TINY = str(Path(__file__).resolve().parent / "tiny")
"""What `base=` and `prepare` take. Its label, the name under which a server knows it, is `tiny`."""
