"""The chat template of a base, made fit for system prompts: every task has one, and not every family's template does.

Templates without a system role raise (Gemma 1 and 2, Mistral 0.1) or leave the message out without a word. What their
makers advise is what is done here: the system prompt stands at the head of the first user turn, as Gemma 3's own
template has it. It is written into the base's template, so that training, the engine and every caller's own system
message see the same, and it is part of the base's fingerprint.
"""

from typing import Any

from factory.errors import first_line
from factory.train.tokens import prompt_text

# Within `if`, Jinja's `set` holds for the rest of the template.
MERGED = """{%- if messages and messages[0]['role'] == 'system' -%}
{%- if messages | length > 1 and messages[1]['role'] == 'user' -%}
{%- set merged = messages[0]['content'] + '\\n\\n' + messages[1]['content'] -%}
{%- set messages = [{'role': 'user', 'content': merged}] + messages[2:] -%}
{%- else -%}
{%- set messages = [{'role': 'user', 'content': messages[0]['content']}] + messages[1:] -%}
{%- endif -%}
{%- endif -%}
"""
ASKED, TOLD = "Zebra7", "Quartz5"  # a question and a system prompt that no template holds of itself


def settle(tokenizer: Any) -> bool:
    """Let the tokenizer's template take system messages; True if it had to be changed for that.

    ValueError with the reason if it is missing, or cannot be asked even so.
    """
    if not tokenizer.chat_template:
        raise ValueError("it has no chat template: take the instruct variant, or add chat_template.jinja to its folder")
    user = {"role": "user", "content": ASKED}
    if why := _lost(tokenizer, [user]):
        raise ValueError(f"its chat template {why} where a user asks something")
    both = [{"role": "system", "content": TOLD}, user]
    if not _lost(tokenizer, both):
        return False
    own = tokenizer.chat_template
    tokenizer.chat_template = {k: MERGED + t for k, t in own.items()} if isinstance(own, dict) else MERGED + own
    if why := _lost(tokenizer, both):
        raise ValueError(f"its chat template {why} where there is a system prompt")
    return True


def _lost(tokenizer: Any, turns: list[dict[str, str]]) -> str:
    """What the template does instead of writing every turn's text; empty if it writes them."""
    try:
        text = prompt_text(tokenizer, turns)
    except Exception as error:  # Jinja has many of its own, and a template may do anything
        return f"raises {first_line(error)!r}"
    return "" if all(turn["content"] in text for turn in turns) else "leaves the text out"
