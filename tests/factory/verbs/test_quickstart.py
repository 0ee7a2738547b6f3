"""The process of `factory quickstart` itself, which stays while the engine runs."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = ("torch", "transformers", "pandas", "sklearn")  # some 360 MB together, which training's own process takes


def test_nothing_heavy_is_imported_where_the_engine_is_waited_for() -> None:
    look = f"import json, sys, factory.verbs.quickstart; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
