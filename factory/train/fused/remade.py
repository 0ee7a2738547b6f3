"""What is cheap to compute is computed again in the backward pass instead of being kept: norms, and the product of a
gated MLP, act(gate) · up.

Of a Llama layer's tensors that is half: both normed inputs, silu(gate) and the product. Only their own inputs are kept,
which stand in the row anyway. A linear layer whose input was made so keeps none of its own: it asks for it (`again`).
"""

from collections.abc import Callable
from typing import Any

import torch

from factory.train.fused.replaced import replaced

Made = Callable[..., torch.Tensor]


def remaking(make: Made) -> Made:
    """`make`, a pure function of tensors, such that the backward pass makes its result anew."""

    def forward(*given: Any, **named: Any) -> torch.Tensor:
        if named or not all(isinstance(one, torch.Tensor) for one in given):
            return make(*given, **named)
        made: torch.Tensor = _Remade.apply(make, *given)  # type: ignore[no-untyped-call]
        return made

    return forward


def maker(x: torch.Tensor) -> Any:
    """What can make x `again`; None if nothing can, and x itself has to be kept."""
    node: Any = x.grad_fn
    return node if type(node) is _Remade._backward_cls else None


def again(node: Any) -> torch.Tensor:
    """What a `maker` made, once more. It is held until the maker's own backward pass."""
    if node.made is None:
        wanted = node.needs_input_grad[1:]
        given = [t.detach().requires_grad_(w) for t, w in zip(node.saved_tensors, wanted, strict=True)]
        with torch.enable_grad():
            node.made = given, node.make(*given)
    made: torch.Tensor = node.made[1]
    return made.detach()


class _Remade(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, make: Made, *given: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(*given)
        ctx.make, ctx.made = make, None
        return make(*given)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        again(ctx)
        (given, made), ctx.made = ctx.made, None
        wanted = [t for t in given if t.requires_grad]
        grads = iter(torch.autograd.grad(made, wanted, grad))
        return None, *(next(grads) if t.requires_grad else None for t in given)


def remade(model: torch.nn.Module) -> list[tuple[Any, Made]]:
    """The modules of a model that are known to be of that kind, each with the forward pass that makes anew."""
    norms = [(module, remaking(module.forward)) for module in model.modules() if _is_norm(module)]
    return norms + [(module, _gated(module)) for module in model.modules() if _is_gated(module)]


def _is_norm(module: torch.nn.Module) -> bool:
    """A norm by its name, with scales and shifts alone: neither layers nor statistics of its own."""
    leaf = not any(True for _ in (*module.children(), *module.buffers()))
    return leaf and type(module).__name__.endswith("Norm") and all(p.dim() == 1 for p in module.parameters())


def _gated(module: Any) -> Made:
    product = remaking(lambda gate, up: module.act_fn(gate) * up)
    return lambda x: module.down_proj(product(module.gate_proj(x), module.up_proj(x)))


def _is_gated(module: Any) -> bool:
    """Whether a module computes just what `_gated` does, tried with simple functions in the place of its layers."""
    layers = [getattr(module, name, None) for name in ("gate_proj", "up_proj", "down_proj")]
    if not (all(isinstance(layer, torch.nn.Linear) for layer in layers) and hasattr(module, "act_fn")):
        return False
    x = torch.linspace(-2, 2, 9)[None, None]
    try:
        with torch.no_grad(), replaced(zip(layers, (torch.sin, torch.cos, torch.square), strict=True)):
            return torch.equal(module(x), _gated(module)(x))
    except (TypeError, ValueError, LookupError, AttributeError, RuntimeError):  # it is called or made otherwise
        return False
