"""Every family: a base is prepared, and adapters trained on it together are those trained alone, and plain PEFT's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from factory.base.build import load_model, load_tokenizer, prepare, summary
from factory.data.rows import Row
from factory.registry import store
from factory.registry.preflight import module_shapes, preflight
from factory.train.tokens import encode
from tests.any_lm.conftest import Prepared
from tests.any_lm.learning import PROMPT, by_peft, job
from tests.any_lm.zoo import ANIMALS, Animal
from tests.factory.train.fused_support import LOSS, WEIGHT, apart, final_weights, largest, losses

every = pytest.mark.parametrize("animal", ANIMALS, ids=lambda animal: animal.name)


@every
def test_two_steps_together_are_two_steps_alone_and_two_of_peft(
    animal: Animal, prepared: Prepared, tmp_path: Path
) -> None:
    base = prepared(animal)
    model, tokenizer = load_model(base), load_tokenizer(base)

    def both(folder: Path) -> list[Any]:
        return [job(tokenizer, folder, "mail", r=4), job(tokenizer, folder, "note", r=8, batch=2, lr=5e-3, seed=3)]

    jobs = both(tmp_path / "together")
    together = final_weights(model, base, jobs)
    for at, alone in enumerate(both(tmp_path / "alone")):
        solo = final_weights(model, base, [alone])[alone.name]
        logged, plain = by_peft(model, base, alone, tmp_path / "peft" / alone.name)
        assert len(logged) == 2
        assert apart(losses(jobs[at]), losses(alone)) < LOSS and apart(losses(jobs[at]), logged) < LOSS
        assert largest(together[alone.name], solo) < WEIGHT and largest(together[alone.name], plain) < WEIGHT
    version = store.stage(jobs[0].run / "adapter", store.facts_of(jobs[0].recipe, base), _empty(tmp_path / "staged"))
    preflight(version, base, rank=8)


@every
def test_a_prompt_is_written_and_an_answer_ends(animal: Animal, prepared: Prepared) -> None:
    base = prepared(animal)
    tokenizer = load_tokenizer(base)
    row = Row(({"role": "user", "content": "Where is it?"}, {"role": "assistant", "content": "Upstairs"}))
    example = encode(tokenizer, row.with_system(PROMPT), 512)
    text = tokenizer.decode(example.input_ids)
    assert PROMPT in text and text.index(PROMPT) < text.index("Where is it?") < text.index("Upstairs")
    assert text.endswith("Upstairs" + animal.ends[0])
    config = json.loads((base.folder / "generation_config.json").read_text())
    assert set(tokenizer.convert_tokens_to_ids(animal.ends)) == {*_listed(config["eos_token_id"])}


@every
def test_every_layer_but_the_head_is_in_4_bits(animal: Animal, prepared: Prepared) -> None:
    shapes = module_shapes(prepared(animal).folder)
    assert len(shapes) == 2 * (4 if animal.stem == "Phi3" else 7)
    assert any(width % 64 for _, width in shapes.values())


@every
def test_it_is_prepared_once_and_says_where_the_system_prompt_stands(
    animal: Animal, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = prepared(animal)
    monkeypatch.setattr("factory.base.fit.check_layers", None)
    assert prepare(base.name) == base
    assert summary(base)["system_prompt"] == ("the first user turn" if animal.merged else "a turn of its own")


def _listed(value: int | list[int]) -> list[int]:
    return value if isinstance(value, list) else [value]


def _empty(folder: Path) -> Path:
    folder.mkdir()
    return folder
