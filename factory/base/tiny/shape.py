"""The tiny base's tokenizer, chat format and architecture.

A Qwen2 causal LM, because transformers, PEFT, bitsandbytes and vLLM all know it and because it has
biases on Q, K and V: without a constant direction RoPE cannot make the previous-token head that
copying is built from. Head size 64, all widths multiples of 64 (what 4-bit kernels and vLLM accept).
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

VOCABULARY = 3072
HIDDEN, LAYERS, HEADS, INNER = 256, 4, 4, 768
POSITIONS = 2048
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}<|im_end|>{% endgeneration %}"
    "{% else %}{{ m['content'] }}<|im_end|>{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""ChatML. The `generation` marks tell a trainer which tokens the model itself writes."""


def train_tokenizer(texts: Iterable[str]) -> Qwen2Tokenizer:
    """A byte-level BPE of `VOCABULARY` tokens in which every digit is a token of its own, so that numbers can be
    copied. Capitals are not split off: a lone capital would be followed by too many things to copy from it. The space
    before a capital is, so that a name is the same tokens at the head of a line and within it.

    Texts are cut as Qwen2's tokenizer cuts them: whatever a folder's tokenizer.json says, transformers and vLLM put
    that cut into every tokenizer of a model of type qwen2, and a base trained with another one reads badly.
    """
    like = Qwen2Tokenizer().backend_tokenizer
    bpe = Tokenizer(models.BPE())
    spaces = pre_tokenizers.Split(Regex(r" (?=\p{Lu})"), "isolated")  # no merge is learned across: never one token
    bpe.normalizer, bpe.pre_tokenizer = like.normalizer, pre_tokenizers.Sequence([spaces, like.pre_tokenizer])
    bpe.train_from_iterator(
        texts,
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
        merges=[tuple(merge) for merge in learned["merges"]],  # type: ignore[misc]
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens=[START],
        chat_template=CHAT_TEMPLATE,
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=POSITIONS,
        clean_up_tokenization_spaces=False,
    )


def new_model(tokenizer: Qwen2Tokenizer) -> Qwen2ForCausalLM:
    """An untrained model, float32. Embeddings start at 1/sqrt(hidden), the size at which RMS norms keep them."""
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
        attn_implementation="eager",  # type: ignore[call-arg]
    )
    model = Qwen2ForCausalLM(config)
    model.model.embed_tokens.weight.data.normal_(0, HIDDEN**-0.5)
    return model
