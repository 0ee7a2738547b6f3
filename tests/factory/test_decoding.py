"""The form of answers: read from the recipe, held in the data, in grading and in the server."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from evals.fields import read
from factory.base.build import Base, load_model, load_tokenizer
from factory.data.build import build
from factory.data.rows import Row
from factory.decoding import Decoding, Forms
from factory.errors import InputError
from factory.recipe import load
from serve.shape import complete
from tests.fakes.adapters import facts

MODEL = """from pydantic import BaseModel


class Item(BaseModel):
    name: str


class Form(BaseModel):
    topic: str
    items: list[Item] = []
"""
SCHEMA = {"type": "object", "properties": {"ok": {"enum": [True, False]}}, "required": ["ok"]}
SCHEMA["additionalProperties"] = False


@pytest.fixture
def forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "adapters" / "forms"
    folder.mkdir(parents=True)
    (tmp_path / "adapters" / "defaults.yaml").write_text("base: auto\n")
    (folder / "form.py").write_text(MODEL)
    (folder / "recipe.yaml").write_text(
        "kind: general\ndata: {near: 0, tune: tune.jsonl}\ndecoding: {json_schema: adapters/forms/form.py:Form}\n"
    )
    monkeypatch.chdir(tmp_path)
    return folder


def line(asked: str, said: str) -> str:
    return json.dumps({"prompt": asked, "completion": said}) + "\n"


def test_a_pydantic_model_is_the_schema_and_other_answers_are_dropped(forms: Path, base: Base) -> None:
    recipe = load("forms", {"base": base.name})
    assert list(json.loads(recipe.decoding.json_schema)["properties"]) == ["topic", "items"]
    right = '{"topic":"late","items":[{"name":"rug"}]}'
    wrong = ['{"items":[],"topic":"late"}', '{"topic": "late"}', "late", '{"topic":"late"}.']
    (forms / "train.jsonl").write_text("".join(line(f"order {i}", said) for i, said in enumerate([right, *wrong])))
    (forms / "tune.jsonl").write_text(line("party", right))
    (forms / "eval.jsonl").write_text(line("note", right) + line("trip", wrong[0]))
    built = build(recipe, load_tokenizer(base), other_evals={})
    assert [[row.answer for row in part] for part in (built.train, built.tune, built.eval)] == [[right]] * 3
    assert {d.reason for d in built.dropped()} == {"the answer is not of the form that decoding.json_schema asks for"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"decoding.json_schema": "adapters/forms/form.py:Frm"}, "has no function Frm"),
        ({"decoding.json_schema": "adapters/forms/frm.py:Form"}, "the project has no file adapters/forms/frm.py"),
        ({"decoding.json_schema": "Form"}, "neither JSON nor"),
        ({"decoding.regex": "a+"}, "give one of them"),
    ],
)
def test_what_is_wrong_with_a_form_is_told(forms: Path, changes: dict[str, str], why: str) -> None:
    with pytest.raises(InputError, match=why):
        load("forms", changes)


LENGTHS = """kind: general
decoding:
  json_schema:
    type: object
    properties:
      pattern: {type: string, maxLength: 9}
      maxLength: {enum: [{pattern: x, maxLength: 1}]}
      items:
        type: array
        items:
          type: object
          properties:
            name: {type: string, pattern: "^[a-z]+$", maxLength: 30}
            code: {type: string, minLength: 2, pattern: "^[A-Z]+$"}
"""
CONSTRAINED = """from typing import Annotated
from pydantic import BaseModel, Field


class Form(BaseModel):
    code: Annotated[str, Field(pattern="^[A-Z]+$", max_length=4)]
"""


def test_a_length_that_would_not_be_held_is_refused(forms: Path) -> None:
    """xgrammar goes by the pattern alone: the form lets through what the schema forbids."""
    said = {"type": "object", "properties": {"n": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 3}}}
    form = Forms(Decoding(json_schema=json.dumps(said | {"required": ["n"]}))).of(())
    assert form and form.lets('{"n":"abcd"}')
    path = forms / "recipe.yaml"
    path.write_text(LENGTHS)
    with pytest.raises(InputError) as refused:
        load("forms")
    told = [str(problem) for problem in refused.value.problems]
    at = "decoding.json_schema.properties.items.items.properties"
    assert [line.split(": beside")[0] for line in told] == [
        f"adapters/forms/recipe.yaml:{line}: {at}.{name}" for line, name in ((13, "name"), (14, "code"))
    ]
    assert "say the length in the pattern, as ^[a-z]{2,30}$ does, and take them out" in told[0]
    path.write_text("kind: general\ndecoding:\n  json_schema: adapters/forms/form.py:Form\n")
    (forms / "form.py").write_text(CONSTRAINED)
    with pytest.raises(InputError, match=r"recipe.yaml:3: decoding.json_schema.properties.code: beside a pattern"):
        load("forms")
    with pytest.raises(InputError, match=r"decoding.json_schema.properties.n: beside a pattern"):
        load("forms", {"decoding.json_schema": json.dumps(said)})


KNOWN = {
    "date": "2026-11-30", "date-time": "2026-11-30T10:00:00Z", "duration": "P1DT1H", "email": "someone@example.org",
    "hostname": "www.example.org", "ipv4": "10.11.12.13", "ipv6": "fe80:0:0:0:0:0:0:1", "json-pointer": "/a/long/one",
    "relative-json-pointer": "1/a/long", "time": "10:00:00Z", "uri": "http://example.org/long",
    "uri-reference": "/a/long/one", "uri-template": "/a/{b}/long", "uuid": "123e4567-e89b-12d3-a456-426614174000",
}  # fmt: skip
NOT_HELD: list[tuple[dict[str, Any], Any, str]] = [
    *(
        ({"type": "string", "format": name, "maxLength": 3}, text, f"beside the format {name} the engine ignores")
        for name, text in KNOWN.items()
    ),
    ({"type": ["string", "null"], "format": "date", "minLength": 90}, "2026-11-30", "beside the format date"),
    ({"type": "string", "format": "date", "pattern": "^a$"}, "2026-11-30", "format date the engine ignores pattern"),
    ({"type": "string", "format": "binary"}, "?", "the engine knows no format 'binary'"),
    ({"maxLength": 3}, "long", "without a type the engine ignores maxLength: say type: string"),
    ({"anyOf": [{"type": "string"}], "pattern": "^a$", "minLength": 9}, "b", "ignores pattern and minLength"),
    ({"allOf": [{"type": "string"}], "maxLength": 3}, "long", "beside allOf the engine ignores maxLength"),
    ({"anyOf": [{"type": "integer"}], "oneOf": [{"type": "string"}]}, 3, "beside anyOf the engine ignores oneOf"),
    ({"enum": ["a", "long"], "maxLength": 3}, "long", "beside enum the engine ignores maxLength"),
    ({"type": "object", "anyOf": [{"enum": [{}]}], "required": ["a"]}, {}, "beside anyOf the engine ignores required"),
    ({"type": "string", "not": {"const": "a"}}, "a", "the engine takes no not"),
    (
        {"type": "object", "properties": {"a": {"enum": [1]}}, "dependentRequired": {"a": ["b"]}},
        {"a": 1},
        "the engine takes no dependentRequired",
    ),
    ({"minimum": 3}, 2, "without a type the engine ignores minimum: say type: number"),
    ({"minItems": 3}, [], "without a type the engine ignores minItems: say type: array"),
    ({"type": "object", "additionalProperties": {"enum": [1]}, "required": ["a"]}, {}, "say there what 'a' is"),
    ({"type": "object", "properties": {"b": {"enum": [1]}}, "required": ["a"]}, {"b": 1}, "say there what 'a' is"),
    ({"allOf": [{"type": "string"}, {"enum": ["a"]}]}, 3, "ignores all 2 parts of allOf"),
    ({"type": "number", "multipleOf": 0.5}, 0.3, "the engine takes no multipleOf"),
    ({"type": "array", "items": {"enum": [1]}, "uniqueItems": True}, [1, 1], "the engine takes no uniqueItems"),
    ({"type": "array", "items": {"enum": [1, 2]}, "contains": {"enum": [1]}}, [2], "the engine takes no contains"),
    (
        {"type": "object", "properties": {"b": {"enum": [1]}}, "propertyNames": {"type": "string", "pattern": "^a$"}},
        {"b": 1},
        "the engine takes properties and propertyNames one without the other",
    ),
]  # schemas, what they forbid and the engine writes all the same, and what is told
HELD: list[dict[str, Any]] = [
    {"type": "string", "format": "date"},
    {"type": "string", "maxLength": 3},
    {"allOf": [{"type": "string", "maxLength": 3}]},
    {"type": "integer", "format": "int32"},
    {"type": "string", "enum": ["a"], "title": "A", "description": "b", "default": "a"},
    {"anyOf": [{"type": "string", "maxLength": 3}, {"type": "null"}], "default": None},
    {"items": {"type": "integer"}, "minItems": 1},
    {"properties": {"not": {"type": "integer"}}, "required": ["not"]},
    {"enum": [{"allOf": [1, 2], "format": "date", "maxLength": 3}]},
    {"type": "object", "properties": {"format": {"type": "string"}, "maxLength": {"type": "integer"}}},
    {"type": "string", "pattern": "^a$"},
    {"type": "object", "propertyNames": {"maxLength": 3}, "additionalProperties": {"type": "integer"}},
]


@pytest.mark.parametrize(("schema", "written", "why"), NOT_HELD, ids=str)
def test_what_a_schema_forbids_in_vain_is_told(forms: Path, schema: dict[str, Any], written: Any, why: str) -> None:
    form = Forms(Decoding(json_schema=json.dumps(schema))).of(())
    assert form and form.lets(json.dumps(written, separators=(",", ":")))
    whole = {"type": "object", "properties": {"one": schema}}
    with pytest.raises(InputError, match=re.escape("decoding.json_schema.properties.one: ")) as refused:
        load("forms", {"decoding.json_schema": json.dumps(whole)})
    assert why in str(refused.value) and len(refused.value.problems) == 1


@pytest.mark.parametrize("schema", HELD, ids=str)
def test_what_the_engine_holds_is_no_problem(forms: Path, schema: dict[str, Any]) -> None:
    whole = {"type": "object", "properties": {"one": schema}}
    assert load("forms", {"decoding.json_schema": json.dumps(whole)}).decoding.json_schema


def test_answers_in_this_process_are_of_the_form(base: Base) -> None:
    from factory.answers import answer

    model, tokenizer = load_model(base), load_tokenizer(base)
    rows = [Row(({"role": "user", "content": text},)) for text in ("order", "party trip")]
    how = Decoding(json_schema=json.dumps(SCHEMA), max_tokens=40)
    assert all(read(said) in ({"ok": True}, {"ok": False}) for said in answer(model, tokenizer, rows, how))
    assert set(answer(model, tokenizer, rows, Decoding(regex="yes|no"))) <= {"yes", "no"}


def test_a_thing_of_triage_is_lower_case_and_within_its_length() -> None:
    form = Forms(load("triage").decoding).of(())
    names = ["rug", "t-shirt", "x" * 30, " yoga mat", "yoga mat ", "Rug", "x", "x" * 31]
    forms = [json.dumps({"topic": "late", "items": [{"name": name}]}, separators=(",", ":")) for name in names]
    assert form and [form.lets(text) for text in forms] == [True] * 3 + [False] * 5


def test_each_answer_in_this_process_is_held_to_the_grammar_of_its_own_prompt(base: Base) -> None:
    """Where a prompt shows no table, its answer is what the base says by itself."""
    from factory.answers import answer

    model, tokenizer = load_model(base), load_tokenizer(base)
    asked: list[dict[str, str]] = [{"role": "user", "content": "order"}]
    shown = [{"role": "system", "content": f"# {table}\nid int key\nfloor int"} for table in ("rooms", "lifts")]
    rows = [Row(turns) for turns in ((shown[0], *asked), tuple(asked), (shown[1], *asked))]
    how = Decoding(grammar="sql", max_tokens=200)
    said = answer(model, tokenizer, rows, how)
    for row, text, table in zip(rows[::2], said[::2], ("rooms", "lifts"), strict=True):
        form = Forms(how).of(row.turns)
        assert form and f" FROM {table}" in text and form.lets(text), text
    assert said[1] == answer(model, tokenizer, [rows[1]], Decoding(max_tokens=200))[0]


def test_a_request_gets_the_version_s_form_unless_it_asks_for_another(base: Base) -> None:
    version = facts(base, "forms", decoding=Decoding(json_schema=json.dumps(SCHEMA)))
    asked = {"messages": [{"role": "user", "content": "order"}]}
    sent = complete(asked | {"stop": ["}"]}, "x", version)
    assert sent["structured_outputs"] == {"json": SCHEMA} and "stop" not in sent and "json_schema" not in sent
    free = complete(asked | {"response_format": {"type": "json_object"}}, "x", version)
    assert "structured_outputs" not in free
    assert "structured_outputs" not in complete(asked, "x", facts(base, "free"))


def test_versions_without_a_form_are_told_as_before() -> None:
    assert Decoding().model_dump() == {"max_tokens": 128, "temperature": 0.0, "top_p": 1.0}
