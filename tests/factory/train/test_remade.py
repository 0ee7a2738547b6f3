"""What is computed again instead of kept: the same numbers, of modules that compute just so and of no others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm
from transformers.models.phi3.configuration_phi3 import Phi3Config
from transformers.models.phi3.modeling_phi3 import Phi3MLP

from factory.train.fused.memory import kept_bytes
from factory.train.fused.remade import again, maker, remade
from factory.train.fused.replaced import replaced


class Part(torch.nn.Module):
    """A norm and an MLP, as a decoder layer has them."""

    def __init__(self, mlp: torch.nn.Module) -> None:
        super().__init__()
        self.norm, self.mlp = LlamaRMSNorm(16), mlp

    def forward(self, x: torch.Tensor) -> Any:
        return self.mlp(self.norm(x))


class Halved(LlamaMLP):
    """The parts of a gated MLP, put together in another way."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        half: torch.Tensor = self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x) * 0.5)
        return half


class Asking(LlamaMLP):
    """One that is to be given more than its input."""

    def forward(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(x) * weight


SHAPE: Any = {"hidden_size": 16, "intermediate_size": 40, "num_attention_heads": 2}
CONFIG = LlamaConfig(**SHAPE)


@pytest.mark.parametrize("act", ["silu", "gelu_pytorch_tanh"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_made_again_is_the_same_to_the_bit_and_less_is_kept(act: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    part = Part(LlamaMLP(LlamaConfig(**SHAPE, hidden_act=act))).to(dtype)
    part.requires_grad_(False)
    x = torch.randn(1, 7, 16, dtype=dtype, requires_grad=True)
    weight = torch.randn(1, 7, 16, dtype=dtype)

    def seen() -> tuple[torch.Tensor, torch.Tensor, int]:
        y = part(x)
        return y, torch.autograd.grad(y, x, weight)[0], kept_bytes(part, lambda: part(x))

    plain = seen()
    with replaced(remade(part)):
        anew = seen()
    assert torch.equal(plain[0], anew[0]) and torch.equal(plain[1], anew[1])
    assert anew[2] == x.nbytes * (1 + 2 * 40 / 16) < plain[2]


def test_a_layer_can_ask_for_its_input_again() -> None:
    part = Part(LlamaMLP(CONFIG)).requires_grad_(False)
    ((norm, forward), _) = remade(part)
    x = torch.randn(1, 7, 16, requires_grad=True)
    y = forward(x)
    assert norm is part.norm and torch.equal(again(maker(y)), y)
    assert maker(x) is None and maker(y + 1) is None and maker(y.add_(1)) is None  # changed: it would be made unchanged
    assert maker(forward(x.detach())) is None  # nothing goes back through it


@pytest.mark.parametrize("mlp", [Halved(CONFIG), Asking(CONFIG), Phi3MLP(Phi3Config(**SHAPE, pad_token_id=0))])
def test_a_module_that_computes_otherwise_is_left_as_it_is(mlp: torch.nn.Module) -> None:
    part = Part(mlp)
    assert [module for module, _ in remade(part)] == [part.norm]
    assert remade(torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 3))) == []
