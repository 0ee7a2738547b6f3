"""What a training is computed to need, against what it really keeps."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from factory.base.build import Base
from factory.train.fused import layers, memory
from factory.train.fused.attention import packed_attention
from factory.train.fused.forward import supervised_log_probs
from factory.train.fused.layers import Layers
from factory.train.fused.lora import Adapter
from factory.train.fused.packing import pack
from factory.train.fused.precision import computing_in
from factory.train.memory import Shape, on_gpu
from tests.factory.train.fused_support import make_job

QWEN3_4B = {
    "num_hidden_layers": 36, "hidden_size": 2560, "intermediate_size": 9728, "num_attention_heads": 32,
    "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151_936, "tie_word_embeddings": True,
}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_token_keeps_what_its_shape_says(model: Any, base: Base, tmp_path: Any, dtype: torch.dtype) -> None:
    job = make_job(tmp_path)
    examples = job.train[:4]
    row = pack([examples], model.device)
    with computing_in(model, dtype):
        adapter = Adapter(model, job.recipe.lora, 0)
        with Layers(model).adapted([adapter], row.slices), packed_attention(model):
            measured = memory.kept_bytes(model, lambda: supervised_log_probs(model, row)) / row.tokens
    assert measured == pytest.approx(Shape.of(model.config.to_dict()).kept(dtype.itemsize), rel=0.25)


def test_layers_without_an_adapter_keep_nothing(model: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a base that is dequantised anew each time: autograd would keep every weight that it passes."""
    monkeypatch.setattr(layers, "KEPT_BYTES", 0)
    kept = []
    for targets in ("all-linear", ["q_proj"]):
        job = make_job(tmp_path, targets=targets)
        row = pack([[min(job.train, key=lambda e: len(e.input_ids))]], model.device)
        with Layers(model).adapted([Adapter(model, job.recipe.lora, 0)], row.slices), packed_attention(model):
            kept.append(memory.kept_bytes(model, lambda: supervised_log_probs(model, row)))  # noqa: B023
    assert kept[1] < kept[0]


def test_more_adapters_and_longer_rows_need_more_and_recomputing_less() -> None:
    shape = Shape.of(QWEN3_4B)
    assert shape.weights == pytest.approx(3.63e9, rel=0.01)  # Qwen3-4B without its embeddings

    def total(**how: Any) -> float:
        return on_gpu(shape, **how)["total"]

    one = total(tokens=1024, adapters=1)
    assert one < total(tokens=1024, adapters=8) < total(tokens=4096, adapters=8)
    assert total(tokens=4096, adapters=1, recompute=True) < one
