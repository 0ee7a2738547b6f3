"""What of a JSON schema the engine would not hold an answer to: xgrammar passes over it in silence, or vLLM refuses the
whole request without saying where it stands. A recipe's schema and a caller's are told the same here."""

from collections.abc import Iterator
from typing import Any

from factory.strict import Key

# Keys of JSON Schema under which stand schemas by name, and those under which no schema stands.
NAMED, DATA = ("properties", "patternProperties", "$defs", "definitions"), ("enum", "const", "default", "examples")
FORMATS = frozenset(
    """date date-time duration email hostname ipv4 ipv6 json-pointer relative-json-pointer time uri uri-reference
    uri-template uuid""".split()
)  # those that xgrammar knows; it passes over others
# The first of these that a schema has is all that xgrammar reads of it.
ALONE = ("$ref", "const", "enum", "anyOf", "oneOf", "allOf")
# What narrows values of a type, read where that type is said; the first three of arrays and objects say it themselves.
NARROW = {
    "string": ("pattern", "format", "minLength", "maxLength"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    "array": ("items", "prefixItems", "unevaluatedItems", "minItems", "maxItems"),
    "object": ("properties", "additionalProperties", "unevaluatedProperties", "patternProperties", "propertyNames",
               "required", "minProperties", "maxProperties"),
}  # fmt: skip
SAID = {key: kind for kind in ("array", "object") for key in NARROW[kind][:3]}
NEVER = (
    "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "dependencies", "multipleOf", "uniqueItems",
    "contains", "minContains", "maxContains",
)  # fmt: skip


def unheld(schema: Any) -> Iterator[tuple[Key, str]]:
    """Where in a schema something stands that no answer would be held to, and what to do."""
    left: list[tuple[Key, Any]] = [((), schema)]
    while left:
        at, one = left.pop(0)
        if isinstance(one, list):
            left += [((*at, number), part) for number, part in enumerate(one)]
        elif isinstance(one, dict):
            known = {"type": "string"} if at[-1:] == ("propertyNames",) else {}
            yield from ((at, why) for why in _passed_over(known | one))
            for key, part in one.items():
                if key in NAMED and isinstance(part, dict):
                    left += [((*at, key, name), named) for name, named in part.items()]
                elif key not in DATA:
                    left.append(((*at, key), part))


def _passed_over(one: dict[str, Any]) -> Iterator[str]:
    if unread := [key for key in NEVER if key in one]:
        yield f"the engine takes no {' and no '.join(unread)}: leave it out, and look at what comes"
    if isinstance(parts := one.get("allOf"), list) and len(parts) > 1:
        yield f"the engine ignores all {len(parts)} parts of allOf, as there are several: write them as one schema"
    narrow = [key for keys in NARROW.values() for key in keys if key in one]
    if head := next((key for key in ALONE if key in one), ""):
        if unread := narrow + [key for key in ALONE if key in one and key != head]:
            yield f"beside {head} the engine ignores {' and '.join(unread)}: write one schema that says all of it"
        return
    said = one.get("type") or next((kind for key, kind in SAID.items() if key in one), None)
    types = said if isinstance(said, list) else [said]
    if said is None and narrow:
        kind = next(kind for kind, keys in NARROW.items() if narrow[0] in keys)
        yield f"without a type the engine ignores {' and '.join(narrow)}: say type: {kind} beside them"
    if "string" in types:
        yield from _strings(one)
    if "object" in types:
        yield from _objects(one)


def _strings(one: dict[str, Any]) -> Iterator[str]:
    form, told = str(one.get("format", "")), [key for key in NARROW["string"] if key in one and key != "format"]
    if told and form in FORMATS:
        yield f"beside the format {form} the engine ignores {' and '.join(told)}: leave them out, or the format"
    elif "pattern" in told and len(told) > 1:
        yield (
            "beside a pattern the engine ignores minLength and maxLength: say the length in the pattern, as "
            "^[a-z]{2,30}$ does, and take them out"
        )
    if form and form not in FORMATS:
        yield f"the engine knows no format {form[:80]!r}: leave it out, or say it as a pattern"


def _objects(one: dict[str, Any]) -> Iterator[str]:
    named = [key for key in ("properties", "patternProperties", "propertyNames") if key in one]
    if len(named) > 1:
        yield f"the engine takes {' and '.join(named)} one without the other: leave one of them out"
    known, needed = one.get("properties", {}), one.get("required", [])
    listed = isinstance(known, dict) and isinstance(needed, list)
    if unknown := [key for key in needed if key not in known] if listed else []:
        yield f"the engine asks only for what properties has: say there what {str(unknown[0])[:80]!r} is"
