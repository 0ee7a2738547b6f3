"""Does an adapter do anything, and what it did when it was made? Told by the log-probabilities of a few known texts.

An engine may ignore modules of an adapter without a word, or let an adapter change what others answer. So the tokens
of the conversations noted with a version are scored when it is made, and again by every engine that loads it.
"""

from collections.abc import Sequence
from typing import Any

from factory.registry import store
from factory.registry.store import Version

NOTE = "probe"  # the document beside a version
Messages = list[dict[str, str]]


def conversations(version: Version) -> list[Messages]:
    """What a version is asked before it goes live: the texts noted with it, else a greeting."""
    system = [{"role": "system", "content": version.facts.prompt}] if version.facts.prompt else []
    texts = store.noted(version, "golden") or ["Hello"]
    return [[*system, {"role": "user", "content": str(text)}] for text in texts[:8]]


def remember(version: Version, model: Any, tokenizer: Any) -> None:
    """Note what the version's adapter over `model`, its base, gives for its conversations, in nats a token."""
    from factory.answers import adapted, dequantised
    from factory.train.tokens import prompt_ids

    with adapted(model, version.folder) as peft, dequantised(peft):
        peft.eval()
        scored = [_logprobs(peft, prompt_ids(tokenizer, tuple(turns))) for turns in conversations(version)]
    store.note(version, NOTE, {"logprobs": scored})


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
