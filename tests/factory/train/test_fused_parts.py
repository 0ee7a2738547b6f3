"""The parts of training together, each against the plain way to say the same."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from factory import shares
from factory.errors import FactoryError
from factory.train.fused import adding, attention, head, memory
from factory.train.fused.adding import Grouped, Masked, OneByOne
from factory.train.fused.lora import Slot
from factory.train.fused.packing import pack, share_out, size, supervised
from factory.train.tokens import IGNORE, Example
from tests.factory.train.fused_support import example


def test_a_row_says_where_everything_is() -> None:
    row = pack([[example(5), example(3)], [example(4, answer=3, first=50)]], torch.device("cpu"))
    assert row.ids.tolist() == [[10, 11, 12, 13, 14, 10, 11, 12, 50, 51, 52, 53]]
    assert row.positions.tolist() == [[0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 2, 3]]
    assert row.bounds.tolist() == [0, 5, 8, 12] and row.longest == 5 and row.slices == [(0, 8), (8, 12)]
    assert row.keep.tolist() == [2, 3, 5, 6, 8, 9, 10]
    assert row.labels.tolist() == [13, 14, 11, 12, 51, 52, 53]
    assert row.of.tolist() == [0, 0, 1, 1, 0, 0, 0] and row.counts == [4, 3]
    assert supervised([example(5), example(3)]) == 4 and supervised([Example([7, 8], [7, 8])]) == 1


begun = st.tuples(st.sampled_from([0, 9, 20]), st.lists(st.integers(1, 3), min_size=2, max_size=9), st.integers(1, 8))


@settings(deadline=None, max_examples=200)
@given(st.lists(st.lists(begun, min_size=1, max_size=8), min_size=1, max_size=3))
def test_shared_beginnings_stand_in_a_row_once_and_nothing_else_changes(drawn: list[list[Any]]) -> None:
    """Every sequence is found whole behind its prefix, at its positions; the same tokens of each are supervised."""
    parts = [[_begun([7] * prefix + own, learns) for prefix, own, learns in part] for part in drawn]
    plain, shared = (pack(parts, torch.device("cpu"), share) for share in (False, True))
    ids, positions = shared.ids[0].tolist(), shared.positions[0].tolist()
    spans = [(*prefix, a, b) for prefix, (a, b) in zip(shared.prefixes, pairwise(shared.bounds.tolist()), strict=True)]
    found = [ids[p:q] + ids[a:b] for p, q, a, b in spans]
    beginnings = {(p, q) for p, q, _, _ in spans if q}
    wanted = sorted([e.input_ids for examples in parts for e in examples] + [ids[p:q] for p, q in beginnings])
    assert sorted(found) == wanted
    assert all(positions[p:q] + positions[a:b] == list(range(q - p + b - a)) for p, q, a, b in spans)

    def learns(row: Any) -> list[Any]:
        segments = [number for number, count in enumerate(row.counts) for _ in range(count)]
        return sorted(zip(segments, row.of.tolist(), row.labels.tolist(), strict=True))

    assert learns(shared) == learns(plain) and shared.longest == plain.longest
    assert shared.tokens <= plain.tokens and shared.slices[-1][1] == shared.tokens


def _begun(ids: list[int], learns: int) -> Example:
    answer = min(learns, len(ids))
    return Example(ids, [IGNORE] * (len(ids) - answer) + ids[len(ids) - answer :])


def test_a_system_prompt_is_carried_once_and_rows_without_it_are_left_alone() -> None:
    prompt = list(range(100, 120))
    examples = [_begun([*prompt, n, n + 1, n + 2, n + 3], 2) for n in range(5)] + [_begun([1, 2, 3, 4, 5], 2)]
    row = pack([examples], torch.device("cpu"), share=True)
    assert row.tokens == 5 + 20 + 5 * 4 and row.prefixes.count((5, 25)) == 5


@settings(deadline=None, max_examples=100)
@given(st.lists(st.lists(st.integers(2, 60), min_size=1, max_size=9), min_size=1, max_size=7), st.integers(30, 150))
def test_rows_are_filled_and_nothing_is_lost(lengths: list[list[int]], budget: int) -> None:
    """Rows until all is carried: the first batch always gets on, others only whole, the budget holds."""
    batches = [[example(n) for n in batch] for batch in lengths]
    while batches:
        chosen = share_out(batches, budget)
        assert chosen[0] and all(not c or len(c) == len(b) for c, b in zip(chosen[1:], batches[1:], strict=True))
        tokens = sum(size(c) for c in chosen)
        assert tokens <= budget or (len(chosen[0]) == 1 and not any(chosen[1:]))
        for batch, part in zip(batches, chosen, strict=True):
            for taken in part:
                batch.remove(taken)
        batches = [batch for batch in batches if batch]


def _same_attention(out: torch.Tensor, wanted: torch.Tensor, inputs: tuple[torch.Tensor, ...]) -> None:
    """Values, and the gradients of query, key and value."""
    assert torch.allclose(out, wanted, atol=1e-6)
    grad = torch.randn_like(out)
    ours = torch.autograd.grad(out, inputs, grad)
    for mine, theirs in zip(ours, torch.autograd.grad(wanted, inputs, grad), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)


def test_attention_behind_a_shared_beginning_is_that_of_the_whole_sequence() -> None:
    """Two prefixes of 4 and 3 tokens; sequences of unlike length after each, and one without: values and gradients."""
    torch.manual_seed(0)
    bounds, prefixes = [0, 4, 9, 15, 16, 19, 24, 31], [(0, 0), (0, 4), (0, 4), (0, 4), (0, 0), (16, 19), (0, 0)]
    q, k, v = (torch.randn(1, heads, 31, 8, requires_grad=True) for heads in (4, 2, 2))
    out, _ = attention.attend(
        torch.nn.Identity(), q, k, v, None, cu_seq_lens_q=torch.tensor(bounds), max_length_q=10, prefixes=prefixes
    )
    expected = []
    for (p, e), (a, b) in zip(prefixes, pairwise(bounds), strict=True):
        whole = [*range(p, e), *range(a, b)]
        parts = (t[:, :, whole] for t in (q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)))
        expected.append(F.scaled_dot_product_attention(*parts, is_causal=True)[:, :, e - p :])
    _same_attention(out, torch.cat(expected, 2).transpose(1, 2), (q, k, v))


@pytest.mark.parametrize(("short", "window"), [(512, None), (0, None), (512, 6), (0, 6)])
def test_attention_is_that_of_each_sequence_alone(
    short: int, window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "SHORT", short)
    torch.manual_seed(0)
    bounds = [0, 3, 20, 21, 32]
    q, k, v = (torch.randn(1, heads, 32, 8, requires_grad=True) for heads in (4, 2, 2))
    out, _ = attention.attend(
        torch.nn.Identity(), q, k, v, None, cu_seq_lens_q=torch.tensor(bounds), max_length_q=17, scaling=0.3,
        sliding_window=window,
    )  # fmt: skip
    expected = []
    for a, b in pairwise(bounds):
        mask = torch.ones(b - a, b - a, dtype=torch.bool).tril()
        mask = mask if window is None else mask.triu(1 - window)
        parts = (t[:, :, a:b] for t in (q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)))
        expected.append(F.scaled_dot_product_attention(*parts, mask, scale=0.3))
    _same_attention(out, torch.cat(expected, 2).transpose(1, 2), (q, k, v))


@pytest.mark.parametrize("window", [None, 6])
def test_attention_in_fp32_on_a_gpu_is_that_of_each_sequence_alone(window: int | None) -> None:
    """Its arithmetic, on a CPU: no loop over sequences, but over lots of like length."""
    torch.manual_seed(0)
    bounds = [0, 3, 20, 21, 32, 34]
    q, k, v = (torch.randn(1, 4, 34, 8, requires_grad=True) for _ in range(3))
    out = attention.padded(q, k, v, torch.tensor(bounds), 0.3, window)
    expected = []
    for a, b in pairwise(bounds):
        mask = torch.ones(b - a, b - a, dtype=torch.bool).tril()
        mask = mask if window is None else mask.triu(1 - window)
        expected.append(F.scaled_dot_product_attention(*(t[:, :, a:b] for t in (q, k, v)), mask, scale=0.3))
    _same_attention(out, torch.cat(expected, 2).transpose(1, 2), (q, k, v))


def test_attention_that_is_not_built_here_is_refused() -> None:
    q = torch.zeros(1, 1, 2, 4)
    with pytest.raises(FactoryError, match="softcap"):
        attention.attend(
            torch.nn.Identity(), q, q, q, None, cu_seq_lens_q=torch.tensor([0, 2]), max_length_q=2, softcap=50.0
        )


def test_log_probabilities_in_chunks_are_the_whole_ones_under_any_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(head, "LOGITS", {"cpu": 30 * 4})
    torch.manual_seed(0)
    lm_head = torch.nn.Linear(16, 30, bias=False).requires_grad_(False)
    hidden = torch.randn(11, 16, requires_grad=True)
    labels, weights = torch.randint(0, 30, (11,)), torch.rand(11)
    for loss in (lambda each: (each * weights).sum() * 3, lambda each: F.logsigmoid(each[:5].sum() - each[5:].sum())):
        found = head.log_probs(hidden, lm_head, labels)
        expected = -F.cross_entropy(lm_head(hidden), labels, reduction="none")
        assert torch.allclose(found, expected)
        ours, theirs = (torch.autograd.grad(loss(each), hidden)[0] for each in (found, expected))
        assert torch.allclose(ours, theirs, atol=1e-6)
    with torch.no_grad():
        assert torch.allclose(head.log_probs(hidden, lm_head, labels), found)


def test_divergence_in_chunks_is_the_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "LOGITS", {"cpu": 30 * 4})
    torch.manual_seed(0)
    lm_head = torch.nn.Linear(16, 30, bias=False).requires_grad_(False)
    hidden, theirs = torch.randn(11, 16, requires_grad=True), torch.randn(11, 16)
    found = head.log_probs(hidden, lm_head, theirs)
    ours, wanted = (lm_head(states).log_softmax(-1) for states in (hidden, theirs))
    expected = -F.kl_div(ours, wanted, reduction="none", log_target=True).sum(-1)
    assert torch.allclose(found, expected, atol=1e-6) and (found < 0).all()
    weights = torch.rand(11)
    mine, plain = (torch.autograd.grad((each * weights).sum(), hidden)[0] for each in (found, expected))
    assert torch.allclose(mine, plain, atol=1e-6) and mine.abs().max() > 1e-3


@pytest.mark.parametrize("kind", [OneByOne, Grouped, Masked])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_many_adapters_on_one_layer(kind: Any, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    ranks, ends, scales = [4, 16, 5], [7, 8, 20], [2.0, 0.5, 1.0]
    made = [(torch.randn(r, 32, dtype=dtype), torch.randn(24, r, dtype=dtype)) for r in ranks]
    slots = [Slot(a, b, torch.zeros(a.shape), torch.ones(b.shape), s) for (a, b), s in zip(made, scales, strict=True)]
    x, y, grad = (torch.randn(20, n, dtype=dtype) for n in (32, 24, 24))
    starts = [0, *ends[:-1]]
    made = kind(list(zip(starts, ends, slots, strict=True)))
    got, dx = y.clone(), torch.zeros_like(x)
    made.backward(grad, x, dx, made.forward(x, got))
    tolerance = {"atol": 1e-4} if dtype == torch.float32 else {"atol": 1.0, "rtol": 0.03}
    for start, end, slot in zip(starts, ends, slots, strict=True):
        leaves = [t.float().requires_grad_() for t in (x[start:end], slot.a, slot.b)]
        wanted = y[start:end].float() + slot.scale * leaves[0] @ leaves[1].t() @ leaves[2].t()
        assert torch.allclose(got[start:end].float(), wanted, **tolerance)
        into_x, into_a, into_b = torch.autograd.grad(wanted, leaves, grad[start:end].float())
        assert torch.allclose(dx[start:end].float(), into_x, **tolerance)
        assert torch.allclose(slot.grad_a, into_a, **tolerance)
        assert torch.allclose(slot.grad_b - 1, into_b, **tolerance)


def test_grouped_products_are_for_many_parts_without_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding, "MANY", {"cpu": 2, "cuda": 2})
    slot = Slot(torch.zeros(4, 8), torch.zeros(8, 4), torch.zeros(4, 8), torch.zeros(8, 4), 1.0)
    two = [(0, 3, slot), (3, 5, slot)]
    assert isinstance(adding.adding(two, 5, torch.bfloat16, "cpu"), Grouped)
    assert isinstance(adding.adding([(0, 3, slot), (4, 5, slot)], 5, torch.bfloat16, "cpu"), OneByOne)
    assert isinstance(adding.adding([(0, 5, slot)], 5, torch.bfloat16, "cpu"), OneByOne)
    assert isinstance(adding.adding(two, 5, torch.float32, "cpu"), OneByOne)
    assert isinstance(adding.adding(two, 5, torch.float32, "cuda"), Masked)


def test_what_is_kept_for_the_way_back_is_counted() -> None:
    linear = torch.nn.Linear(8, 8, bias=False)
    x = torch.randn(5, 8, requires_grad=True)
    kept = memory.kept_bytes(linear, lambda: linear(x).exp())
    assert kept == 2 * 5 * 8 * 4


def test_memory_decides_the_length_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = SimpleNamespace(num_hidden_layers=10, hidden_size=100)
    model = SimpleNamespace(
        device=torch.device("cpu"), dtype=torch.bfloat16, config=SimpleNamespace(get_text_config=lambda: shape)
    )

    def found(free: float, wanted: set[bool | str], longest: int = 100, states: float = 0) -> memory.Plan:
        monkeypatch.setattr(shares, "free", lambda device: free)
        return memory.plan(model, 100_000.0, longest, wanted, states)

    ample = found(1e12, {"auto"})
    assert ample.tokens == memory.MOST["cpu"] and ample.recompute_from == memory.CAP["cpu"] // 100_000
    little = found(1e9, {False})
    assert 1000 < little.tokens < 1e9 / 100_000 and little.recompute_from == float("inf")
    scarce = found(1e8, {"auto"}, longest=2000)
    assert scarce.recompute_from == 0 and scarce.tokens > found(1e8, {False}).tokens
    assert found(1e12, {True, False}).recompute_from == 0
    assert found(1e9, {False}, states=6e8).tokens < little.tokens  # what is yet to join has its room
    assert "recomputed" in scarce.says() and "0.4 GB of activations" in ample.says()
    assert memory.is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not memory.is_out_of_memory(ValueError("shapes"))


def test_a_base_whose_sequences_leak_is_refused() -> None:
    """A model that ignores where sequences begin: what mamba-like layers or an unknown attention would do."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from factory.train.fused.forward import check_packing

    torch.manual_seed(0)
    shape = Qwen2Config(
        vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, initializer_range=0.2,
    )  # fmt: skip
    model = Qwen2ForCausalLM(shape)
    check_packing(model, [example(9), example(7)])
    through = model.model.forward

    def leaking(**inputs: Any) -> Any:
        lengths = torch.tensor([0, inputs["input_ids"].shape[1]])
        whole = {"cu_seq_lens_q": lengths, "prefixes": None, "max_length_q": int(lengths[1])}
        return through(**{**inputs, **whole})

    model.model.forward = leaking  # type: ignore[method-assign]
    with pytest.raises(FactoryError, match="carry something from one sequence to the next"):
        check_packing(model, [example(9), example(7)])
