"""The corpus is the same for the same seed, keeps out what it must, and what it calls right is right."""

from __future__ import annotations

import itertools
import random
import re
from pathlib import Path

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from factory.base.tiny import asking, drills, packing, reading
from factory.base.tiny.copying import alphabet, copy_rows
from factory.base.tiny.corpus import KINDS, Row, rows
from factory.base.tiny.messages import DRAW, Message, write, wrong
from factory.base.tiny.packing import batches, encoder
from factory.base.tiny.shape import CHAT_TEMPLATE, train_tokenizer
from factory.base.tiny.tickets import LABELS
from factory.base.tiny.world import FIRST, HELD_CITIES, HELD_FIRST, HELD_LAST, LAST, Pool, World
from factory.train.fused.attention import Span


@pytest.fixture(scope="module")
def sample() -> list[Row]:
    return list(itertools.islice(rows(0, ramp=2000), 6000))


def said(row: Row) -> str:
    return "\n".join(m["content"] for m in row)


def messages(n: int) -> list[Message]:
    w = World(random.Random(3), Pool.TRAIN, fresh=0.3)
    return [write(KINDS[i % len(KINDS)], w) for i in range(n)]


def test_same_seed_same_rows() -> None:
    first, again, other = (list(itertools.islice(rows(seed), 300)) for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_held_out_names_never_occur(sample: list[Row]) -> None:
    words = set(re.findall(r"[A-Za-z]+", " ".join(map(said, sample))))
    assert not words & {*HELD_FIRST, *HELD_LAST, *HELD_CITIES}
    assert len(words & {*FIRST, *LAST}) > 300


def test_forms_of_the_tasks_never_occur(sample: list[Row]) -> None:
    """No summaries, no choosing among labels, nobody who says who answers."""
    forms = re.compile(
        r"summar|\bsum up\b|\blabels?\b|classif|categor|\bI am an?\b.*assistant|[Mm]y name is (?!\w+ \w+ and I)", re.I
    )
    for row in sample:
        for m in row:
            if m["role"] == "assistant":
                assert not forms.search(m["content"].replace("a new label", "")), m["content"]
            if m["role"] in ("system", "user"):
                assert not re.search(
                    r"summar|\bsum up\b|classif|categor|who (are|made|built|created) you\b", m["content"], re.I
                ), m["content"]
    for row in sample:
        asked = [set(re.findall(r"\w+", m["content"])) for m in row if m["role"] != "assistant"]
        assert not any(len(words & set(LABELS)) > 4 for words in asked)


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
def test_every_fact_stands_in_its_message(kind: object) -> None:
    for m in (m for m in messages(600) if m.kind is kind):
        for key in m.kind.asks:
            assert m.facts[key].lower() in m.text.lower()


def test_wrong_values_are_wrong() -> None:
    w = World(random.Random(1))
    for m in messages(500):
        for key, ask in m.kind.asks.items():
            assert wrong(ask.type, m.facts[key], m, w).lower() != m.facts[key].lower()
        assert ask.type in DRAW


def test_details_are_judged_right() -> None:
    """`yes` stands in the text, `no` does not, and neither is the rule."""
    w = World(random.Random(2))
    verdicts = []
    for m in messages(800):
        name, asked, answer = reading.detail(m, w)
        if name == "detail":
            value = re.search(r'"(.+)"', asked)
            stated = value[1] if value else asked.removesuffix(": is it there?")
            assert (stated.lower() in m.text.lower()) == (answer == "yes")
            verdicts.append(answer)
    assert 0.4 < verdicts.count("yes") / len(verdicts) < 0.6


def test_pairs_are_compared_right() -> None:
    w = World(random.Random(4))
    for _ in range(300):
        _, asked, answer = drills.compare(w, KINDS)
        for pair, verdict in zip(asked.split("\n")[1:], answer.split("\n"), strict=True):
            left, right = pair.split(" | ")
            assert verdict.endswith("same") == (left.lower() == right.lower())


def test_a_wording_asks_for_one_thing() -> None:
    w = World(random.Random(6))
    slots = {"n": "Talo", "k": "robot", "a": "cold", "d": "swim"}
    topics: dict[str, set[str]] = {}
    for name, topic in asking.TOPICS.items():
        for _ in range(1500):
            wording = asking.worded(topic, "the clock", slots, w)
            assert not re.search(r"[{}()|]", wording), wording
            assert "the clock" in wording.lower()
            topics.setdefault(wording.lower().rstrip(".?!"), set()).add(name)
    assert [wording for wording, names in topics.items() if len(names) > 1] == []
    assert len(topics) > 5000


def test_tables_hold_what_is_asked_of_them() -> None:
    w = World(random.Random(7))
    for _ in range(300):
        table, turns = asking.told(w)
        assert all(answer in table for _, _, answer in turns)


def test_a_fifth_of_what_is_asked_verifies(sample: list[Row]) -> None:
    w = World(random.Random(5))
    names = [reading.turn(m, w)[0] for m in messages(2000)]
    verified = {"detail", "detail+", "claim", "claim+", "each", "odd", "missing", "form"}
    assert sum(name in verified for name in names) > 0.18 * len(names)


def test_training_sees_the_chat_template(sample: list[Row]) -> None:
    """What is trained on is, token for token, what the template renders; the marks cover what the assistant says."""
    tokenizer = train_tokenizer(map(said, sample[:300]))
    assert tokenizer.chat_template == CHAT_TEMPLATE
    encode = encoder(tokenizer)
    for row in (r for r in sample[:200] if r[0]["role"] != "text"):
        ids, marks = encode(row)
        out = tokenizer.apply_chat_template(row, return_dict=True, return_assistant_tokens_mask=True)
        assert ids == out["input_ids"]
        assert marks == out["assistant_masks"]


def test_every_loader_cuts_texts_as_training_did(sample: list[Row]) -> None:
    """transformers and vLLM choose a tokenizer's class by the model's type, and that class brings its own cut."""
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    weights = Path(packing.__file__).parent / "weights"
    loaded, plain = AutoTokenizer.from_pretrained(weights), Tokenizer.from_file(str(weights / "tokenizer.json"))
    encode = encoder(loaded)
    for row in (r for r in sample[:200] if r[0]["role"] != "text"):
        text = loaded.apply_chat_template(row, tokenize=False)
        assert encode(row)[0] == loaded(text)["input_ids"] == plain.encode(text).ids


def test_packing_keeps_rows_whole(sample: list[Row]) -> None:
    tokenizer = train_tokenizer(map(said, sample[:300]))
    start = tokenizer.convert_tokens_to_ids("<|im_start|>")
    ids, weights, positions, bounds = next(batches(encoder(tokenizer), seed=1, ramp=100))
    assert ids.shape == weights.shape == positions.shape == (1, packing.TOKENS)
    assert [span.start for span in bounds] == (positions[0] == 0).nonzero()[:, 0].tolist()
    assert [s.start for s in bounds] == [0, *(s.end for s in bounds[:-1])] and bounds[-1].end == packing.TOKENS
    assert (weights[positions == 0] == 0).all()  # nothing foretells the first token of a row
    assert (ids != 0).float().mean() > 0.95
    assert sum(ids[0, s.start].item() == start for s in bounds) > len(bounds) / 2


def test_a_row_sees_no_other_row() -> None:
    """Each row's losses in a batch are those it has alone."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    model = Qwen2ForCausalLM(config)
    ids, bounds = torch.randint(50, (1, 70)), [Span(0, 30), Span(30, 45), Span(45, 70)]
    with torch.no_grad():
        together = packing.token_losses(model, ids, torch.cat([torch.arange(s.own) for s in bounds])[None], bounds)
        for s in bounds:
            alone = packing.token_losses(model, ids[:, s.start : s.end], torch.arange(s.own)[None], [Span(0, s.own)])
            assert torch.allclose(together[s.start : s.end - 1], alone, atol=0.05)


def test_copy_rows_repeat() -> None:
    import torch

    generator = torch.Generator().manual_seed(0)
    some = alphabet(3072, generator)
    assert 8 <= len(some) <= 3069
    ids, labels, period = copy_rows(4, 96, some, generator)
    assert (ids[:, period:] == ids[:, :-period]).all()
    assert (labels[:, :period] == -100).all() and (labels[:, period:] == ids[:, period:]).all()
