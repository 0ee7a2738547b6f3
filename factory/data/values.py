"""What stands in a row: texts, lists, messages, tool calls; or a Fault that says what stands there instead."""

import json
from typing import Any

Value = dict[str, Any]
Messages = list[dict[str, Any]]

ROLES = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "bard": "assistant", "model": "assistant",
    "bot": "assistant", "function_call": "assistant", "tool_call": "assistant",
    "tool": "tool", "observation": "tool", "function": "tool", "function_response": "tool", "ipython": "tool",
    "tool_response": "tool", "tool_result": "tool",
}  # fmt: skip
CALLS = ("function_call", "tool_call")  # roles whose text is a call's JSON
MARKS = ("weight", "loss", "train")  # of a turn: whether it is to be learned (OpenAI, ms-swift, axolotl)
THOUGHTS = ("reasoning_content", "reasoning", "thinking")  # of a turn: what went through the model's head before
USED = {*MARKS, "role", "content", "from", "value", "tool_calls", "name", "tool_call_id", "id"}
TOOLS = """You can call these functions. To call one, answer with its name and arguments as JSON:
<tool_call>
{{"name": "…", "arguments": {{…}}}}
</tool_call>

<tools>
{tools}
</tools>"""


class Fault(Exception):
    """Why one row cannot become messages."""


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
    """A label: text, or a whole number, true or false that stands for one."""
    found = value.get(key)
    if isinstance(found, bool):
        return str(found).lower()
    if isinstance(found, float) and not found.is_integer():
        raise Fault(f"{key} is {found}: a score, not a class")
    return str(int(found)) if isinstance(found, int | float) else text(value, key).strip()


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
    """A yes or no, as JSON or as a CSV cell has it (true, 1, false, 0); None if it is neither."""
    if isinstance(found, bool | int | float | str):
        said = str(found).strip().lower().removesuffix(".0")
        return {"true": True, "1": True, "false": False, "0": False}.get(said)
    return None


def turn(value: Any, key: str) -> dict[str, Any]:
    """One message from `{role, content}` or `{from, value}`, its tool calls written out as text.

    `learn` is there where the turn says whether it is to be learned, `thought` where it brings what was thought before
    it, `unused` where it has keys that nothing reads.
    """
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
    elif name.strip().lower() in CALLS:
        content = call(content)
    message: dict[str, Any] = {"role": role, "content": content}
    for mark in MARKS:
        if value.get(mark) is not None:
            message["learn"] = truth(value[mark])
            if message["learn"] is None:
                raise Fault(f"{mark} is {value[mark]!r}: a turn is learned (1) or not (0)")
    if thought := next((t for key in THOUGHTS if isinstance(t := value.get(key), str) and t.strip()), ""):
        message["thought"] = thought.strip()
    if unused := [name for name, item in value.items() if name not in USED and item not in (None, "", [], {})]:
        message["unused"] = unused
    return message


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
    messages = _turns(items(value.get(key), key), key)
    system = [optional(value, "system")]
    if messages and messages[0]["role"] == "system":
        system.append(messages.pop(0)["content"])
    if (tools := value.get("tools")) and tools != "[]":
        system.append(TOOLS.format(tools=tools if isinstance(tools, str) else json.dumps(tools, ensure_ascii=False)))
    if said := "\n\n".join(filter(str.strip, system)):
        messages.insert(0, {"role": "system", "content": said})
    return messages


def _turns(found: list[Any], key: str) -> Messages:
    """Turns one after the other; also as texts in turn, or as objects that hold a question and its answer."""
    if found and all(isinstance(item, str) for item in found):
        return [{"role": "assistant" if i % 2 else "user", "content": item} for i, item in enumerate(found)]
    if found and all(isinstance(item, dict) and {"input", "output"} <= item.keys() for item in found):
        pairs = [(text(item, "input"), text(item, "output")) for item in found]
        return _turns([said for pair in pairs for said in pair], key)
    return [turn(item, key) for item in found]


def answer(found: Any, key: str) -> Messages:
    """What an answer's key holds: text, one message, or a list of them."""
    if isinstance(found, dict):
        return [turn(found, key)]
    if isinstance(found, list):
        if not found:
            raise Fault(f"{key} is an empty list")
        return [turn(item, key) for item in found]
    return [{"role": "assistant", "content": text({key: found}, key)}]
