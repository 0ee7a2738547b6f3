"""Tiny models with random weights of the families that people really take, each a folder as its makers publish it.

Two layers, widths that divide badly (72, 200, a vocabulary of odd size), heads as wide as vLLM's attention on a CPU
takes (32). The weights are large enough that attention and the layers show in the logits: a model whose answer came
from its embeddings alone would prove nothing.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TEXT = [
    "The meeting about the budget moves to Friday at ten, in the small room on the second floor.",
    "Please sum up this message in one sentence, with the day, the room and the person who asked.",
    "You are the assistant of a small company, answer briefly and only what was asked.",
    "Lunch is at half past twelve; the invoice of the printer was paid twice, says Anna.",
]
MERGES = 330
TEMPLATES = Path(__file__).parent / "templates"
CHATML = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>", "<think>", "</think>"]
LLAMA3 = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
MISTRAL = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"]
GEMMA = ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"]
PHI3 = ["<s>", "<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>"]
SHAPE = {"hidden_size": 72, "intermediate_size": 200, "num_hidden_layers": 2, "max_position_embeddings": 512}
SHAPE |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "initializer_range": 0.12}
THREE = {"hidden_size": 96, "num_attention_heads": 3, "num_key_value_heads": 1}  # heads of 32, where the width decides


@dataclass(frozen=True)
class Animal:
    """A model: its transformers class name's stem, its template in `templates/`, special tokens (`ends` those that end
    an answer, the tokenizer's own first) and configuration. `parser` and `merged` are what the factory is to find out
    of it."""

    name: str
    stem: str
    template: str
    specials: list[str]
    ends: list[str]
    bos: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    parser: str = ""
    merged: bool = False  # a system message becomes part of the first user turn
    served: bool = False  # also over a real engine


ANIMALS = [
    Animal("llama", "Llama", "zephyr", ["<unk>", "<s>", "</s>"], ["</s>"], "<s>",
           {"num_key_value_heads": 4, "tie_word_embeddings": False}),
    Animal("llama-biased", "Llama", "zephyr", ["<unk>", "<s>", "</s>"], ["</s>"], "<s>",
           {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    Animal("llama3", "Llama", "llama3", [*LLAMA3, "<|eom_id|>", "<|python_tag|>"],
           ["<|eot_id|>", "<|eom_id|>", "<|end_of_text|>"], "<|begin_of_text|>",
           {"tie_word_embeddings": True, "rope_parameters": {
               "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
               "high_freq_factor": 4.0, "original_max_position_embeddings": 256}},
           parser="llama3_json"),
    Animal("llama3-no-tag", "Llama", "llama3", LLAMA3, ["<|eot_id|>"], "<|begin_of_text|>"),
    Animal("mistral", "Mistral", "mistral", [*MISTRAL, "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"],
           ["</s>"], "<s>", {"sliding_window": None}, parser="mistral"),
    Animal("mistral-window", "Mistral", "mistral-strict", MISTRAL, ["</s>"], "<s>", {"sliding_window": 24},
           merged=True, served=True),
    Animal("qwen2", "Qwen2", "qwen", CHATML, ["<|im_end|>", "<|endoftext|>"], "",
           {**THREE, "tie_word_embeddings": True}, parser="hermes"),
    Animal("qwen3", "Qwen3", "qwen", CHATML, ["<|im_end|>", "<|endoftext|>"], "",
           {"tie_word_embeddings": True}, parser="hermes", served=True),
    Animal("qwen3-untied", "Qwen3", "qwen", CHATML, ["<|im_end|>"], "",
           {"num_attention_heads": 3, "num_key_value_heads": 3, "tie_word_embeddings": False}, parser="hermes"),
    Animal("gemma", "Gemma", "gemma", GEMMA, ["<eos>", "<end_of_turn>"], "<bos>",
           {"num_key_value_heads": 1}, merged=True),
    Animal("gemma3", "Gemma3", "gemma3", GEMMA, ["<eos>", "<end_of_turn>"], "<bos>",
           {"sliding_window": 24, "layer_types": ["sliding_attention", "full_attention"], "query_pre_attn_scalar": 32},
           served=True),
    Animal("phi3", "Phi3", "phi3", PHI3, ["<|endoftext|>", "<|end|>"], "<s>",
           {**THREE, "tie_word_embeddings": False, "sliding_window": None}, served=True),
    Animal("granite", "Granite", "granite",
           ["<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>", "<|tool_call|>"], ["<|end_of_text|>"], "",
           {**THREE, "embedding_multiplier": 3.0, "logits_scaling": 4.0, "residual_multiplier": 0.4,
            "attention_multiplier": 0.1, "tie_word_embeddings": True}, served=True),
    Animal("olmo2", "Olmo2", "olmo2", ["<|endoftext|>", "<|pad|>"], ["<|endoftext|>"], "<|endoftext|>",
           {**THREE, "num_key_value_heads": 3, "tie_word_embeddings": False}),
    Animal("smollm3", "SmolLM3", "smollm3", CHATML, ["<|im_end|>"], "",
           {**THREE, "no_rope_layers": [1, 0], "tie_word_embeddings": True}, parser="hermes", served=True),
]  # fmt: skip


def build(animal: Animal, folder: Path) -> Path:
    """The model folder, with random weights that depend on the name alone."""
    import torch
    import transformers

    tokenizer = make_tokenizer(animal)
    ends = tokenizer.convert_tokens_to_ids(animal.ends)
    config = getattr(transformers, CONFIGS.get(animal.stem, f"{animal.stem}Config"))(
        **SHAPE
        | {"vocab_size": len(tokenizer) + 2, "eos_token_id": ends[0] if len(ends) == 1 else ends}
        | {"bos_token_id": tokenizer.bos_token_id, "pad_token_id": tokenizer.pad_token_id}
        | animal.config
    )
    with torch.random.fork_rng():
        torch.manual_seed(sum(animal.name.encode()))
        model = getattr(transformers, f"{animal.stem}ForCausalLM")(config)
        for name, parameter in model.named_parameters():  # biases and norms that are all alike hide mistakes
            if name.endswith("bias"):
                parameter.data.normal_(0, 0.2)
            elif "norm" in name:
                parameter.data += 0.2 * torch.randn_like(parameter)
    model.generation_config.eos_token_id = ends
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


CONFIGS = {"Gemma3": "Gemma3TextConfig"}


def make_tokenizer(animal: Animal) -> Any:
    """A byte-level BPE of its family's special tokens and template."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    own = Tokenizer.from_str(_trained())
    own.add_special_tokens(animal.specials)
    names = {"eos_token": animal.ends[0], "pad_token": animal.ends[-1]}
    names |= {"bos_token": animal.bos} if animal.bos else {}
    return PreTrainedTokenizerFast(
        tokenizer_object=own, chat_template=template(animal.template), clean_up_tokenization_spaces=False, **names
    )


def template(name: str) -> str | None:
    """A family's chat template, shortened to what decides: roles, tools, ends of turns, system messages."""
    return (TEMPLATES / f"{name}.jinja").read_text() if name else None


@functools.cache
def _trained() -> str:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        TEXT, trainers.BpeTrainer(vocab_size=MERGES, initial_alphabet=alphabet, show_progress=False)
    )
    return str(tokenizer.to_str())
