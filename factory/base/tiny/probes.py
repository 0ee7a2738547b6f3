"""What the base is measured on while it is made, and the floors below which it is not written.

Every probe uses messages with names held out from pre-training only, so a name that comes out right
was copied. An answer counts when the most likely token is the right one at each of its places, which
is the same as: greedy decoding writes exactly this answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import torch

from factory.base.tiny import drills, reading
from factory.base.tiny.corpus import KINDS, Row, chat
from factory.base.tiny.messages import write
from factory.base.tiny.reading import Turn
from factory.base.tiny.world import Pool, World

Encode = Callable[[Row], tuple[list[int], list[int]]]

FLOORS = {"details": 0.4, "extract": 0.65, "fill": 0.45}
"""Least share of exactly right answers for a base to be written: what adapters build on."""

PROBES: dict[str, tuple[Callable[..., Turn], set[str]]] = {
    "question": (reading.question, {"question"}),
    "fill": (reading.fill_in, {"fill"}),
    "extract": (reading.extract, {"extract"}),
    "details": (reading.details, {"details"}),
    "detail": (reading.detail, {"detail"}),
    "claim": (reading.claim, {"claim"}),
    "claim+": (reading.claim, {"claim+"}),
    "each": (reading.each, {"each"}),
    "odd": (reading.odd_one, {"odd"}),
    "missing": (reading.missing, {"missing"}),
    "form": (reading.form, {"form"}),
    "copy": (drills.repeat, {"repeat"}),
    "compare": (drills.compare, {"compare"}),
    "which": (drills.which_text, {"which"}),
    "rewrite": (drills.rewrite, {"change"}),
    "case": (drills.case, {"case"}),
}
"""Probe → (what makes a turn, names of turns it accepts)."""


def probe_rows(name: str, n: int, seed: int = 1_000_003) -> list[Row]:
    """`n` conversations of one question each; the same for the same seed."""
    w = World(random.Random(f"{seed} {name}"), Pool.HELD)
    make, accepted = PROBES[name]
    found: list[Row] = []
    while len(found) < n:
        if make.__module__ == reading.__name__:
            m = write(w.rng.choice(KINDS), w)
            got, asked, answer = make(m, w)
            asked = f"{m.text}\n\n{asked}"
        else:
            got, asked, answer = make(w, KINDS)
        if got in accepted:
            found.append(chat(asked, answer))
    return found


@torch.no_grad()
def accuracy(model: torch.nn.Module, encode: Encode, rows: list[Row], batch: int = 25) -> float:
    """Share of rows whose answer greedy decoding writes exactly.

    `encode(row)` gives token ids and a 0/1 mark on those the assistant writes.
    """
    right = 0
    for at in range(0, len(rows), batch):
        encoded = [encode(row) for row in rows[at : at + batch]]
        width = max(len(ids) for ids, _ in encoded)
        ids = torch.tensor([i + [0] * (width - len(i)) for i, _ in encoded])
        marks = torch.tensor([list(m) + [0] * (width - len(m)) for _, m in encoded]).bool()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            guess = model(input_ids=ids).logits[:, :-1].argmax(-1)
        wrong = (guess != ids[:, 1:]) & marks[:, 1:]
        right += int((~wrong.any(1)).sum())
    return right / len(rows)


def measure(
    model: torch.nn.Module, encode: Encode, n: int = 100, names: tuple[str, ...] = tuple(PROBES)
) -> dict[str, float]:
    """Accuracy per probe over `n` rows each."""
    was = model.training
    model.eval()
    figures = {name: accuracy(model, encode, probe_rows(name, n)) for name in names}
    model.train(was)
    return figures


def below_floors(figures: dict[str, float]) -> dict[str, tuple[float, float]]:
    """Probes that miss their floor → (measured, floor)."""
    return {name: (figures[name], floor) for name, floor in FLOORS.items() if figures[name] < floor}
