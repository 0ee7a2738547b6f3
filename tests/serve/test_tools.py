"""Tools: which parser a base gets, and what a caller hears whose base has none. The engine is a fake one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from factory.base.build import Base, load_tokenizer
from serve.process import Size, command, tool_parser
from tests.any_lm.zoo import ANIMALS, Animal, make_tokenizer
from tests.fakes.adapters import register
from tests.fakes.serving import Fake, fake_base, fake_server

TOOL = {"type": "function", "function": {"name": "note", "parameters": {"type": "object", "properties": {}}}}
NAMED = {"type": "function", "function": {"name": "note"}}
USER = [{"role": "user", "content": "x"}]


def of(animal: Animal, folder: Path) -> Base:
    """A base of which only the tokenizer is there."""
    make_tokenizer(animal).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 512}))
    return Base(animal.name, animal.name, "1", "f" * 64, folder, 1e-3)


@pytest.mark.parametrize("animal", ANIMALS, ids=lambda animal: animal.name)
def test_the_parser_is_the_one_whose_mark_template_and_tokenizer_hold(animal: Animal, tmp_path: Path) -> None:
    base = of(animal, tmp_path)
    assert tool_parser(base) == animal.parser
    words = command(base, {"uds": "x"}, Size(), base.label)
    assert [word for word in words if "tool" in word] == (
        [f"--tool-call-parser={animal.parser}", "--enable-auto-tool-choice"] if animal.parser else []
    )


def test_the_token_alone_or_the_template_alone_is_not_enough(tmp_path: Path) -> None:
    llama3 = next(animal for animal in ANIMALS if animal.name == "llama3")
    no_token = replace(llama3, specials=[token for token in llama3.specials if "python" not in token])
    assert tool_parser(of(no_token, tmp_path / "no token")) == ""
    assert tool_parser(of(replace(llama3, template="zephyr"), tmp_path / "no tools")) == ""
    assert "<|python_tag|>" in load_tokenizer(of(llama3, tmp_path / "both")).get_vocab()


def ask(fake: Fake, **more: Any) -> Any:
    client = openai.OpenAI(base_url=f"{fake.url}/v1", api_key="none", max_retries=0)
    return client.chat.completions.create(**({"model": "summary", "messages": USER, "max_tokens": 2} | more))


@pytest.mark.parametrize("choice", [{}, {"tool_choice": "auto"}, {"tool_choice": "required"}, {"tool_choice": NAMED}])
@pytest.mark.parametrize("model", ["summary", "summary@v1", "tiny"])
def test_a_base_without_a_parser_says_that_it_answers_without_tools(calm: Fake, model: str, choice: Any) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(calm, model=model, tools=[TOOL], **choice)
    error = caught.value
    assert (error.code, error.param, error.type) == ("tools_unsupported", "tools", "invalid_request_error")
    assert error.message.count("tiny, the base of this model, answers without tools") == 1


def test_tools_that_shall_not_be_called_are_no_reason_to_refuse(calm: Fake) -> None:
    assert ask(calm, tools=[TOOL], tool_choice="none").choices[0].message.content
    assert ask(calm, tools=[]).choices[0].message.content
    stream = {"model": "summary", "messages": USER, "tools": [TOOL], "stream": True}
    assert httpx.post(f"{calm.url}/v1/chat/completions", json=stream).status_code == 400


def test_a_base_with_a_parser_gets_them(place: Path) -> None:
    base = fake_base()
    make_tokenizer(next(animal for animal in ANIMALS if animal.parser == "hermes")).save_pretrained(base.folder)
    register(base, "summary", 1)
    with fake_server(place) as fake:
        assert ask(fake, tools=[TOOL], tool_choice="auto").choices[0].message.content
