"""Texts that somebody has rendered by a chat template already, read back into turns.

The families are told by the marks at their turns' beginnings; what the last turn of each form ends with is taken off.
Only a text that *begins* with such a mark is one: marks further in are part of what somebody wrote.
"""

import re

from factory.data.values import ROLES, Messages

_ENDS = r"(?:<\|im_end\|>|<\|eot_id\|>|<\|end\|>|<\|endoftext\|>|<\|end_of_text\|>|<end_of_turn>|<eos>|</s>)"
_START = re.compile(r"\s*(?:<\|begin_of_text\|>|<bos>|<s>)?\s*")
_TAIL = re.compile(rf"(?:\s*{_ENDS})+\s*$")
_MARKED = [  # ChatML, Llama 3, Gemma, Phi and Zephyr
    re.compile(r"<\|im_start\|>(\w+)\n"),
    re.compile(r"<\|start_header_id\|>(\w+)<\|end_header_id\|>\n*"),
    re.compile(r"<start_of_turn>(\w+)\n"),
    re.compile(r"<\|(system|user|assistant|tool)\|>\n?"),
]
_WRITTEN = [  # in plain words, as people write a conversation too
    re.compile(r"\s*### ?(Human|User|Assistant|System|Bot): ?"),
    re.compile(r"(?:^|\n\n)(Human|User|Assistant|System): ?"),
]
THOUGHT = "<think>\n{thought}\n</think>\n\n"  # how templates of models that think first write it before an answer
_THOUGHT = re.compile(r"\s*<think>.*?(?:</think>\s*|\Z)", re.S)
_INST = re.compile(r"\[INST\](.*?)\[/INST\](.*?)(?=(?:<s>)?\s*\[INST\]|\s*$)", re.S)
_SYS = re.compile(r"\s*<<SYS>>(.*?)<</SYS>>", re.S)


def parsed(text: str, written: bool = True) -> Messages:
    """The turns of a rendered text; empty if it is none. Forms in plain words are read only where `written`."""
    text = _START.sub("", text, count=1)
    if text.startswith("[INST]"):
        return _llama2(text)
    for mark in _MARKED + _WRITTEN * written:
        if mark.match(text):
            pieces = mark.split(text)[1:]
            found = [(ROLES.get(name.lower()), said) for name, said in zip(pieces[::2], pieces[1::2], strict=True)]
            if len(found) < 2 or any(role is None for role, _ in found):
                return []
            return [{"role": str(role), "content": without_end(said).strip()} for role, said in found]
    return []


def without_end(text: str) -> str:
    """The text without the end marks of a template after it."""
    return _TAIL.sub("", text)


def without_thought(text: str) -> str:
    """What is said behind a thought at the beginning; nothing where the thought does not end."""
    found = _THOUGHT.match(text)
    return text[found.end() :] if found else text


def _llama2(text: str) -> Messages:
    found: Messages = []
    for asked, said in _INST.findall(text):
        if not found and (system := _SYS.match(asked)):
            found.append({"role": "system", "content": system[1].strip()})
            asked = asked[system.end() :]
        found += [
            {"role": "user", "content": asked.strip()},
            {"role": "assistant", "content": without_end(said).strip()},
        ]
    return found
