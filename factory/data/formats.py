"""Which keys make which format, and how a row of each becomes messages.

`FORMATS` is the table. A row fits a format when it has all keys of one of its key sets and, where two formats share
their keys, the shape that `fits` asks for. If a row fits several formats, the one whose keys contain the others' wins
(`instruction, chosen, rejected` over `chosen, rejected`); where none contains the others, the row is ambiguous.

A converter takes the row's values and returns messages and what else it knows; a `Fault` says why it cannot. Keys that
it does not use are kept in the row's meta.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Value = dict[str, Any]
Messages = list[dict[str, str]]
Converted = tuple[Messages, Value]

ROLES = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "bard": "assistant", "model": "assistant",
    "function_call": "assistant",
    "tool": "tool", "observation": "tool", "function": "tool", "function_response": "tool", "ipython": "tool",
}  # fmt: skip
TOOLS = """You can call these functions. To call one, answer with its name and arguments as JSON:
<tool_call>
{{"name": "…", "arguments": {{…}}}}
</tool_call>

<tools>
{tools}
</tools>"""


class Fault(Exception):
    """Why one row cannot become messages."""


def always(value: Value) -> bool:
    return True


@dataclass(frozen=True)
class Format:
    """`keys`: any of these sets makes the format. `uses`: further keys that the converter reads."""

    convert: Callable[[Value], Iterator[Converted]]
    keys: tuple[frozenset[str], ...]
    uses: frozenset[str] = frozenset()
    fits: Callable[[Value], bool] = always

    @property
    def known(self) -> frozenset[str]:
        return self.uses.union(*self.keys)


def candidates(value: Value) -> list[str]:
    """The formats that `value` fits, the most specific ones only; more than one means that it is ambiguous."""
    sets = [
        (name, keys)
        for name, form in FORMATS.items()
        for keys in form.keys
        if keys <= value.keys() and form.fits(value)
    ]
    best = [name for name, keys in sets if not any(keys < other for _, other in sets)]
    return list(dict.fromkeys(best))


def convert(name: str, value: Value) -> Iterator[Converted]:
    """The row or rows that `value` holds. Raises Fault."""
    form = FORMATS[name]
    if not any(keys <= value.keys() for keys in form.keys):
        wanted = " or ".join(", ".join(sorted(keys)) for keys in form.keys)
        raise Fault(f"lacks keys of the format {name} ({wanted})")
    used = form.known
    rest = {key: item for key, item in value.items() if key not in used and item is not None}
    for messages, known in form.convert(value):
        yield check(messages), {**rest, **known}


def check(messages: Messages) -> Messages:
    if not messages:
        raise Fault("has no messages")
    if any(m["role"] == "system" for m in messages[1:]):
        raise Fault("a system message stands after the beginning")
    if messages[-1]["role"] != "assistant":
        raise Fault(f"ends with a turn of the {messages[-1]['role']}, not with an answer")
    return messages


# Values ---------------------------------------------------------------------------------------------------------------


def named(value: Any) -> str:
    kinds = {type(None): "null", bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list"}
    return kinds.get(type(value), "an object" if isinstance(value, dict) else f"a {type(value).__name__}")


def text(value: Value, key: str) -> str:
    found = value.get(key)
    if not isinstance(found, str):
        raise Fault(f"{key} is {named(found)}, not text")
    return found


def optional(value: Value, key: str) -> str:
    return "" if value.get(key) is None else text(value, key)


def word(value: Value, key: str) -> str:
    """A label: text, or a number that stands for one."""
    found = value.get(key)
    return str(found) if isinstance(found, int) and not isinstance(found, bool) else text(value, key).strip()


def items(found: Any, key: str) -> list[Any]:
    """A list, or the JSON of one as it stands in a CSV cell."""
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except (ValueError, RecursionError):
            raise Fault(f"{key} is text, not a list") from None
    if not isinstance(found, list):
        raise Fault(f"{key} is {named(found)}, not a list")
    return found


def truth(found: Any) -> bool | None:
    """A yes or no, as JSON or as a CSV cell has it; None if it is neither."""
    if isinstance(found, bool):
        return found
    return {"true": True, "false": False}.get(found.strip().lower()) if isinstance(found, str) else None


def turn(value: Any, key: str) -> dict[str, str]:
    """One message from `{role, content}` or `{from, value}`, its tool calls written out as text."""
    if not isinstance(value, dict):
        raise Fault(f"{key} has {named(value)} where a message belongs")
    who, said = ("from", "value") if "from" in value and "role" not in value else ("role", "content")
    name = text(value, who)
    role = ROLES.get(name.strip().lower())
    if role is None:
        raise Fault(f"{key} has the unknown role {name!r}")
    calls = value.get("tool_calls")
    content = "" if value.get(said) is None and calls else parts(value.get(said), said)
    if calls:
        content = "\n".join(filter(None, [content, *(call(c) for c in items(calls, "tool_calls"))]))
    elif name.strip().lower() == "function_call":
        content = call(content)
    return {"role": role, "content": content}


def parts(found: Any, key: str) -> str:
    """Text, or a list of text parts as newer chat formats have it."""
    if not isinstance(found, list):
        return text({key: found}, key)
    texts = []
    for part in found:
        if not isinstance(part, dict) or part.get("type", "text") != "text":
            raise Fault(f"a part of {key} is {part.get('type') if isinstance(part, dict) else named(part)}, not text")
        texts.append(text(part, "text" if "text" in part else "value"))
    return "".join(texts)


def call(found: Any) -> str:
    """A function call as the text that the model is to write."""
    if isinstance(found, dict):
        function = found.get("function", found)
        arguments = function.get("arguments") if isinstance(function, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise Fault("a tool call has no function name")
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments)
            except (ValueError, RecursionError):
                raise Fault("a tool call's arguments are not JSON") from None
        found = json.dumps({"name": function["name"], "arguments": arguments or {}}, ensure_ascii=False)
    elif not isinstance(found, str):
        raise Fault(f"a tool call is {named(found)}")
    return f"<tool_call>\n{found}\n</tool_call>"


def conversation(value: Value, key: str) -> Messages:
    """The list of messages under `key`, under the row's own system text and tools."""
    messages = [turn(item, key) for item in items(value.get(key), key)]
    system = [optional(value, "system")]
    if messages and messages[0]["role"] == "system":
        system.append(messages.pop(0)["content"])
    if tools := value.get("tools"):
        system.append(TOOLS.format(tools=tools if isinstance(tools, str) else json.dumps(tools, ensure_ascii=False)))
    if said := "\n\n".join(filter(str.strip, system)):
        messages.insert(0, {"role": "system", "content": said})
    return messages


def answer(found: Any, key: str) -> Messages:
    """What an answer's key holds: text, one message, or a list of them."""
    if isinstance(found, dict):
        return [turn(found, key)]
    if isinstance(found, list):
        return [turn(item, key) for item in found]
    return [{"role": "assistant", "content": text({key: found}, key)}]


# Converters, one a format ---------------------------------------------------------------------------------------------


def alpaca_turns(value: Value) -> Messages:
    """`instruction`, with `input` joined under it; `history` is a list of [question, answer]."""
    messages: Messages = []
    if system := optional(value, "system"):
        messages.append({"role": "system", "content": system})
    for pair in items(value.get("history") or [], "history"):
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(p, str) for p in pair):
            raise Fault("history is not a list of [question, answer]")
        messages += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    asked = "\n\n".join(filter(str.strip, (text(value, "instruction"), optional(value, "input"))))
    return [*messages, {"role": "user", "content": asked}]


def alpaca(value: Value) -> Iterator[Converted]:
    yield [*alpaca_turns(value), {"role": "assistant", "content": text(value, "output")}], {}


def seeds(value: Value) -> Iterator[Converted]:
    """Self-Instruct's seed tasks: one row per instance."""
    for instance in items(value.get("instances"), "instances"):
        if not isinstance(instance, dict):
            raise Fault(f"instances has {named(instance)} where an object belongs")
        yield from alpaca({**instance, "instruction": value.get("instruction")})


def turns_under(key: str) -> Callable[[Value], Iterator[Converted]]:
    def converter(value: Value) -> Iterator[Converted]:
        yield conversation(value, key), {}

    return converter


def prompted(value: Value) -> Messages:
    prompt = value.get("prompt")
    asked = [turn(p, "prompt") for p in prompt] if isinstance(prompt, list) else [
        {"role": "user", "content": text(value, "prompt")}
    ]  # fmt: skip
    system = optional(value, "system")
    return [*([{"role": "system", "content": system}] if system else []), *asked]


def completed(value: Value) -> Iterator[Converted]:
    key = "completion" if "completion" in value else "response"
    yield [*prompted(value), *answer(value.get(key), key)], {}


def oasst(value: Value) -> Iterator[Converted]:
    asked, said = text(value, "INSTRUCTION"), text(value, "RESPONSE")
    yield [{"role": "user", "content": asked}, {"role": "assistant", "content": said}], {}


def labelled(value: Value) -> Iterator[Converted]:
    label = word(value, next(key for key in LABELS if key in value))
    yield [{"role": "user", "content": text(value, "text")}, {"role": "assistant", "content": label}], {"label": label}


def summarised(value: Value) -> Iterator[Converted]:
    document, summary = text(value, "document"), text(value, "summary")
    yield [{"role": "user", "content": document}, {"role": "assistant", "content": summary}], {}


def raw(value: Value) -> Iterator[Converted]:
    """Text alone: an answer without a question."""
    yield [{"role": "assistant", "content": text(value, "text")}], {}


def context(value: Value) -> Messages:
    """The turns before an answer, in whatever form the row has them."""
    if "messages" in value or "conversations" in value:
        return conversation(value, "messages" if "messages" in value else "conversations")
    if "prompt" in value:
        return prompted(value)
    return alpaca_turns(value) if "instruction" in value else []


def preferred(value: Value) -> Iterator[Converted]:
    """A pair: the row answers with `chosen`; `rejected` is in the meta for preference training."""
    chosen, rejected = (answer(value.get(key), key) for key in ("chosen", "rejected"))
    before = [] if len(chosen) > 1 else context(value)  # a list of messages is the whole conversation
    if not before and len(chosen) == 1:
        raise Fault("has chosen and rejected answers, but no question")
    if rejected[-1]["role"] != "assistant":
        raise Fault("rejected does not end with an answer")
    yield [*before, *chosen], {"rejected": rejected[-1]["content"]}


def judged(value: Value) -> Iterator[Converted]:
    """A yes or no on an answer (KTO): in the meta as `desirable`."""
    key = "kto_tag" if "kto_tag" in value else "label"
    desirable = truth(value.get(key))
    if desirable is None:
        raise Fault(f"{key} is {named(value.get(key))}, not true or false")
    if "completion" in value:
        (messages, _), *_rest = completed(value)
    elif "output" in value:
        (messages, _), *_rest = alpaca(value)
    else:
        messages = conversation(value, "messages" if "messages" in value else "conversations")
    yield messages, {"desirable": desirable}


def spoken(who: str) -> Callable[[Value], bool]:
    """Whether the first turn of `conversations` says its role with the key `who`."""

    def fits(value: Value) -> bool:
        try:
            first = next(iter(items(value["conversations"], "")), None)
        except Fault:
            return who == "from"
        return isinstance(first, dict) and who in first if who == "role" else not spoken("role")(value)

    return fits


def voted(value: Value) -> bool:
    return truth(value.get("kto_tag", value.get("label"))) is not None


def sets(*names: str) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(name.split()) for name in names)


LABELS = ("label", "category", "intent")
ALPACA = frozenset({"input", "history", "system"})
CHAT = frozenset({"system", "tools"})
ASKED = ("prompt", "instruction", "messages", "conversations")
FORMATS: dict[str, Format] = {
    "alpaca": Format(alpaca, sets("instruction output"), ALPACA),
    "sharegpt": Format(turns_under("conversations"), sets("conversations"), CHAT, spoken("from")),
    "conversations": Format(turns_under("conversations"), sets("conversations"), CHAT, spoken("role")),
    "messages": Format(turns_under("messages"), sets("messages"), CHAT),
    "oasst": Format(oasst, sets("INSTRUCTION RESPONSE")),
    "completion": Format(completed, sets("prompt completion", "prompt response"), frozenset({"system"})),
    "label": Format(labelled, sets(*(f"text {key}" for key in LABELS))),
    "summary": Format(summarised, sets("document summary")),
    "text": Format(raw, sets("text")),
    "preference": Format(
        preferred,
        sets("chosen rejected", *(f"{key} chosen rejected" for key in ASKED)),
        ALPACA | {"tools"},
    ),
    "kto": Format(
        judged,
        sets(*(f"{rest} {key}" for key in ("label", "kto_tag")
               for rest in ("messages", "conversations", "prompt completion", "instruction output"))),
        ALPACA | {"tools"},
        voted,
    ),
    "seeds": Format(seeds, sets("instruction instances")),
}  # fmt: skip
