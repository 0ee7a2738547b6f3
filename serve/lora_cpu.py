"""LoRA in vLLM on a CPU, as two products over the adapters that a batch holds.

vLLM's own code copies an adapter's weights once for every token, which costs more than the base's whole layer. And if
the batch holds requests for the bare base besides, whose tokens carry the index -1, it takes the weights at [-1] for
them, those of the last slot: the base answered with an adapter in it as soon as all slots were full (vllm#48421). Its
kernels for GPUs do neither.

Here the weights of all adapters of the batch, and of those between them, stand side by side: x @ [A1 A2 …], what
belongs to another adapter than the token's is set to 0, @ [B1 B2 …].

Embeddings and head get nothing: no adapter has weights for them (`registry/preflight.py` lets none in), and where the
family allows for some (Llama, Qwen3, Mistral, …) vLLM adds zeros, for which it copies a matrix as large as the head for
every answer. Worse, it takes the adapters of the running requests for the log-probabilities of a prompt, and ends with
an error of shapes as soon as there are two: so every load of a version, which is probed, ended the engine of a server
that was busy.
"""

from typing import Any


def register() -> None:
    """Give vLLM this instead of its own, in this process."""
    import torch
    from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

    wrapper: Any = PunicaWrapperCPU
    measure = wrapper.update_metadata

    def update_metadata(self: Any, *arguments: Any, **named: Any) -> None:
        """Before each forward pass: from which slot to which the batch uses them, so that nothing of them is copied to
        be read, and (tokens, slots, 1) whether they are another's."""
        measure(self, *arguments, **named)
        slots = self.token_lora_indices
        used = slots[slots >= 0]
        self.used = range(int(used.min()), int(used.max()) + 1) if len(used) else range(0)
        self.others = (slots[:, None] != torch.tensor(self.used, device=slots.device))[:, :, None]
        self.mixed = bool(self.others.any())

    def add_lora_linear(
        self: Any, y: Any, x: Any, a_stacked: Any, b_stacked: Any, scale: float, output_slices: Any, **_: Any
    ) -> None:
        """Add to `y` (tokens, out) what the adapters give for `x` (tokens, in). Weights are (slots, 1, rank, in) and
        (slots, 1, out, rank), one pair for each of the layers that vLLM has merged into this one."""
        at, used = 0, slice(self.used.start, self.used.stop)
        for a, b, width in zip(a_stacked, b_stacked, output_slices, strict=True) if self.used else ():
            inner = (x @ a[used].flatten(0, 2).T).unflatten(1, (len(self.used), -1)) * scale
            if self.mixed:
                inner.masked_fill_(self.others, 0)
            y[:, at : at + width] += inner.flatten(1) @ b[used, 0].transpose(1, 2).flatten(0, 1)
            at += width

    def add_nothing(self: Any, *_: Any, **__: Any) -> None:
        """To embeddings and logits."""

    wrapper.update_metadata, wrapper.add_lora_linear = update_metadata, add_lora_linear
    wrapper.add_lora_embedding = wrapper.add_lora_logits = add_nothing
