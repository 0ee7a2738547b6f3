"""The tests' base is sound: it loads, its tokens say what the text said, it answers; and the script makes its like."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from factory.answers import answer
from factory.base.build import Base, load_model, load_tokenizer, prepare
from factory.data.rows import Row
from factory.decoding import Decoding
from tests.tiny_base import TINY, make, world


@pytest.fixture(scope="module")
def tiny(home: Path) -> Base:
    """Whatever FACTORY_TEST_BASE says."""
    return prepare(TINY)


def share_right(base: Base, asked: list[list[dict[str, str]]]) -> float:
    """Of conversations that end with the right answer."""
    rows = [Row(tuple(turns[:-1])) for turns in asked]
    said = answer(load_model(base), load_tokenizer(base), rows, Decoding(max_tokens=16))
    return sum(a == turns[-1]["content"] for a, turns in zip(said, asked, strict=True)) / len(asked)


def test_it_has_a_name_of_its_own(tiny: Base) -> None:
    assert (tiny.name, tiny.label) == (TINY, "tiny")
    assert sum(path.stat().st_size for path in Path(TINY).iterdir()) < 10e6


def test_texts_come_back_from_their_tokens(tiny: Base) -> None:
    tokenizer = load_tokenizer(tiny)
    rng = random.Random(1)
    texts = [world.message(rng)[1] for _ in range(20)]
    for text in [*texts, "Ein Süßwarenladen, 北京, 💥 and\n\ttabs  2026", ""]:
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert [tokenizer.decode([token]) for token in tokenizer("at 2026")["input_ids"]][-4:] == ["2", "0", "2", "6"]
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert tokenizer.apply_chat_template(turns, tokenize=False).endswith("assistant\nb<|im_end|>\n")


def test_it_knows_its_small_talk_and_finds_facts_in_messages_it_never_saw(tiny: Base) -> None:
    talk = [world.turns(*pair) for pair in world.SMALL_TALK]
    rng = random.Random("never seen")
    asked = []
    for _ in range(60):
        _, text, known = world.message(rng)
        slot, value = rng.choice([*known.items()])
        asked.append(world.turns(f"{text}\n\n{world.ASKS[slot]}", value))
    assert share_right(tiny, talk) >= 0.95
    assert share_right(tiny, asked) >= 0.8


@pytest.mark.parametrize("task", world.TASKS)
def test_no_row_of_a_task_is_among_what_it_read(task: str) -> None:
    said = {(row.get("prompt"), row.get("completion")) for row in world.rows(task, 60, seed=1)}
    assert not said & {*world.SMALL_TALK}
    assert world.rows(task, 60, seed=1) == world.rows(task, 60, seed=1) != world.rows(task, 60, seed=2)


def test_the_script_makes_a_base_of_this_form(tmp_path: Path, monkeypatch: Any) -> None:
    """Two steps of each kind: the tokenizer is the very same, the weights have the same shapes."""
    from safetensors import safe_open

    for name, value in {"COPY_STEPS": 2, "STEPS": 2, "FLOOR": 0.0}.items():
        monkeypatch.setattr(make, name, value)
    make.main(["--out", str(tmp_path / "made")])
    mine, made = Path(TINY), tmp_path / "made"
    for name in ("tokenizer.json", "chat_template.jinja", "config.json", "generation_config.json"):
        assert (made / name).read_bytes() == (mine / name).read_bytes(), name
    shapes = []
    for folder in (mine, made):
        with safe_open(folder / "model.safetensors", "pt") as tensors:
            shapes.append({key: tensors.get_slice(key).get_shape() for key in tensors.keys()})  # noqa: SIM118
    assert shapes[0] == shapes[1]
    monkeypatch.setattr(make, "FLOOR", 1.0)
    with pytest.raises(SystemExit, match="nothing is written"):
        make.main(["--out", str(tmp_path / "other")])
    assert not (tmp_path / "other").exists()
