"""Makes the tests' base from nothing: `python -m tests.tiny_base.make`, about ten minutes on two cores.

A Qwen2, because transformers, PEFT, bitsandbytes and vLLM all know it, and because copying needs its biases on Q, K and
V: without a constant direction RoPE makes no head that looks one token back. Two things teach so small a model to copy
within minutes (found by trying): biases with a high learning rate and embeddings with a low one, and a guide that shows
heads where to look on repeated random tokens: some tokens back, and at what follows the place copied from (the two
halves of an induction head, Olsson et al., arXiv 2209.11895). The guide goes on over the corpus, which otherwise undoes
the copying within a hundred steps.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

from factory.precision import precision
from tests.tiny_base import TINY
from tests.tiny_base.world import conversation

VOCABULARY, HIDDEN, INNER, LAYERS, HEADS, POSITIONS = 1024, 256, 512, 4, 4, 2048
"""Heads of 64, widths in multiples of 64: what 4-bit kernels and vLLM take."""
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}<|im_end|>{% endgeneration %}"
    "{% else %}{{ m['content'] }}<|im_end|>{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""ChatML. The `generation` marks tell a trainer which tokens the model itself writes."""
COPY_STEPS, STEPS, WARM = 350, 600, 30
ROWS, GUIDE_EVERY = 32, 5
RATES = {"embed": 3e-4, "bias": 1e-2, "": 2e-3}
"""AdamW's, by a part of the parameter's name."""
READ_WEIGHT = 0.2
"""Loss weight of what the assistant does not write: a made-up message cannot be foreseen."""
FLOOR = 0.9
"""Least share of exactly right answers about messages never seen; below it nothing is written."""

Row = list[dict[str, str]]


def make_tokenizer(seed: int) -> Qwen2Tokenizer:
    """A byte-level BPE in which digits stand alone, and the space before a capital too: a name is the same tokens at
    the head of a line and within it. Texts are cut as Qwen2's tokenizer cuts them, for transformers and vLLM give that
    cut to every model of type qwen2, whatever its tokenizer.json says."""
    like = Qwen2Tokenizer().backend_tokenizer
    bpe = Tokenizer(models.BPE())
    spaces = pre_tokenizers.Split(Regex(r" (?=\p{Lu})"), "isolated")  # no merge is learned across it
    bpe.normalizer, bpe.pre_tokenizer = like.normalizer, pre_tokenizers.Sequence([spaces, like.pre_tokenizer])
    rng = random.Random(seed)
    bpe.train_from_iterator(
        (m["content"] for _ in range(5000) for m in conversation(rng)),
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=[PAD, START, END],
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    learned = json.loads(bpe.to_str())["model"]
    return Qwen2Tokenizer(
        vocab=learned["vocab"],
        merges=[tuple(merge) for merge in learned["merges"]],
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens=[START],
        chat_template=TEMPLATE,
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=POSITIONS,
        clean_up_tokenization_spaces=False,
    )


def new_model(tokenizer: Qwen2Tokenizer) -> Qwen2ForCausalLM:
    """Untrained, float32. Embeddings start at 1/sqrt(hidden), the size at which RMS norms keep them."""
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=True,
        use_sliding_window=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen2ForCausalLM(config)
    model.model.embed_tokens.weight.data.normal_(0, HIDDEN**-0.5)
    return model


def fast() -> contextlib.AbstractContextManager:
    """bf16 for the products, where this machine has it."""
    dtype = precision().dtype
    return torch.autocast("cpu", dtype=dtype) if dtype == torch.bfloat16 else contextlib.nullcontext()


def guided_copy(model: Qwen2ForCausalLM, rows: int, length: int, alphabet: torch.Tensor) -> torch.Tensor:
    """The loss of copying random tokens of `alphabet`, repeated to the end, with the guide.

    The guide is −log of the attention where it belongs: heads 0, 1 and 2 of layer 0 one, two and three tokens back,
    heads 0 and 1 of layer 1 on what follows the place copied from. In a small alphabet that place shows only in the
    last few tokens together, which is what names in pieces and numbers in digits need.
    """
    period = int(torch.randint(4, length // 2, (1,)))
    once = alphabet[torch.randint(len(alphabet), (rows, period))]
    ids = once.repeat(1, length // period + 1)[:, :length]
    labels = ids.clone()
    labels[:, :period] = -100
    model.set_attn_implementation("eager")
    with fast():
        out = model(input_ids=ids, labels=labels, output_attentions=True, use_cache=False)
    model.set_attn_implementation("sdpa")
    first, second = (attention.float() for attention in out.attentions[:2])
    here = torch.arange(length)
    again = here[period:]
    looks = [first[:, n - 1][:, here[n:], here[:-n]] for n in (1, 2, 3)]
    looks += [second[:, head][:, again, again - period + 1] for head in (0, 1)]
    return out.loss + 0.2 * torch.stack([-(look + 1e-6).log().mean() for look in looks]).sum()


def some_tokens() -> torch.Tensor:
    """A random part of the vocabulary, 8 tokens to all of it; each order of magnitude is as likely."""
    size = int(8 * (VOCABULARY / 8) ** torch.rand(1).item())
    return 3 + torch.randperm(VOCABULARY - 3)[:size]


def encoded(tokenizer: Qwen2Tokenizer, rows: list[Row]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows padded to the longest: ids, where the assistant writes, and where there is text, each [rows, tokens]."""
    made = tokenizer.apply_chat_template(
        rows, return_dict=True, return_assistant_tokens_mask=True, padding=True, padding_side="right"
    )
    return tuple(torch.tensor(made[key]) for key in ("input_ids", "assistant_masks", "attention_mask"))  # type: ignore[return-value]


def corpus_loss(model: Qwen2ForCausalLM, ids: torch.Tensor, says: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """Padding comes last, so no token of a row sees it, and it counts nothing."""
    with fast():
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    each = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    weights = (says + READ_WEIGHT * (text - says))[:, 1:].flatten()
    return (each * weights).sum() / weights.sum()


def train(model: Qwen2ForCausalLM, losses: Iterator[torch.Tensor], steps: int, what: str, last: float) -> None:
    """AdamW over `steps` losses; the rates rise over WARM steps and fall to the share `last`."""
    groups: dict[str, list[torch.nn.Parameter]] = {part: [] for part in RATES}
    for name, parameter in model.named_parameters():
        groups[next(part for part in RATES if part in name)].append(parameter)
    settings = [{"params": parameters, "lr": RATES[part]} for part, parameters in groups.items()]
    optimizer = torch.optim.AdamW(settings, betas=(0.9, 0.95), weight_decay=0.0)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: min(1, (i + 1) / WARM, max(last, 1 - i / steps)))
    began = time.monotonic()
    for step, loss in enumerate(itertools.islice(losses, steps), 1):
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        rates.step()
        if step % 50 == 0:
            print(f"{what} {step}/{steps}: loss {loss.item():.3f}, {time.monotonic() - began:.0f} s", flush=True)


def copying(model: Qwen2ForCausalLM) -> Iterator[torch.Tensor]:
    """Losses of copying alone: first with all tokens, then with alphabets of all sizes."""
    everything = torch.arange(3, VOCABULARY)
    for i in itertools.count():
        yield guided_copy(model, 24, 96, some_tokens() if i > COPY_STEPS // 2 and i % 3 else everything)


def reading(model: Qwen2ForCausalLM, tokenizer: Qwen2Tokenizer, seed: int) -> Iterator[torch.Tensor]:
    """Losses over the corpus; with every fifth goes a small batch of guided copying."""
    rng = random.Random(seed)
    for i in itertools.count():
        loss = corpus_loss(model, *encoded(tokenizer, [conversation(rng) for _ in range(ROWS)]))
        yield loss if i % GUIDE_EVERY else loss + 0.5 * guided_copy(model, 4, 192, some_tokens())


@torch.no_grad()
def right(model: Qwen2ForCausalLM, tokenizer: Qwen2Tokenizer, rows: list[Row]) -> float:
    """Share of answers of the assistant that greedy decoding would write exactly."""
    ids, says, _ = encoded(tokenizer, rows)
    with fast():
        wrong = (model(input_ids=ids).logits[:, :-1].argmax(-1) != ids[:, 1:]) & says[:, 1:].bool()
    begins = (says[:, 1:] - says[:, :-1] == 1).cumsum(1)  # which answer of its row a token belongs to
    faulty = {(row, int(begins[row, at])) for row, at in wrong.nonzero().tolist()}
    return 1 - len(faulty) / int(begins[:, -1].sum())


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--out", default=TINY, help="the folder to write; default: the tests' own")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(words)
    began = time.monotonic()
    torch.manual_seed(given.seed)
    tokenizer = make_tokenizer(given.seed)
    model = new_model(tokenizer)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {len(tokenizer)} tokens")
    train(model, copying(model), COPY_STEPS, "copying", last=1)
    train(model, reading(model, tokenizer, given.seed + 1), STEPS, "corpus", last=0.03)
    rng = random.Random(given.seed + 2)
    share = right(model, tokenizer, [conversation(rng) for _ in range(300)])
    print(f"{share:.1%} of answers exactly right, {(time.monotonic() - began) / 60:.1f} minutes")
    if share < FLOOR:
        raise SystemExit(f"below {FLOOR:.0%}: nothing is written")
    model.to(torch.bfloat16)
    model.generation_config.do_sample = False
    model.save_pretrained(Path(given.out))
    tokenizer.save_pretrained(given.out)


if __name__ == "__main__":
    main()
