"""The server's answers are the trained adapter's: vLLM against PEFT over the same 4-bit checkpoint.

Both compute in bf16 over the same NF4 weights, but in other orders: vLLM fuses q, k and v, rounds the adapter's weights
to bf16 and adds its output in bf16, PEFT keeps them in fp32. bf16 has 8 bits of mantissa, so a logit of 10 is known to
about 0.04; over a few layers that gives differences of some hundredths in a log-probability. TOLERANCE is what the mean
difference may be; a wrong adapter, a wrong prompt or the bare base are off by one or more.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from factory.base.build import load_model, load_tokenizer
from factory.data.rows import Row
from factory.registry.store import Version
from factory.train.tokens import prompt_ids
from tests.conftest import Server
from tests.serve import trained
from tests.serve.load import until

pytestmark = pytest.mark.slow
TOLERANCE = 0.05  # mean absolute difference of log-probabilities, in nats
EQUAL = 0.95  # share of prompts whose greedy answers are the same
PROMPTS = 20  # of each task, from the rows it learned
LENGTH = 16  # tokens of an answer at most

Learned = dict[str, tuple[Version, list[Row]]]


@pytest.fixture(scope="module")
def learned(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Learned:
    """Small adapters of three tasks, which the server knows."""
    made = trained.train(server.base, tmp_path_factory.mktemp("runs"), "trained-")
    for version, _ in made.values():
        assert until(lambda name=version.name: httpx.get(f"{server.url}/v1/models/{name}").status_code == 200)
    return made


@pytest.fixture(scope="module")
def peft(server: Server, learned: Learned) -> Any:
    from peft import PeftModel

    first, *others = learned
    model = PeftModel.from_pretrained(
        load_model(server.base), learned[first][0].folder, adapter_name=first, autocast_adapter_dtype=False
    )
    for task in others:
        model.load_adapter(learned[task][0].folder, task, autocast_adapter_dtype=False)
    return model.eval()


def ask(server: Server, model: str, messages: list[dict[str, Any]]) -> dict[str, Any]:
    """A greedy answer with its token ids and log-probabilities; free, also where labels constrain it."""
    request = {
        "model": model,
        "messages": messages,
        "max_tokens": LENGTH,
        "temperature": 0,
        "logprobs": True,
        "return_token_ids": True,
        "response_format": {"type": "text"},
    }
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=request, timeout=300)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.parametrize("task", trained.TASKS)
def test_vllm_answers_as_peft_does(server: Server, learned: Learned, peft: Any, task: str) -> None:
    import torch

    tokenizer = load_tokenizer(server.base)
    version, rows = learned[task]
    peft.set_adapter(task)
    differences, equal, as_base = [], 0, 0
    for row in rows[:PROMPTS]:
        turns = [*row.with_system(version.facts.prompt).turns]
        prompt = prompt_ids(tokenizer, turns)
        answer = ask(server, version.name, [*row.turns])
        assert answer["prompt_token_ids"] == prompt
        choice = answer["choices"][0]
        theirs = [token["logprob"] for token in choice["logprobs"]["content"]]
        with torch.no_grad():
            ids = torch.tensor([prompt + choice["token_ids"]])
            logits = peft(input_ids=ids).logits[0, len(prompt) - 1 : -1].float()
            mine = logits.log_softmax(-1).gather(1, ids[0, len(prompt) :, None])[:, 0]
            own = peft.generate(
                input_ids=ids[:, : len(prompt)],
                attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                do_sample=False,
                max_new_tokens=LENGTH,
            )[0, len(prompt) :]
        differences += [abs(a - b) for a, b in zip(mine.tolist(), theirs, strict=True)]
        equal += own.tolist() == choice["token_ids"]
        as_base += ask(server, server.base.label, turns)["choices"][0]["token_ids"] == choice["token_ids"]
    mean = sum(differences) / len(differences)
    print(f"{task}: mean {mean:.4f}, largest {max(differences):.4f}, equal {equal}/{PROMPTS}, as base {as_base}")
    assert mean < TOLERANCE
    assert equal >= EQUAL * PROMPTS
    assert as_base < PROMPTS / 4
