"""A base and its rows over several processes: who holds what. That they train as one does is in test_train_verb."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from bitsandbytes.nn import Linear4bit

from factory.base.build import Base, load_model
from factory.train.fused.group import Group, divide
from tests.factory.train.fused_support import examples


@pytest.mark.parametrize("size", [2, 3])
def test_each_process_holds_its_part_of_every_layer(model: Any, base: Base, size: int) -> None:
    parts = [divide(load_model(base), Group(rank, size), torch.device("cpu")) for rank in range(size)]
    layers = {name: module for name, module in model.named_modules() if isinstance(module, Linear4bit)}
    for name, layer in layers.items():
        codes: Any = layer.weight.data
        held = [part.get_submodule(name).weight.data for part in parts]
        assert {part.numel() for part in held} == {-(-codes.numel() // size)}
        assert torch.equal(torch.cat(held)[: codes.numel()], codes.flatten())
    assert len(layers) == 14


def test_every_sequence_of_a_row_is_carried_once_and_nobody_carries_much_more_than_others() -> None:
    rows = examples(41, 0, 5, 60)
    parts = [Group(rank, 3).part(rows) for rank in range(3)]
    assert sorted(id(row) for part in parts for row in part) == sorted(map(id, rows))
    tokens = [sum(len(row.input_ids) for row in part) for part in parts]
    assert max(tokens) - min(tokens) <= max(len(row.input_ids) for row in rows)
    assert Group().part(rows) == rows and Group(1, 2).part(rows[:1]) == []
