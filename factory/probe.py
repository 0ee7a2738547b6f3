"""Does an adapter do anything, and what it did when it was made? Told by the log-probabilities of a few known texts.

An engine may ignore modules of an adapter without a word, or let an adapter change what others answer. So the tokens
of a conversation are scored when a version is made, and again by every engine that loads it.
"""

from collections.abc import Sequence
from typing import Any

from factory.registry import store
from factory.registry.store import Version

NOTE = "probe"  # the document beside a version
Messages = list[dict[str, str]]
Scores = list[list[float]]  # of each conversation's tokens, in nats


def conversations(prompt: str) -> list[Messages]:
    """What a version with that system prompt is asked before it goes live: a greeting."""
    system = [{"role": "system", "content": prompt}] if prompt else []
    return [[*system, {"role": "user", "content": "Hello"}]]


def remember(version: Version, scores: Sequence[Sequence[float]]) -> None:
    """Note what the version gave when it was made."""
    store.note(version, NOTE, {"logprobs": scores})


def of_version(version: Version, model: Any, tokenizer: Any) -> Scores:
    """What the version's adapter over `model`, its base, gives for its conversations."""
    from factory.answers import adapted, dequantised

    with adapted(model, version.folder) as peft, dequantised(peft):
        peft.eval()
        return of_model(peft, tokenizer, version.facts.prompt)


def of_model(model: Any, tokenizer: Any, prompt: str) -> Scores:
    """What a model as it is, an adapter over it or none, gives for the conversations of that system prompt."""
    from factory.train.tokens import prompt_ids

    return [_logprobs(model, prompt_ids(tokenizer, tuple(turns))) for turns in conversations(prompt)]


def apart(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> float:
    """The mean absolute difference between two scorings of the same conversations; infinite if their tokens differ."""
    if [len(a) for a in one] != [len(b) for b in other]:
        return float("inf")
    differences = [abs(x - y) for a, b in zip(one, other, strict=True) for x, y in zip(a, b, strict=True)]
    return sum(differences) / max(len(differences), 1)


def _logprobs(model: Any, ids: Sequence[int]) -> list[float]:
    """Of each token but the first, given those before it."""
    import torch

    with torch.inference_mode():
        given = torch.tensor([list(ids)], device=model.device)
        scores = model(input_ids=given).logits[0, :-1].float().log_softmax(-1)
        return [round(float(x), 5) for x in scores.gather(1, given[0, 1:, None])[:, 0]]
