"""Which keys make which format, and how a row of each becomes messages.

`FORMATS` is the table. A row fits a format when it has all keys of one of its key sets and, where two formats share
their keys, the shape that `fits` asks for. If a row fits several formats, the one whose keys contain the others' wins
(`instruction, chosen, rejected` over `chosen, rejected`); where none contains the others, the row is ambiguous.

A converter takes the row's values and returns messages and what else it knows; a `Fault` says why it cannot. Keys that
it does not use are kept in the row's meta.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from factory.data.templated import parsed, without_end
from factory.data.values import (
    Fault,
    Messages,
    Value,
    answer,
    conversation,
    items,
    named,
    optional,
    text,
    truth,
    turn,
    word,
)

Converted = tuple[Messages, Value]


@dataclass(frozen=True)
class Format:
    """`keys`: any of these sets makes the format. `uses`: further keys that the converter reads."""

    convert: Callable[[Value], Iterator[Converted]]
    keys: tuple[frozenset[str], ...]
    uses: frozenset[str] = frozenset()
    fits: Callable[[Value], bool] = lambda value: True
    beside: bool = False  # needs the `file` that the row lies in, for what lies beside it

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


def convert(name: str, value: Value, file: str = "") -> Iterator[Converted]:
    """The row or rows that `value` holds. Raises Fault."""
    form = FORMATS[name]
    value = value | {"file": file} if form.beside else value
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


def texts_under(asked: str, said: str) -> Callable[[Value], Iterator[Converted]]:
    def converter(value: Value) -> Iterator[Converted]:
        pair = (("user", text(value, asked)), ("assistant", text(value, said)))
        yield [{"role": role, "content": content} for role, content in pair], {}

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
    prompt, said = value.get("prompt"), value.get(key)
    if isinstance(prompt, str) and isinstance(said, str):
        if turns := parsed(prompt + said, written=prompt.rstrip().endswith("Assistant:")):
            yield turns, RENDERED
            return
        said = without_end(said)
    yield [*prompted(value), *answer(said, key)], {}


def labelled(value: Value) -> Iterator[Converted]:
    """A text and its label. `label_text` says what a number under `label` means; several labels are one answer."""
    columns = [key for key in LABELS if key in value]
    if value.get("label_text") is not None and "label" in columns:
        columns = ["label_text"]
    if len(columns) > 1:
        raise Fault(f"has both {' and '.join(columns)}: name the one meant by data.columns.label")
    found, several = value[columns[0]], {}
    if isinstance(found, list):
        if not found:
            raise Fault(f"{columns[0]} is an empty list")
        label, several = ", ".join(word({"label": one}, "label") for one in found), {"labels": len(found)}
    else:
        label = word(value, columns[0])
    asked = {"role": "user", "content": text(value, "text")}
    yield [asked, {"role": "assistant", "content": label}], {"label": label, **several}


def chosen_from(value: Value) -> Iterator[Converted]:
    """A question with lettered choices; the answer is the letter of the right one."""
    choices, right = value["choices"], value.get("answerKey", value.get("answer"))
    texts = items(choices.get("text") if isinstance(choices, dict) else choices, "choices")
    letters = items(choices["label"], "choices") if isinstance(choices, dict) and "label" in choices else LETTERS
    letter = letters[right] if isinstance(right, int) and 0 <= right < len(texts) else right
    if not isinstance(letter, str) or letter not in letters[: len(texts)]:
        raise Fault(f"the answer {right!r} is none of the choices")
    lines = [f"{name}. {said}" for name, said in zip(letters, texts, strict=False)]
    asked = "\n".join([text(value, "question"), *lines])
    yield [{"role": "user", "content": asked}, {"role": "assistant", "content": letter}], {}


def raw(value: Value) -> Iterator[Converted]:
    """Text alone: an answer without a question, or a conversation that somebody has rendered."""
    turns = parsed(text(value, "text"))
    yield (turns, RENDERED) if turns else ([{"role": "assistant", "content": text(value, "text")}], {})


def context(value: Value) -> Messages:
    """The turns before an answer, in whatever form."""
    if "messages" in value or "conversations" in value:
        return conversation(value, "messages" if "messages" in value else "conversations")
    if "prompt" in value:
        return prompted(value)
    return alpaca_turns(value) if "instruction" in value else []


def preferred(value: Value) -> Iterator[Converted]:
    """A pair: the row is the conversation that ends with `chosen`; the meta has that which ends with `rejected`, whole,
    for preference training. Both must be the same up to an answer, from which on they differ."""
    chosen, rejected = (answer(value.get(key), key) for key in ("chosen", "rejected"))
    chosen, rejected = (parsed(side[0]["content"]) or side if len(side) == 1 else side for side in (chosen, rejected))
    before = [] if len(chosen) > 1 else context(value)  # a list of messages is the whole conversation
    if not before and len(chosen) == 1:
        raise Fault("has chosen and rejected answers, but no question")
    if rejected[-1]["role"] != "assistant":
        raise Fault("rejected does not end with an answer")
    kept = [*before, *chosen]
    other = rejected if len(rejected) > 1 else [*kept[:-1], *rejected]
    shared = next((n for n, (a, b) in enumerate(zip(kept, other, strict=False)) if a != b), min(len(kept), len(other)))
    if shared == len(other):
        raise Fault("chosen and rejected are the same")
    if other[shared]["role"] != "assistant" or not any(m["role"] == "user" for m in other[:shared]):
        raise Fault(f"chosen and rejected ask different questions (message {shared + 1})")
    yield kept, {"rejected": other}


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


def queried(value: Value) -> Iterator[Converted]:
    """A question to a database and its query; the database lies beside the row's file."""
    from factory.sql.layouts import conversation as asked_of

    yield asked_of(value, Path(value["file"]))


def has_roles(value: Value) -> bool:
    """Whether the first turn of `conversations` says who speaks by `role`, not by `from`."""
    try:
        turns = items(value["conversations"], "conversations")
    except Fault:
        return False
    return bool(turns) and isinstance(turns[0], dict) and "role" in turns[0]


def sets(*names: str) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(name.split()) for name in names)


LABELS = ("label", "category", "intent")
ALPACA = frozenset({"input", "history", "system"})
CHAT = frozenset({"system", "tools"})
RENDERED: Value = {"rendered": True}  # in what a converter knows: the row was rendered by a chat template
LETTERS = [*"ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
ASKED = ("prompt", "instruction", "messages", "conversations")
RATED = ("messages", "conversations", "prompt completion", "instruction output")
FORMATS: dict[str, Format] = {
    "alpaca": Format(alpaca, sets("instruction output"), ALPACA),
    "sharegpt": Format(turns_under("conversations"), sets("conversations"), CHAT,
                       lambda value: not has_roles(value)),
    "conversations": Format(turns_under("conversations"), sets("conversations"), CHAT, has_roles),
    "messages": Format(turns_under("messages"), sets("messages"), CHAT),
    "oasst": Format(texts_under("INSTRUCTION", "RESPONSE"), sets("INSTRUCTION RESPONSE")),
    "completion": Format(completed, sets("prompt completion", "prompt response"), frozenset({"system"})),
    "label": Format(labelled, sets(*(f"text {key}" for key in LABELS)), frozenset({"label_text"})),
    "choice": Format(chosen_from, sets("question choices answer", "question choices answerKey"),
                     fits=lambda value: isinstance(value["choices"], list | dict)),
    "summary": Format(texts_under("document", "summary"), sets("document summary")),
    "text": Format(raw, sets("text")),
    "preference": Format(preferred, sets("chosen rejected", *(f"{key} chosen rejected" for key in ASKED)),
                         ALPACA | {"tools"}),
    "kto": Format(judged, sets(*(f"{rest} {key}" for key in ("label", "kto_tag") for rest in RATED)),
                  ALPACA | {"tools"}, lambda value: truth(value.get("kto_tag", value.get("label"))) is not None),
    "sql": Format(queried, sets(*(f"question {of}" for of in ("db sql", "db_id query", "db_id SQL", "table_id sql"))),
                  frozenset({"evidence", "today", "context", "file"}), beside=True),
    "seeds": Format(seeds, sets("instruction instances")),
}  # fmt: skip
