"""Merge an adapter into its base, as one plain bf16 model, and prove that the two answer alike.

The adapter goes into the *dequantised NF4* weights, never into the original ones. It was trained on top of the
quantised base and has learned to undo that base's rounding along with its task: on the original weights it would
correct errors that are not there, and nobody has graded that model. What remains is one rounding: base and change are
added in fp32 and stored as bf16, while the server keeps them apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from factory.answers import adapted
from factory.base.build import Base, load_model, load_tokenizer
from factory.data.rows import Row
from factory.registry.store import Version
from factory.train.tokens import prompt_ids

MIN_AGREEMENT = 0.97  # share of positions where both find the same token most likely
MAX_KL = 0.01  # nats: the mean over all positions
POSITIONS = 4096  # tokens compared


@dataclass(frozen=True)
class Parity:
    """How alike two models answer, over all positions of some texts. `kl` in nats, mean and worst position."""

    positions: int
    agreement: float
    kl: float
    worst_kl: float

    def holds(self) -> bool:
        return self.agreement >= MIN_AGREEMENT and self.kl <= MAX_KL

    def says(self) -> str:
        return (
            f"same token at {self.agreement:.2%} of {self.positions} positions (at least {MIN_AGREEMENT:.0%} needed), "
            f"KL {self.kl:.2g} (at most {MAX_KL:g})"
        )


def merge(version: Version, base: Base) -> Any:
    """A new bf16 model without adapter or quantisation, on the CPU."""
    import torch
    from peft import PeftModel

    whole = load_model(base, device="cpu").dequantize(torch.float32)
    merged = PeftModel.from_pretrained(whole, str(version.folder)).merge_and_unload()
    for parameter in merged.parameters():  # the buffers of rotary embeddings stay in fp32
        parameter.data = parameter.data.to(torch.bfloat16)
    merged._weight_conversions = None  # how the 4-bit file was read is not how this one is written
    return merged.eval()


def parity(merged: Any, version: Version, base: Base, rows: Sequence[Row]) -> Parity:
    """Compare with the adapter over the 4-bit base, token by token, at the prompts of `rows`."""
    import torch

    tokenizer, model = load_tokenizer(base), load_model(base)
    divergences, same = [], []
    with adapted(model, version.folder) as peft, torch.inference_mode():
        for row in rows:
            ids = torch.tensor([prompt_ids(tokenizer, row.with_system(version.facts.prompt).turns)])
            here = peft(ids.to(peft.device)).logits[0].float().log_softmax(-1).cpu()
            there = merged(ids.to(merged.device)).logits[0].float().log_softmax(-1).cpu()
            divergences.append((here.exp() * (here - there)).sum(-1))
            same.append(here.argmax(-1) == there.argmax(-1))
            if sum(map(len, same)) >= POSITIONS:
                break
    kl, agree = torch.cat(divergences), torch.cat(same)
    return Parity(len(kl), float(agree.float().mean()), float(kl.mean()), float(kl.max()))
