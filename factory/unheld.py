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
STRINGS = ("pattern", "minLength", "maxLength")  # what it knows of strings, where it is said that one stands there
UNKNOWN = {
    "integer": ("multipleOf",),
    "number": ("multipleOf",),
    "array": ("uniqueItems", "contains", "minContains", "maxContains"),
}


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
    said = one.get("type")
    types = said if isinstance(said, list) else [said]
    form, told = str(one.get("format", "")), [key for key in STRINGS if key in one]
    if told and said is None:
        yield f"without a type the engine ignores {' and '.join(told)}: say type: string beside them"
    elif told and form in FORMATS:
        yield f"beside the format {form} the engine ignores {' and '.join(told)}: leave them out, or the format"
    elif "pattern" in told and len(told) > 1:
        yield (
            "beside a pattern the engine ignores minLength and maxLength: say the length in the pattern, as "
            "^[a-z]{2,30}$ does, and take them out"
        )
    if form and form not in FORMATS and "string" in types:
        yield f"the engine knows no format {form[:80]!r}: leave it out, or say it as a pattern"
    for key in dict.fromkeys(key for kind in UNKNOWN if kind in types for key in UNKNOWN[kind] if key in one):
        yield f"the engine takes no {key}: leave it out, and look at what comes"
    if isinstance(parts := one.get("allOf"), list) and len(parts) > 1:
        yield f"the engine ignores all {len(parts)} parts of allOf, as there are several: write them as one schema"
    named = [key for key in ("properties", "patternProperties", "propertyNames") if key in one]
    if "object" in types and len(named) > 1:
        yield f"the engine takes {' and '.join(named)} one without the other: leave one of them out"
