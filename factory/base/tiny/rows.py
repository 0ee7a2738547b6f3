"""Writes the train and eval rows of the three shipped tasks: `python -m factory.base.tiny.rows`.

The rows are made from the world that the tiny base knows, so that its adapters show what the factory
does within minutes on two cores. They are examples of a row's form, not the last word on a task:
bring your own rows and a larger base.
"""

from __future__ import annotations

import json
from pathlib import Path

from factory.base.tiny import identities, summaries, tickets

ADAPTERS = Path(__file__).parents[3] / "adapters"
SEED = 0

TASKS = {
    "summary": lambda: summaries.rows(SEED, train=6000, evaluation=200),
    "identity": lambda: identities.rows(SEED),
    "classification": lambda: tickets.rows(SEED, train=1050, evaluation=240),
}
"""Task → a function that makes its train rows and its eval rows."""


def files() -> dict[Path, str]:
    """Path → content of every file of rows."""
    made = {}
    for task, make in TASKS.items():
        for part, rows in zip(("train", "eval"), make(), strict=True):
            made[ADAPTERS / task / f"{part}.jsonl"] = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows)
    return made


def main() -> None:
    for path, content in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        print(f"{path.relative_to(ADAPTERS.parent)}: {content.count(chr(10))} rows")


if __name__ == "__main__":
    main()
