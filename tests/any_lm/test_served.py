"""An adapter of every architecture that vLLM has code of its own for answers from a real engine as PEFT does here.

Both compute in fp32 over the same NF4 weights, so log-probabilities agree to some 1e-6; a wrong head, scale, window,
prompt or adapter is off by a tenth or more. An engine takes half a minute to start, so only those are served whose code
in vLLM differs: Llama's (here under Mistral, with a window), Qwen3's, Gemma3's, Phi3's (fused projections), Granite's,
and what vLLM runs by transformers' own code (SmolLM3). Qwen2's runs in all the other tests of the server.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from factory.answers import adapted
from factory.base.build import Base, load_model, load_tokenizer
from factory.probe import apart
from factory.registry import aliases, store
from factory.registry.preflight import preflight
from factory.registry.store import Version
from factory.train.fused import train_many
from factory.train.tokens import prompt_ids
from factory.train.trained import Trained
from serve.engine import Engine
from serve.process import Process, Size
from tests.any_lm.conftest import Prepared
from tests.any_lm.learning import PROMPT, job
from tests.any_lm.zoo import ANIMALS, TEXT, Animal

pytestmark = pytest.mark.slow
SERVED = [animal for animal in ANIMALS if animal.served]
SIZE = Size(slots=1, rank=8, held=1, requests=8)
AT_ONCE = 2  # engines that start side by side
TOLERANCE = 1e-4  # of a log-probability, in nats
MESSAGES = [{"role": "system", "content": PROMPT}, {"role": "user", "content": f"mail 1: {TEXT[0]}"}]
ASKED = {"messages": MESSAGES, "max_tokens": 12, "temperature": 0, "logprobs": True, "return_token_ids": True}


@dataclass(frozen=True)
class Answered:
    """What an engine said: the base's answer and the adapter's, each as vLLM's JSON, or why it said nothing. `read` are
    the log-probabilities of a prompt's tokens, the adapter's and the base's, alone and beside answers that go on."""

    base: Base
    version: Version
    answers: dict[str, Any]
    read: list[list[float]] = field(default_factory=list)
    fault: str = ""


@pytest.fixture(scope="module")
def answered(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answered]:
    """Every served animal: trained for two steps, registered, and asked over an engine of its own."""
    folder = tmp_path_factory.mktemp("served")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACTORY_PRECISION", "fp32")
        made = {animal.name: _registered(animal, prepared(animal), folder) for animal in SERVED}
        return asyncio.run(_ask_all(made, folder))


def _registered(animal: Animal, base: Base, folder: Path) -> Answered:
    learned = job(load_tokenizer(base), folder / animal.name, animal.name, batch=8, lr=5e-2)
    (trained,) = train_many([learned], base, load_model(base))
    assert isinstance(trained, Trained)
    version = store.add(trained.adapter, store.facts_of(learned.recipe, base))
    aliases.register(version)
    preflight(version, base, SIZE.rank)
    return Answered(base, version, {})


async def _ask_all(made: dict[str, Answered], folder: Path) -> dict[str, Answered]:
    door = asyncio.Semaphore(AT_ONCE)

    async def ask(name: str, one: Answered) -> Answered:
        async with door, Engine(Process(one.base, SIZE, one.base.label, folder / f"{name}.log")) as engine:
            try:
                await engine.start()
                await engine.load(one.version.name, one.version.folder)
                for model in (one.base.label, one.version.name):
                    async with engine.session.post("/v1/chat/completions", json={"model": model, **ASKED}) as reply:
                        one.answers[model] = await reply.json()
                one.read.extend([await engine.read(model, MESSAGES) for model in one.answers])
                one.read.extend(await _read_beside(engine, list(one.answers)))
            except Exception as error:
                return replace(one, fault=str(error))
            return one

    return dict(zip(made, await asyncio.gather(*(ask(*item) for item in made.items())), strict=True))


async def _read_beside(engine: Engine, models: list[str]) -> list[list[float]]:
    """What `Engine.read` gives while three answers of each of the models are being written."""
    replies = []
    for model in models * 3:
        long = {"model": model, "messages": MESSAGES, "max_tokens": 150, "ignore_eos": True, "stream": True}
        replies.append(await engine.session.post("/v1/chat/completions", json=long))
        await replies[-1].content.readline()
    read = [await engine.read(model, MESSAGES) for model in models]
    rest = [await reply.text() for reply in replies]
    assert all(text.rstrip().endswith("[DONE]") for text in rest), rest
    return read


@pytest.mark.parametrize("name", [animal.name for animal in SERVED])
def test_the_engine_answers_as_peft_does(
    answered: dict[str, Answered], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACTORY_PRECISION", "fp32")
    one = answered[name]
    assert not one.fault, one.fault
    model, prompt = load_model(one.base).eval(), prompt_ids(load_tokenizer(one.base), MESSAGES)
    said = {}
    for asked, answer in one.answers.items():
        assert "choices" in answer, answer
        (choice,) = answer["choices"]
        assert answer["prompt_token_ids"] == prompt
        theirs = torch.tensor([token["logprob"] for token in choice["logprobs"]["content"]])
        with adapted(model, one.version.folder) if asked == one.version.name else nullcontext(model) as here:
            mine = _follow(here, prompt, choice["token_ids"])
        assert mine.argmax(-1).tolist() == choice["token_ids"]
        assert (mine.max(-1).values - theirs).abs().max() < TOLERANCE
        said[asked] = choice["token_ids"], theirs
    (bare, bare_logs), (own, own_logs) = said[one.base.label], said[one.version.name]
    alone, beside = one.read[:2], one.read[2:]
    assert apart(alone[:1], alone[1:]) > 10 * TOLERANCE > 10 * apart(alone, beside)
    assert bare != own or (bare_logs - own_logs).abs().max() > 1000 * TOLERANCE


@torch.no_grad()
def _follow(model: Any, prompt: list[int], answer: list[int]) -> torch.Tensor:
    """Log-probabilities [tokens of the answer, vocabulary] of what could stand at each place of the answer."""
    logits = model(input_ids=torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
    return logits.float().log_softmax(-1)
