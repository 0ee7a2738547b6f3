"""How much memory a training needs, computed from a base's shape alone: for a table, and before anything is loaded.

What a token keeps for the backward pass is counted from what a decoder layer saves (`train/fused/layers.py`,
`remade.py` and `attention.py`): the inputs of its norms, queries, keys, values and what attention makes of them, and
both sides of the gated MLP.
While training the engine measures the same on the loaded model instead (`train/fused/memory.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

NF4 = (
    0.5 + 1 / 64 + 4 / (64 * 256)
)  # bytes of a weight: a code, an 8-bit scale for 64 of them, a scale for 256 of those
ADAPTER = 4 * 4 + 2  # bytes of a LoRA weight: itself, gradient and two moments in fp32, and the copy computed with
CONTEXT = 0.6e9  # bytes that CUDA, its kernels and the allocator take by themselves


@dataclass(frozen=True)
class Shape:
    """What of a decoder's configuration decides its memory."""

    layers: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """From a config.json, by transformers' usual keys."""
        heads = config["num_attention_heads"]
        return cls(
            config["num_hidden_layers"],
            config["hidden_size"],
            config["intermediate_size"],
            heads,
            config.get("num_key_value_heads") or heads,
            config.get("head_dim") or config["hidden_size"] // heads,
            config["vocab_size"],
            bool(config.get("tie_word_embeddings")),
        )

    @property
    def linears(self) -> list[tuple[int, int]]:
        """(in, out) of the linear layers of one decoder layer."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        attention = [(self.hidden, q), (self.hidden, kv), (self.hidden, kv), (q, self.hidden)]
        return [*attention, (self.hidden, self.inner), (self.hidden, self.inner), (self.inner, self.hidden)]

    @property
    def weights(self) -> int:
        """Weights in the linear layers of all decoder layers."""
        return self.layers * sum(i * o for i, o in self.linears)

    def lora(self, rank: int) -> int:
        """Weights of an adapter on all linear layers."""
        return self.layers * rank * sum(i + o for i, o in self.linears)

    def keys_and_values(self, itemsize: int) -> int:
        """Bytes that a token's keys and values take, all layers together."""
        return 2 * self.layers * self.kv_heads * self.head_dim * itemsize

    def kept(self, itemsize: int) -> int:
        """Bytes that a token keeps for the backward pass, all layers together."""
        attention = 2 * (self.heads + self.kv_heads) * self.head_dim
        return self.layers * (2 * self.hidden + attention + 2 * self.inner) * itemsize


def recomputed(kept: float, layers: int, hidden: int, itemsize: int) -> float:
    """Bytes that a token keeps where activations are recomputed, from the `kept` without: one hidden state a layer and,
    for a moment, one layer's whole share with what is made anew from it, about as much again."""
    return 2 * kept / layers + layers * hidden * itemsize


def on_gpu(shape: Shape, *, tokens: int, adapters: int, rank: int = 16, recompute: bool = False) -> dict[str, float]:
    """Bytes of training `adapters` together on a GPU in bf16, in rows of `tokens`: by part, and their `total`."""
    kept = shape.kept(2)
    activations = recomputed(kept, shape.layers, shape.hidden, 2) if recompute else kept
    embeddings = shape.vocabulary * shape.hidden * 2 * (1 if shape.tied else 2)
    parts = {
        "base": shape.weights * NF4 + embeddings,
        "adapters": float(adapters * shape.lora(rank) * ADAPTER),
        "activations": activations * tokens * 1.15,  # gradients of the layer at work
        "working": 2 * max(i * o for i, o in shape.linears) * 2 + 2**26 * 4 * 3 + CONTEXT,
    }
    return parts | {"total": sum(parts.values())}
