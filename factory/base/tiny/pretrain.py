"""Makes the tiny base from nothing: tokenizer, copy warm-up, corpus, probes, and an atomic write.

`factory base build=tiny` runs `build`. Two cores need about an hour; what was interrupted goes on from its last
checkpoint. The amount of training is fixed in steps, not minutes: the same seed gives the same rows and, as far as
threads allow, the same model.

What it took to make so small a model copy names and numbers (see README.md): biases on Q, K, V with a high
learning rate, embeddings with a low one, and a guide: on repeated random tokens, heads are shown where to look
(one, two and three tokens back; what follows the place copied from: the halves of an induction head, Olsson et
al., arXiv 2209.11895, for contexts of up to three tokens). Without it the model writes fluent mails and copies no
name; with one token back alone it confuses places in numbers like 78662; if the guide ends with the warm-up, the
corpus undoes it within a hundred steps.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from transformers import Qwen2ForCausalLM, Qwen2Tokenizer

from factory.base.tiny import corpus
from factory.base.tiny.copying import alphabet, guided_copy
from factory.base.tiny.packing import TOKENS, batches, encoder, losses, token_losses
from factory.base.tiny.probes import Encode, below_floors, measure
from factory.base.tiny.shape import new_model, train_tokenizer
from factory.errors import FactoryError
from factory.home import digest, home, shown, write_file

STEPS, COPY_STEPS = 3700, 450
"""Steps over the corpus, over which the rates fall to 3 %, and of the copy warm-up before it."""
RATES = {"matrix": 2e-3, "norm": 2e-3, "bias": 1e-2, "embedding": 3e-4}
"""AdamW's, by kind of parameter."""
MUON_RATE = 3e-3
"""Over the corpus the matrices have Muon (momentum made orthogonal, arXiv 2502.16982): after 500 steps the loss
was 0.42 where AdamW had 0.50 on the same rows, and twice as many lists of details were right, for a sixth more time."""
RAMP = 12_000
"""Rows over which the first lessons give way."""
WARM = 30
"""Steps over which the rates rise after the warm-up, with fresh optimizers."""
TOKENIZER_ROWS = 20_000
PROBE_EVERY, SAVE_EVERY = 600, 200
GUIDE_EVERY = 5
"""Steps over the corpus between two of guided copying, which cost three times as much a token."""

Say = Callable[[str], None]


def _optimizers(model: Qwen2ForCausalLM, *, muon: bool) -> list[torch.optim.Optimizer]:
    groups: dict[str, list[torch.nn.Parameter]] = {kind: [] for kind in RATES}
    for name, p in model.named_parameters():
        kinds = (kind for kind, mark in (("embedding", "embed"), ("bias", "bias"), ("norm", "norm")) if mark in name)
        groups[next(kinds, "matrix")].append(p)
    found: list[torch.optim.Optimizer] = []
    if muon:
        matrices = groups.pop("matrix")
        found += [torch.optim.Muon(matrices, MUON_RATE, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")]
    adam = [{"params": parameters, "lr": RATES[kind]} for kind, parameters in groups.items()]
    found += [torch.optim.AdamW(adam, betas=(0.9, 0.95), weight_decay=0.0)]
    for group in (g for optimizer in found for g in optimizer.param_groups):
        group["rate"] = group["lr"]
    return found


def _step(
    model: Qwen2ForCausalLM, optimizers: Sequence[torch.optim.Optimizer], loss: torch.Tensor, factor: float
) -> None:
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * factor
        optimizer.step()
        optimizer.zero_grad()


def warm_up(model: Qwen2ForCausalLM, generator: torch.Generator, steps: int, say: Say) -> None:
    """Copying alone: half of the steps with all tokens, then with alphabets of all sizes, at last over longer ways."""
    optimizers = _optimizers(model, muon=False)
    everything = torch.arange(3, model.config.vocab_size)
    for i in range(1, steps + 1):
        mixed = i > steps // 2 and i % 3
        tokens = alphabet(model.config.vocab_size, generator) if mixed else everything
        rows, length = (24, 96) if i <= steps * 5 // 6 else (10, 256)
        loss, guide = guided_copy(model, rows, length, tokens, generator)
        _step(model, optimizers, loss + 0.2 * guide, min(1.0, i / 20))
        if i % 50 == 0:
            say(f"copy warm-up {i}/{steps}: {len(tokens)} tokens, loss {loss.item():.3f}, guide {guide.item():.2f}")


class Course:
    """A model on its way over the corpus, and the file from which a new process goes on as if nothing had happened."""

    def __init__(self, model: Qwen2ForCausalLM, generator: torch.Generator, checkpoint: Path) -> None:
        self.model, self.generator, self.checkpoint = model, generator, checkpoint
        self.optimizers = _optimizers(model, muon=True)
        self.step, self.seconds, self.answer, self.copied = 0, 0.0, 0.0, 0.0
        self.began = time.monotonic()

    def restore(self) -> bool:
        """Whether there was a checkpoint; if so this is its course now."""
        if not self.checkpoint.is_file():
            return False
        kept = torch.load(self.checkpoint, weights_only=True)
        self.model.load_state_dict(kept["model"])
        self.generator.set_state(kept["generator"])
        for optimizer, state in zip(self.optimizers, kept["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        vars(self).update(kept["place"])
        self.began = time.monotonic() - self.seconds
        return True

    def save(self) -> None:
        self.seconds = time.monotonic() - self.began
        kept = {
            "model": self.model.state_dict(),
            "generator": self.generator.get_state(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "place": {name: getattr(self, name) for name in ("step", "seconds", "answer", "copied")},
        }
        torch.save(kept, buffer := io.BytesIO())
        write_file(self.checkpoint, buffer.getvalue())


def train(course: Course, encode: Encode, seed: int, steps: int, say: Say) -> None:
    """The corpus, with a small batch of guided copying every fifth step."""
    model, generator = course.model, course.generator
    stream = itertools.islice(batches(encode, seed, RAMP), course.step, None)
    started, before = time.monotonic(), course.step
    everything = torch.arange(3, model.config.vocab_size)
    # Compiling needs a C++ compiler and buys a sixth of the time; the sums are the same without it.
    forward = torch.compile(losses, dynamic=False) if shutil.which("g++") else losses
    for i in range(course.step + 1, steps + 1):
        batch = next(stream)
        each = token_losses(model, batch.ids, batch.positions, batch.bounds, forward)
        w = batch.weights[:, 1:].flatten()
        loss = (each * w).sum() / w.sum()
        said = (each * (w == 1)).sum().item() / (w == 1).sum().item()
        if i % GUIDE_EVERY == 0:
            symbols = alphabet(model.config.vocab_size, generator) if i % (2 * GUIDE_EVERY) else everything
            copy_loss, guide = guided_copy(model, 4, 256, symbols, generator)
            loss = loss + 0.5 * copy_loss + 0.1 * guide
            course.copied += (0.1 if course.copied else 1.0) * (copy_loss.item() - course.copied)
        _step(model, course.optimizers, loss, max(0.03, 1 - i / steps) * min(1.0, i / WARM))
        course.step = i
        course.answer += (0.05 if course.answer else 1.0) * (said - course.answer)
        if i % 50 == 0:
            each_step = (time.monotonic() - started) / (i - before)
            pace = f"{TOKENS / each_step:,.0f} tokens/s, {each_step * (steps - i) / 60:.0f} min left"
            say(f"step {i}/{steps}: answer loss {course.answer:.3f}, random copy loss {course.copied:.2f}, {pace}")
        if i % PROBE_EVERY == 0 and i < steps:
            say("  " + figures_line(measure(model, encode, 50)))
        if i % SAVE_EVERY == 0:
            course.save()


def figures_line(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.0%}" for name, value in figures.items())


def build(
    out: Path,
    *,
    seed: int = 0,
    steps: int = STEPS,
    copy_steps: int = COPY_STEPS,
    progress: Say | None = None,
) -> dict:
    """Train the base and write it to `out` (config, weights in bf16, tokenizer, chat template, figures.json).

    Written to a temporary folder beside `out` and renamed into place. Raises FactoryError, and writes
    nothing, when a probe is below its floor. Returns the figures. An interrupted build of the same code and arguments
    goes on from its last checkpoint.
    """
    say = progress or (lambda line: print(line, file=sys.stderr, flush=True))
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    texts = (m["content"] for row in itertools.islice(corpus.rows(seed), TOKENIZER_ROWS) for m in row)
    tokenizer = train_tokenizer(texts)
    model = new_model(tokenizer)
    size = sum(p.numel() for p in model.parameters())
    say(f"{size / 1e6:.2f} M parameters, {len(tokenizer)} tokens in the vocabulary")
    encode = encoder(tokenizer)
    code = [path.read_text() for path in sorted(Path(__file__).parent.glob("*.py"))]
    made_of = digest([code, seed, steps, copy_steps])[:12]
    course = Course(model, generator, home("runs", f"base-tiny-{made_of}", "checkpoint.pt"))
    if course.restore():
        say(f"going on after step {course.step} of {steps}; for a fresh start delete {shown(course.checkpoint.parent)}")
    else:
        warm_up(model, generator, copy_steps, say)
        course.save()
    train(course, encode, seed + 1, steps, say)
    course.save()
    model.to(torch.bfloat16)  # type: ignore[arg-type]
    accuracies = measure(model, encode, 200)
    say("final: " + figures_line(accuracies))
    if missed := below_floors(accuracies):
        raise FactoryError(
            "the base is below its floors and was not written: "
            + ", ".join(f"{n} {a:.0%} < {f:.0%}" for n, (a, f) in missed.items())
        )
    figures = {
        "seed": seed,
        "steps": steps,
        "tokens": steps * TOKENS,
        "minutes": round((time.monotonic() - course.began) / 60, 1),
        "parameters": size,
        "exact_on_held_out_names": accuracies,
    }
    write(out, model, tokenizer, figures)
    shutil.rmtree(course.checkpoint.parent)
    return figures


def write(out: Path, model: Qwen2ForCausalLM, tokenizer: Qwen2Tokenizer, figures: dict) -> None:
    """Save into a temporary folder beside `out`, then take its place; an older `out` goes only after that."""
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    model.config.dtype = torch.bfloat16
    model.generation_config.do_sample = False
    model.save_pretrained(fresh)
    tokenizer.save_pretrained(fresh)
    (fresh / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    fresh.chmod(0o755)
    old = out.with_name(f".{out.name}-old-{os.getpid()}")
    if out.exists():
        out.rename(old)
    fresh.rename(out)
    shutil.rmtree(old, ignore_errors=True)
