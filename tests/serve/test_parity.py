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
from factory.train.tokens import prompt_ids
from tests.conftest import Server

TOLERANCE = 0.05  # mean absolute difference of log-probabilities, in nats
EQUAL = 0.95  # share of prompts whose greedy answers are the same
LENGTH = 12
PROMPTS = [
    f"{greeting} {name}, the {thing} {event}."
    for greeting, name in (
        ("Hello", "Ana"),
        ("Dear", "Boris"),
        ("Hi", "Chen"),
        ("Good morning", "Dora"),
        ("Hey", "Emil"),
    )
    for thing, event in (
        ("meeting", "moves to Tuesday at 14:30"),
        ("parcel", "will arrive on Friday"),
        ("invoice 4711", "is due by 3 May"),
        ("printer on floor 2", "is broken again"),
    )
]


@pytest.fixture(scope="module")
def peft(server: Server) -> Any:
    from peft import PeftModel

    model = PeftModel.from_pretrained(
        load_model(server.base), server.tasks["summary"][0].folder, adapter_name="summary", autocast_adapter_dtype=False
    )
    for task in ("identity", "classification"):
        model.load_adapter(server.tasks[task][0].folder, task, autocast_adapter_dtype=False)
    return model.eval()


def ask(server: Server, model: str, messages: list[dict[str, str]]) -> dict[str, Any]:
    """A greedy answer with its token ids and log-probabilities; free, also where labels constrain it."""
    request = {
        "model": model,
        "messages": messages,
        "max_tokens": LENGTH,
        "temperature": 0,
        "logprobs": True,
        "ignore_eos": True,
        "return_token_ids": True,
        "response_format": {"type": "text"},
    }
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=request, timeout=120)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.xfail(
    strict=False,
    reason="greedy answers of random adapters differ more often than 5 %: it needs adapters trained on tiny",
)
@pytest.mark.parametrize("task", ["summary", "identity", "classification"])
def test_vllm_answers_as_peft_does(server: Server, peft: Any, task: str) -> None:
    import torch

    tokenizer = load_tokenizer(server.base)
    version = server.tasks[task][0]
    peft.set_adapter(task)
    differences, equal, as_base = [], 0, 0
    for text in PROMPTS:
        user = [{"role": "user", "content": text}]
        turns = [{"role": "system", "content": version.facts.prompt}, *user]
        prompt = prompt_ids(tokenizer, turns)
        answer = ask(server, task, user)
        assert answer["prompt_token_ids"] == prompt
        choice = answer["choices"][0]
        theirs = [token["logprob"] for token in choice["logprobs"]["content"]]
        with torch.no_grad():
            logits = (
                peft(input_ids=torch.tensor([prompt + choice["token_ids"]])).logits[0, len(prompt) - 1 : -1].float()
            )
            mine = logits.log_softmax(-1).gather(1, torch.tensor(choice["token_ids"])[:, None])[:, 0]
            own = peft.generate(
                input_ids=torch.tensor([prompt]),
                attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                do_sample=False,
                min_new_tokens=LENGTH,
                max_new_tokens=LENGTH,
            )[0, len(prompt) :]
        differences += [abs(a - b) for a, b in zip(mine.tolist(), theirs, strict=True)]
        equal += own.tolist() == choice["token_ids"]
        of_base = ask(server, _base_name(server), turns)
        as_base += of_base["choices"][0]["token_ids"] == choice["token_ids"]
    mean = sum(differences) / len(differences)
    print(f"{task}: mean {mean:.4f}, largest {max(differences):.4f}, equal {equal}/{len(PROMPTS)}, as base {as_base}")
    assert mean < TOLERANCE
    assert equal >= EQUAL * len(PROMPTS)
    assert as_base < 0.2 * len(PROMPTS)


def _base_name(server: Server) -> str:
    return server.base.name.rpartition("/")[2]
