"""One table of column names: what people's exports and the Hub's most used sets call the parts of a row.

A row whose own keys make no format is read by the first layout whose parts it has. Names are compared without case and
the space around them. `a+b` are two columns, one under the other; `a&b` two texts to compare, each under its name.
"""

import functools
from typing import Any

from factory.data.values import Fault, Value, named

TEXT = """text sentence content utterance utt tweet review review_body comment message headline query question input
    sentence1&sentence2 premise&hypothesis question1&question2 text1&text2 question&sentence
    文本 内容 句子 正文 评论 文字 消息 问题 输入 inhalt nachricht satz anfrage""".split()
LABEL = """label labels category intent class sentiment emotion target topic
    标签 类别 分类 意图 情感 kategorie klasse""".split()
DOCUMENT = """document article dialogue text content source report body
    原文 文章 正文 文档 内容 文本 对话 dokument artikel inhalt""".split()
SUMMARY = "summary highlights abstract tldr 摘要 总结 概要 zusammenfassung".split()
INSTRUCTION = "instruction 指令 anweisung".split()
INPUT = "input context 输入 上下文 eingabe kontext".split()
OUTPUT = "output response answer completion 输出 回答 答案 回复 ausgabe antwort".split()
QUESTION = """context+question passage+question context+query 上下文+问题 材料+问题 kontext+frage
    prompt question query problem input user human source 问题 提问 用户 输入 frage eingabe""".split()
ANSWER = """completion response answer answers output solution canonical_solution best_answer target assistant reply
    回答 答案 答复 回复 输出 antwort ausgabe""".split()
SYSTEM = "system system_prompt 系统 系统提示".split()

LAYOUTS: tuple[dict[str, list[str]], ...] = (
    {"instruction": INSTRUCTION, "output": OUTPUT},
    {"document": DOCUMENT, "summary": SUMMARY},
    {"prompt": QUESTION, "completion": ANSWER},
    {"prompt": ["text"], "completion": ["code"]},
    {"text": TEXT, "label": LABEL},
    {"conversations": ["conversation", "dialog"]},
)
BESIDE = {"input": INPUT, "system": SYSTEM}  # read along where the layout has a use for them


def plain_keys(value: Value, ours: frozenset[str]) -> Value:
    """The row without the space around its keys; a key that is one of `ours` but for its case gets our spelling."""
    names = {key: key.strip() for key in value}
    names = {
        key: name if name in ours or name.casefold() not in ours else name.casefold() for key, name in names.items()
    }
    if len({*names.values()}) < len(names):
        return value
    return {names[key]: item for key, item in value.items()}


def laid_out(value: Value) -> Value | None:
    """The row with its parts under our keys, by the first layout that it fits; None if it fits none. Raises Fault."""
    plan = _plan(tuple(value))
    if plan is None:
        return None
    used = {key for keys, _ in plan.values() for key in keys}
    rest = {key: item for key, item in value.items() if key not in used}
    return rest | {ours: _joined([(k, value[k]) for k in keys], how) for ours, (keys, how) in plan.items()}


@functools.lru_cache(256)
def _plan(keys: tuple[str, ...]) -> dict[str, tuple[list[str], str]] | None:
    known = {key.strip().casefold(): key for key in keys}
    for layout in LAYOUTS:
        found = {ours: hit for ours, names in layout.items() if (hit := _first(names, known))}
        if len(found) < len(layout) or len({key for hit, _ in found.values() for key in hit}) < len(layout):
            continue
        taken = {key for hit, _ in found.values() for key in hit}
        for ours, names in BESIDE.items():
            if ("instruction" in layout or ours == "system") and "text" not in layout:
                hit = _first(names, {name: key for name, key in known.items() if key not in taken})
                found |= {ours: hit} if hit else {}
        return found
    return None


def _first(names: list[str], known: dict[str, str]) -> tuple[list[str], str] | None:
    for name in names:
        how = "&" if "&" in name else "+"
        if all(part in known for part in name.split(how)):
            return [known[part] for part in name.split(how)], how
    return None


def _joined(parts: list[tuple[str, Any]], how: str) -> Any:
    if len(parts) == 1:
        return _said(*parts[0])
    for key, item in parts:
        if not isinstance(item, str):
            raise Fault(f"{key} is {named(item)}, not text: leave it out with data.columns.prompt={parts[-1][0]}")
    texts = [f"{key}: {item}" if how == "&" else item for key, item in parts]
    return ("\n" if how == "&" else "\n\n").join(filter(str.strip, texts))


def _said(key: str, item: Any) -> Any:
    """An answer as sets of questions write it: `{"text": […]}`, `{"value": …}`, true or false, a number."""
    if isinstance(item, dict) and isinstance(item.get("text", item.get("value")), list | str):
        found = item.get("text", item.get("value"))
        if not found:
            raise Fault(f"{key} holds no answer")
        return found if isinstance(found, str) else found[0]
    if key.casefold() in ANSWER and isinstance(item, bool):
        return "yes" if item else "no"
    if key.casefold() in ANSWER and isinstance(item, int | float):
        return str(item)
    if key.casefold() in ANSWER and isinstance(item, list) and item and all(isinstance(one, str) for one in item):
        return item[0]
    return item
